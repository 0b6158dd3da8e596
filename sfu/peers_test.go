package sfu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

const patience = 30 * time.Second

// newSFU starts a node on loopback that is shut down, with nothing left, when the test ends.
func newSFU(t *testing.T, change ...func(*Config)) *SFU {
	t.Helper()
	cfg := Config{
		UDPAddr: "127.0.0.1:0", KeyframeInterval: 50 * time.Millisecond, PublisherWait: 100 * time.Millisecond,
		Readers: 2, // who moves may come to another
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	return s
}

// eventually polls until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

func format(mime string, pt webrtc.PayloadType, fmtp string) webrtc.RTPCodecParameters {
	p := webrtc.RTPCodecParameters{PayloadType: pt, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp,
	}}
	switch mime {
	case webrtc.MimeTypeOpus:
		p.ClockRate, p.Channels = 48000, 2
	case webrtc.MimeTypeRTX:
	default:
		p.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	}
	return p
}

var opus = format(webrtc.MimeTypeOpus, 111, "minptime=10;useinbandfec=1")

const h264Fmtp = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"

// allVideo is what a browser offers, in the numbers of a viewer.
func allVideo() []webrtc.RTPCodecParameters {
	return []webrtc.RTPCodecParameters{
		format(webrtc.MimeTypeVP8, 96, ""), format(webrtc.MimeTypeRTX, 97, "apt=96"),
		format(webrtc.MimeTypeVP9, 98, "profile-id=0"), format(webrtc.MimeTypeRTX, 99, "apt=98"),
		format(webrtc.MimeTypeH264, 102, "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f"),
		format(webrtc.MimeTypeH264, 104, h264Fmtp), format(webrtc.MimeTypeRTX, 105, "apt=104"),
		format(webrtc.MimeTypeAV1, 45, ""), format(webrtc.MimeTypeRTX, 46, "apt=45"),
	}
}

// newPC makes a client PeerConnection on loopback with these formats and no interceptor of its own.
func newPC(t *testing.T, formats ...webrtc.RTPCodecParameters) *webrtc.PeerConnection {
	t.Helper()
	return newPCWith(t, func(*webrtc.SettingEngine) {}, formats...)
}

func newPCWith(t *testing.T, change func(*webrtc.SettingEngine), formats ...webrtc.RTPCodecParameters) *webrtc.PeerConnection {
	t.Helper()
	return newPCOf(t, &webrtc.MediaEngine{}, change, formats...)
}

func newPCOf(
	t *testing.T, m *webrtc.MediaEngine, change func(*webrtc.SettingEngine), formats ...webrtc.RTPCodecParameters,
) *webrtc.PeerConnection {
	t.Helper()
	return newPCWithRegistry(t, m, &interceptor.Registry{}, change, formats...)
}

func newPCWithRegistry(
	t *testing.T, m *webrtc.MediaEngine, r *interceptor.Registry, change func(*webrtc.SettingEngine),
	formats ...webrtc.RTPCodecParameters,
) *webrtc.PeerConnection {
	t.Helper()
	for _, f := range formats {
		k := webrtc.RTPCodecTypeVideo
		if f.MimeType == webrtc.MimeTypeOpus {
			k = webrtc.RTPCodecTypeAudio
		}
		if err := m.RegisterCodec(f, k); err != nil {
			t.Fatal(err)
		}
	}
	se := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard}}
	se.SetIncludeLoopbackCandidate(true)
	se.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	se.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	se.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	n, err := stdnet.NewNet()
	if err != nil {
		t.Fatal(err)
	}
	se.SetNet(roomy{n})
	change(&se)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithSettingEngine(se),
		webrtc.WithInterceptorRegistry(r))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	return pc
}

// roomy is a network whose sockets keep what comes while a busy machine has no time for who reads them.
type roomy struct{ transport.Net }

