package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const (
	// connectWithin is how long ICE and DTLS may take, and media to come.
	connectWithin = 15 * time.Second
	// goodbyeWithin is how long the peer may be left in the dark after DELETE.
	goodbyeWithin = 5 * time.Second

	frameInterval = 100 * time.Millisecond
)

// keyframe is the smallest VP8 picture that forwarders take for one.
func keyframe() []byte {
	return append([]byte{0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00}, make([]byte, 60)...)
}

// peer is a PeerConnection that publishes, or plays.
type peer struct {
	pc      *webrtc.PeerConnection
	states  chan webrtc.PeerConnectionState
	packets chan struct{} // one for each RTP packet, as far as somebody waits
	stop    context.CancelFunc
	senders sync.WaitGroup
	session session
}

// newPeer makes a peer that the check's end closes.
func (p *probe) newPeer() (*peer, error) {
	settings := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard}}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &peer{
		pc: pc, states: make(chan webrtc.PeerConnectionState, 16), packets: make(chan struct{}, 1), stop: stop,
	}
	p.peers = append(p.peers, c.close)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		select {
		case c.states <- s:
		default:
		}
	})
	if p.protocol == "whep" {
		return c, c.receive()
	}
	return c, c.send(ctx)
}

func (c *peer) close() {
	c.stop()
	_ = c.pc.Close()
	c.senders.Wait()
}

func (c *peer) send(ctx context.Context) error {
	for _, t := range []struct {
		mime     string
		sample   []byte
		interval time.Duration
	}{
		{webrtc.MimeTypeOpus, []byte{0xf8, 0xff, 0xfe}, 20 * time.Millisecond},
		{webrtc.MimeTypeVP8, keyframe(), frameInterval},
	} {
		kind, _, _ := strings.Cut(t.mime, "/")
		track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: t.mime}, kind, "conformance")
		if err != nil {
			return err
		}
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
		if _, err := c.pc.AddTransceiverFromTrack(track, init); err != nil {
			return err
		}
		c.senders.Go(func() {
			tick := time.NewTicker(t.interval)
			defer tick.Stop()
			for {
				select {
				case <-tick.C: // a write fails before the connection is up, and after
					_ = track.WriteSample(media.Sample{Data: t.sample, Duration: t.interval})
				case <-ctx.Done():
					return
				}
			}
		})
	}
	return nil
}

func (c *peer) receive() error {
	c.pc.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := t.ReadRTP(); err != nil {
				return
			}
			select {
			case c.packets <- struct{}{}:
			default:
			}
		}
	})
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := c.pc.AddTransceiverFromKind(kind, init); err != nil {
			return err
		}
	}
	return nil
}

// offer makes an offer with all candidates.
func (c *peer) offer(ctx context.Context, o *webrtc.OfferOptions) (string, error) {
	d, err := c.pc.CreateOffer(o)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return c.pc.LocalDescription().SDP, nil
}

