package main

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/impair"
	"github.com/securecam/securecam/control/diagnosis"
)

// What these tests measure they only log: a busy machine would make any bound on
// it fail. TestBenchMedia judges it.

// scene is a Chromium camera that is live, and a place for viewers in Chromium
// and Firefox, each side with a network of its own.
type scene struct {
	t                      *testing.T
	app                    *app
	script                 *browsers
	user                   *apiClient
	camera                 registered
	cameraNet, viewerNet   *impair.Proxy
	cameraBase, viewerBase string
	published              credentialsJSON
	mediaSession           string
	codec, mode            string // that the camera sends, "VP8" and "L1T1" if empty
}

type liveJSON struct {
	MediaSession struct {
		ID string `json:"id"`
	} `json:"mediaSession"`
	Credentials credentialsJSON `json:"credentials"`
}

const sceneBitrate = 2_500_000

// newScene has the camera go live over a good network.
func newScene(t *testing.T, recording string, settings ...string) *scene {
	t.Helper()
	s := openScene(t, recording, settings...)
	s.goLive()
	return s
}

// openScene is newScene before that.
func openScene(t *testing.T, recording string, settings ...string) *scene {
	t.Helper()
	app := startForBrowsers(t, settings...)
	s := &scene{t: t, app: app, user: signUp(t, app.url, "scene@example.org")}
	s.user.must(http.StatusCreated, "POST", "/devices/register",
		map[string]string{"name": "camera", "role": "camera", "recordingPolicy": recording}, &s.camera)
	s.cameraNet, s.cameraBase = network(t, app.url)
	s.viewerNet, s.viewerBase = network(t, app.url)
	s.script = startBrowsers(t, "recovery.mjs")
	return s
}

// goLive has the camera publish, in a new browser.
func (s *scene) goLive() {
	s.t.Helper()
	camera := &apiClient{t: s.t, base: s.app.url, http: s.user.http, token: s.camera.Token}
	var live liveJSON
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	s.published, s.mediaSession = live.Credentials, live.MediaSession.ID
	ask := map[string]any{"base": s.cameraBase, "credentials": s.by(s.cameraBase, live.Credentials), "bitrate": sceneBitrate}
	if s.codec != "" {
		ask["codec"], ask["mode"] = s.codec, s.mode
	}
	s.script.ask("publish", ask, nil)
}

// joined is what a viewer says of its beginning.
type joined struct {
	MS         float64 `json:"ms"` // from the POST to the first frame
	Signalling float64 `json:"signalling"`
}

// join has a viewer join.
func (s *scene) join() (stream string, j joined) {
	s.t.Helper()
	return s.joinFrom("chromium")
}

// joinFrom is join from either browser.
func (s *scene) joinFrom(browser string) (stream string, j joined) {
	s.t.Helper()
	client, _ := s.user.register("client")
	stream, credentials := request[credentialsJSON](client, s.camera.Device.ID)
	s.script.ask("join", map[string]any{
		"base": s.viewerBase, "credentials": s.by(s.viewerBase, credentials), "browser": browser,
	}, &j)
	return stream, j
}

// by leads credentials over a network; there is no other way.
func (s *scene) by(base string, c credentialsJSON) map[string]any {
	s.t.Helper()
	at, err := url.Parse(c.URL)
	if err != nil {
		s.t.Fatal(err)
	}
	return map[string]any{"protocol": c.Protocol, "url": base + at.Path, "token": c.Token, "iceServers": []any{}}
}