func (n roomy) ListenUDP(network string, addr *net.UDPAddr) (transport.UDPConn, error) {
	c, err := n.Net.ListenUDP(network, addr)
	if err != nil {
		return nil, err
	}
	return c, c.SetReadBuffer(4 << 20) // the system gives what it allows
}

// makeOffer returns the PeerConnection's offer with all its candidates.
func makeOffer(t *testing.T, pc *webrtc.PeerConnection) []byte {
	t.Helper()
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	return []byte(pc.LocalDescription().SDP)
}

// accept gives the answer to the PeerConnection and waits until it is connected.
func accept(t *testing.T, pc *webrtc.PeerConnection, a Answer) {
	t.Helper()
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(a.SDP)})
	if err != nil {
		t.Fatalf("%v in\n%s", err, a.SDP)
	}
	select {
	case <-connected:
	case <-time.After(patience):
		t.Fatalf("not connected; answer\n%s", a.SDP)
	}
}

// camera is a publisher under the test's control.
type camera struct {
	t       *testing.T
	pc      *webrtc.PeerConnection
	answer  Answer
	tracks  map[kind]*webrtc.TrackLocalStaticRTP
	codec   codec.Codec
	seq     map[kind]uint16
	ts      map[kind]uint32
	picture uint16
	mu      sync.Mutex
	plis    int
	nacks   []rtcp.NackPair
}

// publishCamera connects a camera that sends these formats, at most one a kind.
func publishCamera(t *testing.T, s *SFU, id string, formats ...webrtc.RTPCodecParameters) *camera {
	t.Helper()
	return publishWith(t, s, id, func(*webrtc.SettingEngine) {}, formats...)
}

// publishWith connects a camera whose pion is set up by change.
func publishWith(
	t *testing.T, s *SFU, id string, change func(*webrtc.SettingEngine), formats ...webrtc.RTPCodecParameters,
) *camera {
	t.Helper()
	c := &camera{
		t: t, pc: newPCWith(t, change, formats...), tracks: map[kind]*webrtc.TrackLocalStaticRTP{},
		seq: map[kind]uint16{video: 65500, audio: 65530}, ts: map[kind]uint32{video: 1<<32 - 9000, audio: 5},
		picture: 0x7ffe,
	}
	for _, f := range formats {
		if f.MimeType == webrtc.MimeTypeRTX {
			continue
		}
		k := video
		if f.MimeType == webrtc.MimeTypeOpus {
			k = audio
		} else {
			c.codec = codec.ByMimeType(f.MimeType)
		}
		track, err := webrtc.NewTrackLocalStaticRTP(f.RTPCodecCapability, k.String(), "cam")
		if err != nil {
			t.Fatal(err)
		}
		sender, err := c.pc.AddTrack(track)
		if err != nil {
			t.Fatal(err)
		}
		c.tracks[k] = track
		go readRTCP(sender, c.onRTCP)
	}
	a, err := s.Publish(t.Context(), id, makeOffer(t, c.pc))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	c.answer = a
	accept(t, c.pc, a)
	eventually(t, "publisher adopted", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		sess := s.sessions[a.SessionID]
		return sess != nil && s.media[id] != nil && s.media[id].publisher == sess
	})
	return c
}

// arrivals counts the packets that came of a media session's camera, without SFU.mu: a stream begins with a packet that
// finds it free.
func arrivals(s *SFU, id string) func() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	counters := &s.media[id].counters
	return func() uint64 { return counters.load().PacketsIn }
}

func (c *camera) onRTCP(p rtcp.Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch p := p.(type) {
	case *rtcp.PictureLossIndication:
		c.plis++
	case *rtcp.TransportLayerNack:
		c.nacks = append(c.nacks, p.Nacks...)
	}
}

func (c *camera) pliCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plis
}

