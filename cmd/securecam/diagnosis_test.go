package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/control/diagnosis"
)

const playoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"

// plainPeer is a peer of one video that sends and says nothing by itself, so that a test decides what it does.
func plainPeer(t *testing.T, mimeType string, prepare func(*webrtc.PeerConnection) error) *webrtc.PeerConnection {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	format := webrtc.RTPCodecParameters{RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: mimeType, ClockRate: 90_000}, PayloadType: 96}
	if err := engine.RegisterCodec(format, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	delay := webrtc.RTPHeaderExtensionCapability{URI: playoutDelay}
	if err := engine.RegisterHeaderExtension(delay, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(&interceptor.Registry{}), webrtc.WithSettingEngine(settings),
	)
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	if err := prepare(pc); err != nil {
		t.Fatal(err)
	}
	return pc
}

func receiveVideo(pc *webrtc.PeerConnection) error {
	init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	_, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, init)
	return err
}

// offer has the peer offer at a WHIP or WHEP endpoint, and takes the answer if that has the wanted status and is one.
func offer(t *testing.T, pc *webrtc.PeerConnection, c credentialsJSON, query string, want int, change func(string) string) string {
	t.Helper()
	description, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(description); err != nil {
		t.Fatal(err)
	}
	<-gathered
	body := strings.NewReader(change(pc.LocalDescription().SDP))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.URL+query, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", "application/sdp")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer := string(readAll(t, res.Body))
	if res.StatusCode != want {
		t.Fatalf("the offer is answered %s, want %d: %s", res.Status, want, answer)
	}
	return answer
}

func accept(t *testing.T, pc *webrtc.PeerConnection, answer string) {
	t.Helper()
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		t.Fatal(err)
	}
}

// watchPlainly connects a plain viewer. Its packets come through the channel, as many as have room there.
func watchPlainly(t *testing.T, c credentialsJSON, query string) (*webrtc.PeerConnection, <-chan *rtp.Packet) {
	t.Helper()
	packets := make(chan *rtp.Packet, 64)
	var reading sync.WaitGroup
	pc := plainPeer(t, webrtc.MimeTypeVP8, receiveVideo)
	t.Cleanup(func() { _ = pc.Close(); reading.Wait() })
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		reading.Go(func() {
			for {
				p, _, err := track.ReadRTP()
				if err != nil {
					return
				}
				select {
				case packets <- p:
				default:
				}
			}
		})
	})
	accept(t, pc, offer(t, pc, c, query, http.StatusCreated, strings.Clone))
	return pc, packets
}

func subscribed(client *apiClient, stream string) credentialsJSON {
	client.t.Helper()
	var c credentialsJSON
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	return c
}

// awaitFinding waits until the first finding of a stream is the wanted one, and returns its words.
func awaitFinding(t *testing.T, c *apiClient, stream, want string) (words string) {
	t.Helper()
	eventually(t, patience, func() string {
		var got struct {
			Findings []diagnosis.Finding `json:"findings"`
		}
		c.must(http.StatusOK, "GET", "/streams/"+stream+"/diagnosis", nil, &got)
		if len(got.Findings) == 0 || got.Findings[0].Code != want {
			return fmt.Sprintf("found %+v, want %s", got.Findings, want)
		}
		words = got.Findings[0].Message + "\n" + got.Findings[0].Advice
		return ""
	})
	return words
}

// TestDiagnosis has viewers of one camera fail in their own ways at the same time, and asks why there is no picture.
func TestDiagnosis(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--viewer-timeout-seconds=600") // one of them does not come, and is asked about in the end
	user := signUp(t, app.url, "diagnosis@example.org")
	camera, info := user.register("camera")
	good, _ := user.register("client")
	stream := startStream(t, camera, camera.connect(), good, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitFinding(t, good, stream, "viewer_not_connected")
	awaitGrowth(t, play(t, good, stream))
	awaitFinding(t, good, stream, "all_well")

	absent, _ := user.register("client")
	absentStream, c := request[credentialsJSON](absent, info.Device.ID)
	offer(t, plainPeer(t, webrtc.MimeTypeVP8, receiveVideo), c, "", http.StatusCreated, strings.Clone) // and never connects
	other, _ := user.register("client")
	otherStream, c := request[credentialsJSON](other, info.Device.ID)
	offer(t, plainPeer(t, webrtc.MimeTypeH264, receiveVideo), c, "", http.StatusNotAcceptable, strings.Clone)
	if words := awaitFinding(t, other, otherStream, "codec_mismatch"); !strings.Contains(words, "video/VP8") {
		t.Errorf("%q does not say what the camera sends", words)
	}
	strange := func(sdp string) string { return strings.ReplaceAll(sdp, "H264/90000", "H261/90000") }
	offer(t, plainPeer(t, webrtc.MimeTypeH264, receiveVideo), c, "", http.StatusNotAcceptable, strange)
	if words := awaitFinding(t, other, otherStream, "codec_mismatch"); !strings.Contains(words, "no common video codec") {
		t.Errorf("%q does not say that nothing is in common", words)
	}

	lossy, _ := user.register("client")
	lossyStream, c := request[credentialsJSON](lossy, info.Device.ID)
	pc, packets := watchPlainly(t, c, "")
	report := &rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: (<-packets).SSRC, FractionLost: 64}}}
	if err := pc.WriteRTCP([]rtcp.Packet{report}); err != nil {
		t.Fatal(err)
	}
	if words := awaitFinding(t, lossy, lossyStream, "viewer_loss"); !strings.Contains(words, "25%") {
		t.Errorf("%q does not say how much is lost", words)
	}

	checkFigures(t, user, good, stream)
	eventually(t, 60*time.Second, func() string { // at first none works so far
		words := awaitFinding(t, absent, absentStream, "viewer_no_path")
		if !strings.Contains(words, "PUBLIC_IPS") {
			t.Errorf("%q does not say what to do", words)
		}
		if !strings.Contains(words, "worked.") {
			return words
		}
		return ""
	})
}