// network is a way to the server that can be made bad.
func network(t *testing.T, target string) (*impair.Proxy, string) {
	t.Helper()
	return networkAt(t, target, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// networkAt is network whose media passes through an address of this machine.
func networkAt(t *testing.T, target string, host netip.Addr) (*impair.Proxy, string) {
	t.Helper()
	proxy, err := impair.Start(impair.Config{Listen: netip.AddrPortFrom(host, 0), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(impair.Signalling(to, proxy))
	t.Cleanup(server.Close)
	return proxy, server.URL
}

// watched is what a viewer saw of what the camera sent.
type watched struct {
	Sent                int      `json:"sent"`
	Received            int      `json:"received"`
	Decoded             int      `json:"decoded"`
	Dropped             int      `json:"dropped"`
	Shown               int      `json:"shown"`
	Longest             float64  `json:"longest"` // ms between two pictures
	Long                []string `json:"long"`    // those over 180 ms, and when
	Freezes             int      `json:"freezes"`
	FrozenMS            float64  `json:"frozenMs"`
	Lost                int      `json:"lost"`
	Packets             int      `json:"packets"`
	Repaired            int      `json:"repaired"`
	NACKs               int      `json:"nacks"`
	PLIs                int      `json:"plis"`
	CameraPLIs          int      `json:"cameraPlis"`
	Keyframes           int      `json:"keyframes"`
	CameraRetransmitted int      `json:"cameraRetransmitted"`
	Kbps                int      `json:"kbps"`
	DelayMS             float64  `json:"delayMs"`
	Height              int      `json:"height"`
	State               string   `json:"state"`
}

func (w watched) String() string {
	return fmt.Sprintf("%d of %d frames missed (%.2f%%; %d received, %d dropped, %d shown), "+
		"%d freezes of %.0f ms in all, the longest gap %.0f ms, over 180: %q; "+
		"%d packets, %d lost for good, %d repaired, %d NACKs, %d PLIs; "+
		"camera: %d resent, %d PLIs, %d keyframes, %d kbit/s, %dp; delay %.0f ms",
		w.Sent-w.Decoded, w.Sent, w.missed(), w.Received, w.Dropped, w.Shown, w.Freezes, w.FrozenMS, w.Longest, w.Long,
		w.Packets, w.Lost, w.Repaired, w.NACKs, w.PLIs,
		w.CameraRetransmitted, w.CameraPLIs, w.Keyframes, w.Kbps, w.Height, w.DelayMS)
}

// missed is the share of the frames sent that were not decoded, in percent.
func (w watched) missed() float64 { return 100 * float64(w.Sent-w.Decoded) / float64(max(w.Sent, 1)) }

// over measures what the viewer sees while both sides have such networks.
func (s *scene) over(camera, viewer impair.Link, seconds int) (w watched) {
	s.t.Helper()
	if err := s.cameraNet.Set(camera, camera); err != nil {
		s.t.Fatal(err)
	}
	if err := s.viewerNet.Set(viewer, viewer); err != nil {
		s.t.Fatal(err)
	}
	s.script.ask("measure", map[string]any{"seconds": seconds}, &w)
	return w
}

// lossy loses a twentieth of all packets on a way of 50 ms.
var lossy = impair.Link{Loss: 0.05, Delay: 50 * time.Millisecond}

// TestRecoversFromLoss has a twentieth of all packets lost on a way of 50 ms, to
// a viewer in Chromium, from the camera, and to a viewer in Firefox: nearly
// every frame is decoded.
func TestRecoversFromLoss(t *testing.T) {
	s := newScene(t, "off")
	s.join()
	if w := s.mostlyDecoded("5% lost to Chromium", impair.Link{}, lossy); w.Repaired == 0 {
		t.Error("nothing was repaired for Chromium")
	}
	if w := s.mostlyDecoded("5% lost from the camera", lossy, impair.Link{}); w.CameraRetransmitted == 0 {
		t.Error("the camera repaired nothing")
	}
	s.script.ask("leave", nil, nil)

	if err := s.cameraNet.Set(impair.Link{}, impair.Link{}); err != nil {
		t.Fatal(err)
	}
	stream := s.joinInFirefox()
	w := s.mostlyDecoded("5% lost to Firefox", impair.Link{}, lossy)
	_, video := watching(s.user, stream) // Firefox does not say what was repaired
	if w.NACKs == 0 || video.NACKs == 0 || video.Retransmitted == 0 {
		t.Errorf("Firefox asked %d times, the server heard of %d packets and sent %d again", w.NACKs, video.NACKs, video.Retransmitted)
	}
}

// mostlyDecoded has the viewer see nearly every frame over such networks. Where nothing is asked for again, more than half
// of them are missed; a starved browser misses some of a good network's.
func (s *scene) mostlyDecoded(name string, camera, viewer impair.Link) watched {
	s.t.Helper()
	const seconds = 4
	w := s.over(camera, viewer, seconds)
	s.t.Logf("%s, %d s: %s", name, seconds, w)
	if w.State != "connected" || w.Decoded*100 < w.Sent*85 { // of 30 at least, which the script waits for
		s.t.Errorf("%s: %d of %d frames were decoded, the viewer is %s", name, w.Decoded, w.Sent, w.State)
	}
	return w
}

// TestJoinsAtOnce has viewers join one after the other: each sees a picture at
// once, and none costs the camera more than one keyframe.
func TestJoinsAtOnce(t *testing.T) {
	const n = 4
	s := newScene(t, "off")
	stream, first := s.join()
	js := s.joins(n, stream, func() {})
	js.late += first.late()
	t.Log(js)
	// A camera sends some of its own, and one that is late is asked for again.
	if js.asked > n+1+2+uint64(js.late) {
		t.Errorf("for %d viewers the camera was asked %d times for a keyframe", n+1, js.asked)
	}
}

// late is how often the camera may have been asked again for the keyframe that a viewer waited for.
func (j joined) late() int {
	const again = 500 // ms, after which the server asks again
	return int(j.MS / again)
}

// joins is how viewers came one after the other.
type joins struct {
	times, signalling []float64 // ms, sorted
	late              int       // times that a keyframe may have been asked for again, as long as the viewers waited
	keyframes, asked  uint64    // of the camera, since it is live
}

// joins has n viewers come and go beside the one of a stream, who stays, each after a pause.
func (s *scene) joins(n int, stream string, pause func()) (js joins) {
	s.t.Helper()
	for range n {
		pause()
		_, j := s.join()
		js.late += j.late()
		js.times, js.signalling = append(js.times, j.MS), append(js.signalling, j.Signalling)
		s.script.ask("leave", nil, nil)
	}
	slices.Sort(js.times)
	slices.Sort(js.signalling)
	var got struct {
		Media diagnosis.MediaFacts `json:"media"`
	}
	s.user.must(http.StatusOK, "GET", "/streams/"+stream+"/statistics", nil, &got)
	js.keyframes, js.asked = got.Media.Keyframes, got.Media.KeyframeRequests
	return js
}

// p95 is the time from the POST to the first frame that 95 of 100 viewers do not exceed, in ms.
func (js joins) p95() float64 { return js.times[(len(js.times)*95-1)/100] }

func (js joins) String() string {
	n := len(js.times)
	return fmt.Sprintf("%d joins, POST to first frame shown: p50 %.0f ms, p95 %.0f ms, max %.0f ms (of which the answer: p50 %.0f ms); "+
		"the camera sent %d keyframes, asked %d times",
		n, js.times[n/2], js.p95(), js.times[n-1], js.signalling[n/2], js.keyframes, js.asked)
}

// sceneStats is what the viewer says.
type sceneStats struct {
	Viewer struct {
		State   string `json:"state"`
		Decoded int    `json:"decoded"`
	} `json:"viewer"`
	Shown []struct {
		At  float64 `json:"at"`
		RTP uint32  `json:"rtp"`
	} `json:"shown"`
}

// TestCameraReturns kills a camera's browser. Another takes its media session
// over: the viewer keeps its connection and sees the picture go on, and it all
// is one recording.
func TestCameraReturns(t *testing.T) {
	s := newScene(t, "session")
	stream, _ := s.join()
	first := s.published
	awaitRecordingBegun(t, s.user)
	st := s.comeBack()
	if s.published.URL != first.URL {
		t.Fatalf("the camera was told to publish to %s, then to %s", first.URL, s.published.URL)
	}
	if st.Viewer.State != "connected" {
		t.Errorf("the viewer is %s", st.Viewer.State)
	}
	st.checkTime(t)
	camera := &apiClient{t: t, base: s.app.url, http: s.user.http, token: s.camera.Token}
	if got := s.user.stream(stream); got.Status != "streaming" {
		t.Errorf("the viewer's stream is %+v", got)
	}
	camera.must(http.StatusNoContent, "DELETE", "/media-sessions/"+s.mediaSession, nil, nil)
	recording := awaitRecording(t, s.user)
	if recording.DurationMS < 5000 {
		t.Errorf("the recording lasts %d ms", recording.DurationMS)
	}
}

// checkTime holds that time went on as it passed while the camera was away: the player saw one stream that stood still
// for a while. Between two pictures alone that need not be so: a busy browser shows one late, or twice.
func (st *sceneStats) checkTime(t *testing.T) {
	t.Helper()
	var away float64 // ms, the longest time without a new picture
	for i, shown := range st.Shown[1:] {
		away = max(away, shown.At-st.Shown[i].At)
		if stamped := float64(int32(shown.RTP-st.Shown[i].RTP)) / 90; stamped < 0 {
			t.Errorf("picture %d is stamped %.0f ms before the one before", i+1, -stamped)
		}
	}
	first, last := st.Shown[0], st.Shown[len(st.Shown)-1]
	passed, stamped := last.At-first.At, float64(int32(last.RTP-first.RTP))/90
	t.Logf("the viewer saw %.0f ms, stamped as %.0f, no picture for %.0f", passed, stamped, away)
	if math.Abs(passed-stamped) > away/2+250 {
		t.Errorf("the viewer saw %.0f ms that are stamped as %.0f, without a picture for %.0f", passed, stamped, away)
	}
}

// comeBack kills the camera under a viewer and has another take its place, and returns what the viewer saw.
func (s *scene) comeBack() (st sceneStats) {
	s.t.Helper()
	s.awaitFrames(90)
	s.script.ask("kill", nil, nil)
	s.goLive()
	s.awaitFrames(60)
	s.script.ask("stats", nil, &st)
	return st
}

// TestBrowserRecordsLayers records spatial layers within one stream: players of the file show the largest picture alone.
func TestBrowserRecordsLayers(t *testing.T) {
	s := openScene(t, "session")
	s.codec, s.mode = "VP9", "L3T3"
	s.goLive()
	s.join()
	awaitRecordingBegun(t, s.user)
	s.awaitFrames(60)
	camera := &apiClient{t: t, base: s.app.url, http: s.user.http, token: s.camera.Token}
	camera.must(http.StatusNoContent, "DELETE", "/media-sessions/"+s.mediaSession, nil, nil)
	file, _ := downloaded(t, s.user, awaitRecording(t, s.user))
	sizes := sizesIn(t, file)
	t.Logf("pictures by size: %v", sizes)
	if len(sizes) != 1 {
		t.Errorf("the file shows pictures of several sizes: %v", sizes)
	}
}

// sizesIn returns how many pictures of which size ffmpeg finds in a file.
func sizesIn(t *testing.T, file string) map[string]int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=width,height",
		"-of", "csv=p=0", file).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	sizes := map[string]int{}
	for size := range strings.FieldsSeq(string(out)) {
		sizes[size]++
	}
	return sizes
}

// awaitFrames waits until the viewer decoded n frames more.
func (s *scene) awaitFrames(n int) {
	s.t.Helper()
	var before, now sceneStats
	s.script.ask("stats", nil, &before)
	eventually(s.t, patience, func() string {
		s.script.ask("stats", nil, &now)
		if got := now.Viewer.Decoded - before.Viewer.Decoded; got < n {
			return fmt.Sprintf("%d frames decoded, want %d more", got, n)
		}
		return ""
	})
}