// payload makes the n-th of three packets of a frame.
func payload(c codec.Codec, key bool, n int, picture uint16) []byte {
	body := make([]byte, 200)
	for i := range body {
		body[i] = byte(i) | 1
	}
	bit := func(b bool, v byte) byte {
		if b {
			return v
		}
		return 0
	}
	first := n == 0
	switch c {
	case codec.Unknown, codec.Opus:
	case codec.VP8:
		head := []byte{0x80 | bit(first, 0x10), 0xc0, 0x80 | byte(picture>>8), byte(picture), byte(picture)}
		return append(append(head, bit(!key, 1)), body...)
	case codec.VP9:
		return append([]byte{0x80 | bit(!key, 0x40) | bit(first, 0x08) | bit(n == 2, 0x04), 0x80 | byte(picture>>8), byte(picture)}, body...)
	case codec.H264:
		switch {
		case key && first:
			return []byte{24, 0, 3, 0x67, 0x42, 0xe0, 0, 2, 0x68, 0xce}
		case key:
			return append([]byte{0x7c, bit(n == 1, 0x80) | bit(n == 2, 0x40) | 5}, body...)
		}
		return append([]byte{0x5c, bit(first, 0x80) | bit(n == 2, 0x40) | 1}, body...)
	case codec.AV1:
		return append([]byte{bit(!first, 0x80) | bit(n < 2, 0x40) | 0x10 | bit(first && key, 0x08), 0x32}, body...)
	}
	return body
}

func (c *camera) send(k kind, marker bool, p []byte) {
	c.t.Helper()
	c.seq[k]++
	c.write(k, c.seq[k], marker, p)
}

func (c *camera) write(k kind, seq uint16, marker bool, p []byte) {
	c.t.Helper()
	err := c.tracks[k].WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: marker, SequenceNumber: seq, Timestamp: c.ts[k]},
		Payload: p,
	})
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		c.t.Errorf("camera: %v", err)
	}
}

// frame sends a video frame of three packets.
func (c *camera) frame(key bool) {
	c.t.Helper()
	c.ts[video] += 3000
	c.picture = (c.picture + 1) & 0x7fff
	for n := range 3 {
		c.send(video, n == 2, payload(c.codec, key, n, c.picture))
	}
}

func (c *camera) sound() {
	c.t.Helper()
	c.ts[audio] += 960
	c.send(audio, false, []byte{0x78, 1, 2, 3})
}

// run sends frames, a keyframe whenever asked for one, until stop is called.
func (c *camera) run() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		answered := -1
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if c.tracks[video] != nil {
				asked := c.pliCount()
				c.frame(asked != answered)
				answered = asked
			}
			if c.tracks[audio] != nil {
				c.sound()
			}
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(done); <-ended }) }
	c.t.Cleanup(stop)
	return stop
}

// watcher is a viewer that keeps what it receives.
type watcher struct {
	t        *testing.T
	pc       *webrtc.PeerConnection
	answer   Answer
	mu       sync.Mutex
	got      map[kind][]*rtp.Packet
	rtx      []*rtp.Packet
	reports  map[uint32]*rtcp.SenderReport
	byes     map[uint32]bool
	ssrc     map[kind]uint32
	payloads map[kind]uint8
}

func offerPlay(t *testing.T, kindsWanted []kind, formats ...webrtc.RTPCodecParameters) *webrtc.PeerConnection {
	t.Helper()
	pc := newPC(t, formats...)
	wantPlay(t, pc, kindsWanted)
	return pc
}

func wantPlay(t *testing.T, pc *webrtc.PeerConnection, kindsWanted []kind) {
	t.Helper()
	for _, k := range kindsWanted {
		init := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err := pc.AddTransceiverFromKind(webrtc.NewRTPCodecType(k.String()), init); err != nil {
			t.Fatal(err)
		}
	}
}

// watch connects a viewer.
func watch(t *testing.T, s *SFU, id, viewer string, kindsWanted ...kind) *watcher {
	t.Helper()
	return watchWith(t, s, id, viewer, func(*webrtc.SettingEngine) {}, kindsWanted...)
}