// await waits for the connection to be in a state, or in one of several.
func (c *peer) await(ctx context.Context, within time.Duration, wanted ...webrtc.PeerConnectionState) error {
	timeout := time.After(within)
	for {
		for _, s := range wanted {
			if c.pc.ConnectionState() == s {
				return nil
			}
		}
		select {
		case <-c.states:
		case <-timeout:
			return fmt.Errorf("the connection is %s after %v, not %v", c.pc.ConnectionState(), within, wanted)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// plays waits for a new packet.
func (c *peer) plays(ctx context.Context) error {
	for range 2 { // one may have waited
		select {
		case <-c.packets:
		case <-time.After(connectWithin):
			return fmt.Errorf("no media in %v", connectWithin)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// connect opens a session and connects to it.
func (p *probe) connect(ctx context.Context, change func(offer string) string) (*peer, error) {
	c, err := p.newPeer()
	if err != nil {
		return nil, err
	}
	sdp, err := c.offer(ctx, nil)
	if err != nil {
		return nil, err
	}
	got, err := p.post(ctx, change(sdp))
	if err != nil {
		return nil, err
	}
	if err := want("POST", got, 201); err != nil {
		return nil, err
	}
	u, err := p.resolve(got.header.Get("Location"))
	if err != nil {
		return nil, err
	}
	answer, err := parse(got.body)
	if err != nil {
		return nil, err
	}
	c.session = session{url: u, etag: got.header.Get("ETag"), answer: answer, created: got}
	return c, c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: got.body})
}

func unchanged(sdp string) string { return sdp }

// up connects and waits until media flows.
func (p *probe) up(ctx context.Context) (*peer, error) {
	c, err := p.connect(ctx, unchanged)
	if err != nil {
		return nil, err
	}
	return c, c.flows(ctx, p.protocol)
}

func (c *peer) flows(ctx context.Context, protocol string) error {
	if err := c.await(ctx, connectWithin, webrtc.PeerConnectionStateConnected); err != nil || protocol == "whip" {
		return err
	}
	return c.plays(ctx)
}

func mediaChecks() []Check {
	return []Check{
		must("connect", "4.2", "ICE and DTLS come up, and media flows", func(ctx context.Context, p *probe) error {
			_, err := p.up(ctx)
			return err
		}),
		must("connect-trickle", "4.3.2", "a peer that trickles its candidates connects", trickled),
		must("restart-live", "4.3.3", "media goes on after an ICE restart, on the same DTLS connection", restartedLive),
		must("delete-ends", "RFC 7675 5.2", "DELETE ends DTLS or media at once", func(ctx context.Context, p *probe) error {
			c, err := p.up(ctx)
			if err != nil {
				return err
			}
			got, err := p.do(ctx, request{method: http.MethodDelete, url: c.session.url})
			if err != nil {
				return err
			}
			return errors.Join(success("DELETE", got), c.await(ctx, goodbyeWithin, webrtc.PeerConnectionStateClosed,
				webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateDisconnected))
		}),
	}
}

// trickled leaves the candidates out of the offer and sends them afterwards.
func trickled(ctx context.Context, p *probe) error {
	var fragment []string
	c, err := p.connect(ctx, func(sdp string) string {
		var kept []string
		section := 0
		for line := range strings.Lines(sdp) {
			line = strings.TrimRight(line, "\r\n")
			if strings.HasPrefix(line, "m=") {
				section++
			}
			ice := strings.HasPrefix(line, "a=candidate") || strings.HasPrefix(line, "a=end-of-candidates")
			if !ice {
				kept = append(kept, line)
			}
			if section == 1 && (ice || strings.HasPrefix(line, "m=") || strings.HasPrefix(line, "a=mid") || strings.HasPrefix(line, "a=ice-")) {
				fragment = append(fragment, line)
			}
		}
		return strings.Join(append(kept, ""), "\r\n")
	})
	if err != nil {
		return err
	}
	got, err := p.patch(ctx, c.session, c.session.etag, strings.Join(append(fragment, ""), "\r\n"))
	if err != nil {
		return err
	}
	return errors.Join(want("PATCH", got, 204), c.flows(ctx, p.protocol))
}

func restartedLive(ctx context.Context, p *probe) error {
	c, err := p.up(ctx)
	if err != nil {
		return err
	}
	sdp, err := c.offer(ctx, &webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return err
	}
	offered, err := parse(sdp)
	if err != nil {
		return err
	}
	fragment := []string{offered.sections[0][0], "a=mid:" + offered.first("mid")}
	for _, key := range []string{"ice-ufrag", "ice-pwd"} {
		fragment = append(fragment, "a="+key+":"+offered.first(key))
	}
	for _, candidate := range offered.all("candidate") {
		fragment = append(fragment, "a=candidate:"+candidate)
	}
	got, err := p.patch(ctx, c.session, "*", strings.Join(append(fragment, ""), "\r\n"))
	if err != nil {
		return err
	}
	if got.status == http.StatusUnprocessableEntity {
		return skip("the server does not restart ICE (422)")
	}
	if err := want("PATCH", got, 200); err != nil {
		return err
	}
	fresh, err := parseFragment(got.body)
	if err != nil {
		return err
	}
	answer := withICE(c.session.answer, fresh)
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return err
	}
	timeout := time.After(connectWithin)
	for c.pc.ICEConnectionState() != webrtc.ICEConnectionStateConnected && c.pc.ICEConnectionState() != webrtc.ICEConnectionStateCompleted {
		select {
		case <-time.After(frameInterval / 10):
		case <-timeout:
			return fmt.Errorf("ICE is %s", c.pc.ICEConnectionState())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return c.flows(ctx, p.protocol)
}

// withICE is an answer with another ICE session in it.
func withICE(answer, fresh description) string {
	lines := append([]string(nil), answer.session...)
	for _, section := range answer.sections {
		for _, line := range section {
			switch {
			case strings.HasPrefix(line, "a=ice-ufrag"):
				lines = append(lines, "a=ice-ufrag:"+fresh.first("ice-ufrag"))
			case strings.HasPrefix(line, "a=ice-pwd"):
				lines = append(lines, "a=ice-pwd:"+fresh.first("ice-pwd"))
			case strings.HasPrefix(line, "a=candidate"), strings.HasPrefix(line, "a=end-of-candidates"):
			default:
				lines = append(lines, line)
				continue
			}
			if strings.HasPrefix(line, "a=ice-pwd") {
				for _, candidate := range fresh.all("candidate") {
					lines = append(lines, "a=candidate:"+candidate)
				}
			}
		}
	}
	return strings.Join(append(lines, ""), "\r\n")
}

// camera publishes while the WHEP checks run.
type camera struct {
	probe *probe
	peer  *peer
}

// goLive publishes, with a probe of its own.
func (p *probe) goLive(ctx context.Context) (camera, error) {
	own := &probe{http: p.http, protocol: p.protocol, endpoint: p.endpoint, token: p.token}
	c, err := own.up(ctx)
	if err != nil {
		own.cleanUp(ctx)
	}
	return camera{own, c}, err
}

// awaitCamera waits until a player is let in: some servers look at what a camera sends first. What is wrong then, the
// checks will tell.
func (p *probe) awaitCamera(ctx context.Context) {
	defer p.cleanUp(ctx)
	for end := time.Now().Add(connectWithin); time.Now().Before(end); {
		got, err := p.post(ctx, newOffer(p.protocol).String())
		if err != nil || got.status != http.StatusNotFound && got.status != http.StatusConflict {
			return
		}
		select {
		case <-time.After(2 * frameInterval):
		case <-ctx.Done():
			return
		}
	}
}

func (c camera) leave(ctx context.Context) { c.probe.cleanUp(ctx) }