// checkFigures asks for the statistics of one of several viewers: itself hears of itself, its user of all.
func checkFigures(t *testing.T, user, client *apiClient, stream string) {
	t.Helper()
	var got struct {
		Media diagnosis.MediaFacts `json:"media"`
	}
	eventually(t, patience, func() string {
		client.must(http.StatusOK, "GET", "/streams/"+stream+"/statistics", nil, &got)
		if n := len(got.Media.Sessions); n != 2 {
			return fmt.Sprintf("%d sessions, want the camera's and its own", n)
		}
		for _, s := range got.Media.Sessions {
			video := slices.IndexFunc(s.Tracks, func(t diagnosis.Track) bool { return t.Kind == "video" })
			if s.Bitrate == 0 || len(s.Tracks) != 2 || s.Tracks[video].Bytes == 0 || s.Tracks[video].Bitrate == 0 {
				return fmt.Sprintf("%s: %+v", s.Role, s)
			}
		}
		return ""
	})
	user.must(http.StatusOK, "GET", "/streams/"+stream+"/statistics", nil, &got)
	viewers := map[string]bool{}
	for _, s := range got.Media.Sessions {
		if s.Role == "play" {
			viewers[s.StreamID] = true
		}
	}
	if len(viewers) != 4 {
		t.Errorf("the user hears of the viewers %v, want 4", viewers)
	}
}

// TestDiagnosisOfCamera has a camera be refused, and then send nothing that a picture could begin with.
func TestDiagnosisOfCamera(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	user := signUp(t, app.url, "silent@example.org")
	camera, info := user.register("camera")
	var live struct {
		Credentials credentialsJSON `json:"credentials"`
	}
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	client, _ := user.register("client")
	stream, c := request[credentialsJSON](client, info.Device.ID)

	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90_000}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	send := func(pc *webrtc.PeerConnection) error {
		_, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		return err
	}
	for code, words := range map[string][2]string{"camera_codec": {"VP8/90000", "H261/90000"}, "camera_refused": {"sendonly", "inactive"}} {
		offer(t, plainPeer(t, webrtc.MimeTypeVP8, send), live.Credentials, "", http.StatusUnprocessableEntity, func(sdp string) string {
			return strings.ReplaceAll(sdp, words[0], words[1])
		})
		awaitFinding(t, client, stream, code)
	}
	pc := plainPeer(t, webrtc.MimeTypeVP8, send)
	accept(t, pc, offer(t, pc, live.Credentials, "", http.StatusCreated, strings.Clone))
	done := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() { sendInterframes(track, done) })
	defer func() { close(done); sending.Wait() }()
	awaitFinding(t, client, stream, "viewer_not_connected")
	viewer := plainPeer(t, webrtc.MimeTypeVP8, receiveVideo)
	accept(t, viewer, offer(t, viewer, c, "", http.StatusCreated, strings.Clone))
	if words := awaitFinding(t, client, stream, "no_keyframe"); !strings.Contains(words, "keyframe interval") {
		t.Errorf("%q does not say what to do", words)
	}
}

// sendInterframes sends pictures of which each needs the one before.
func sendInterframes(track *webrtc.TrackLocalStaticRTP, done <-chan struct{}) {
	tick := time.NewTicker(time.Second / 30)
	defer tick.Stop()
	for n := uint16(1); ; n++ {
		select {
		case <-tick.C:
		case <-done:
			return
		}
		p := &rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: n, Timestamp: uint32(n) * 3000},
			Payload: []byte{0x10, 0x01, 0, 0, 0, 0, 0, 0}, // RFC 7741: a frame begins; it is no keyframe
		}
		_ = track.WriteRTP(p) // it is not connected yet, or not any more
	}
}

// TestLivePlayoutDelay: a viewer that asks for live pictures is told, in its packets, to hold nothing back; others are not.
func TestLivePlayoutDelay(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	user := signUp(t, app.url, "live@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	stream := startStream(t, camera, camera.connect(), client, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	for query, live := range map[string]bool{"?live=true": true, "": false} {
		pc, packets := watchPlainly(t, subscribed(client, stream), query)
		var id uint8
		for _, e := range pc.GetReceivers()[0].GetParameters().HeaderExtensions {
			if e.URI == playoutDelay {
				id = uint8(e.ID)
			}
		}
		if id == 0 {
			t.Fatalf("%q: the extension was not agreed on", query)
		}
		const enough = 30 // packets; the first that are sent have it
		said := false
		for range enough {
			if value := (<-packets).GetExtension(id); value != nil {
				said = true
				if string(value) != "\x00\x00\x00" {
					t.Errorf("%q: a delay of %x", query, value)
				}
			}
		}
		if said != live {
			t.Errorf("%q: a delay is told: %v, want %v", query, said, live)
		}
	}
}