// watchWith connects a viewer whose pion is set up by change.
func watchWith(t *testing.T, s *SFU, id, viewer string, change func(*webrtc.SettingEngine), kindsWanted ...kind) *watcher {
	t.Helper()
	return watchWishing(t, s, id, viewer, NoPreference(), change, kindsWanted...)
}

// watchWishing connects a viewer who begins with a wish.
func watchWishing(
	t *testing.T, s *SFU, id, viewer string, wish Preference, change func(*webrtc.SettingEngine), kindsWanted ...kind,
) *watcher {
	t.Helper()
	if len(kindsWanted) == 0 {
		kindsWanted = []kind{video}
	}
	w := newWatcher(t, newPCWith(t, change, append(allVideo(), opus)...))
	wantPlay(t, w.pc, kindsWanted)
	a, err := s.Play(t.Context(), id, viewer, wish, makeOffer(t, w.pc))
	if err != nil {
		t.Fatalf("play: %v", err)
	}
	w.answer = a
	accept(t, w.pc, a)
	return w
}

func newWatcher(t *testing.T, pc *webrtc.PeerConnection) *watcher {
	t.Helper()
	w := &watcher{
		t: t, pc: pc, got: map[kind][]*rtp.Packet{},
		reports: map[uint32]*rtcp.SenderReport{}, byes: map[uint32]bool{}, ssrc: map[kind]uint32{}, payloads: map[kind]uint8{},
	}
	w.pc.OnTrack(w.onTrack)
	return w
}

func (w *watcher) onTrack(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
	k := audio
	if tr.Kind() == webrtc.RTPCodecTypeVideo {
		k = video
	}
	w.mu.Lock()
	w.ssrc[k], w.payloads[k] = uint32(tr.SSRC()), uint8(tr.PayloadType())
	w.mu.Unlock()
	go readRTCP(r, func(p rtcp.Packet) {
		w.mu.Lock()
		defer w.mu.Unlock()
		switch p := p.(type) {
		case *rtcp.SenderReport:
			w.reports[p.SSRC] = p
		case *rtcp.Goodbye:
			for _, ssrc := range p.Sources {
				w.byes[ssrc] = true
			}
		}
	})
	for {
		p, attr, err := tr.ReadRTP()
		if err != nil {
			return
		}
		w.mu.Lock()
		if attr != nil && attr.Get(webrtc.AttributeRtxSequenceNumber) != nil {
			w.rtx = append(w.rtx, p)
		} else {
			w.got[k] = append(w.got[k], p)
		}
		w.mu.Unlock()
	}
}

// packets returns what was received so far.
func (w *watcher) packets(k kind) []*rtp.Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*rtp.Packet(nil), w.got[k]...)
}

func (w *watcher) await(k kind, n int) []*rtp.Packet {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("%d %s packets", n, k), func() bool { return len(w.packets(k)) >= n })
	return w.packets(k)
}

// continuous fails the test unless sequence numbers rise by one and timestamps never fall.
func continuous(t *testing.T, packets []*rtp.Packet) {
	t.Helper()
	for i := 1; i < len(packets); i++ {
		a, b := packets[i-1].Header, packets[i].Header
		if b.SequenceNumber != a.SequenceNumber+1 {
			t.Fatalf("packet %d: sequence number %d after %d", i, b.SequenceNumber, a.SequenceNumber)
		}
		if int32(b.Timestamp-a.Timestamp) < 0 || b.Timestamp-a.Timestamp > 10*90000 {
			t.Fatalf("packet %d: timestamp %d after %d", i, b.Timestamp, a.Timestamp)
		}
		if a.SSRC != b.SSRC {
			t.Fatalf("packet %d: SSRC changed", i)
		}
	}
}

// readRTCP calls f for every RTCP packet that pion hands out, until it is closed.
func readRTCP(r interface {
	Read(b []byte) (int, interceptor.Attributes, error)
}, f func(rtcp.Packet),
) {
	buf := make([]byte, receiveMTU)
	for {
		n, _, err := r.Read(buf)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			f(p)
		}
	}
}
