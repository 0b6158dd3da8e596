package transport

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/stdnet"
	"github.com/pion/webrtc/v4"
)

// patience is how long anything may take on a busy machine.
const patience = 20 * time.Second

// network is a UDP socket that loses datagrams, and sees others come from elsewhere.
type network struct {
	*net.UDPConn
	loseIn, loseOut atomic.Pointer[func(b []byte) bool]
	blocked         atomic.Pointer[netip.AddrPort] // nothing from there comes in
}

func (n *network) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		k, from, err := n.ReadFromUDPAddrPort(b)
		if f := n.loseIn.Load(); err == nil && f != nil && (*f)(b[:k]) {
			continue
		}
		if a := n.blocked.Load(); a != nil && *a == netip.AddrPortFrom(from.Addr().Unmap(), from.Port()) {
			continue
		}
		return k, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), err
	}
}

func (n *network) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if f := n.loseOut.Load(); f != nil && (*f)(b) {
		return len(b), nil
	}
	return n.WriteToUDPAddrPort(b, to)
}

func (n *network) lose(f func(b []byte) bool) {
	n.loseIn.Store(&f)
	n.loseOut.Store(&f)
}

// server returns what transports of one process share.
func server(tb testing.TB, change ...func(*Config)) (Config, *network) {
	tb.Helper()
	return serverAt(tb, net.IPv4(127, 0, 0, 1), change...)
}

func serverAt(tb testing.TB, ip net.IP, change ...func(*Config)) (Config, *network) {
	tb.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		tb.Fatal(err)
	}
	n := &network{UDPConn: conn}
	std, err := stdnet.NewNet()
	if err != nil {
		tb.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: silent{}, UDPConn: n, Net: std})
	tb.Cleanup(func() { _ = mux.Close() })
	cfg := Config{Mux: mux, Net: std, Certificate: certificate(tb), Loopback: true}
	for _, f := range change {
		f(&cfg)
	}
	return cfg, n
}

func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	c, err := selfsign.GenerateSelfSigned()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// viewer is a PeerConnection that wants to see.
type viewer struct {
	*webrtc.PeerConnection
	tracks chan *webrtc.TrackRemote
	states chan webrtc.PeerConnectionState
}

func newViewer(t *testing.T) *viewer {
	t.Helper()
	return newViewerOn(t, net.IPv4(127, 0, 0, 1), webrtc.NetworkTypeUDP4)
}

func newViewerOn(t *testing.T, ip net.IP, networks ...webrtc.NetworkType) *viewer {
	t.Helper()
	var s webrtc.SettingEngine
	s.LoggerFactory = quiet{}
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes(networks)
	if ip.To4() == nil { // pion gathers no ::1 by itself
		conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: ip})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s.SetICEUDPMux(webrtc.NewICEUDPMux(silent{}, conn))
	}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s), webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	v := &viewer{pc, make(chan *webrtc.TrackRemote, 2), make(chan webrtc.PeerConnectionState, 16)}
	pc.OnTrack(func(tr *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.tracks <- tr })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { v.states <- s })
	recvonly := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
	for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := pc.AddTransceiverFromKind(k, recvonly); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

// offer makes an offer with all candidates.
func (v *viewer) offer(t *testing.T, o *webrtc.OfferOptions) *sdp.SessionDescription {
	t.Helper()
	d, err := v.CreateOffer(o)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(v.PeerConnection)
	if err := v.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	<-gathered
	parsed, err := v.LocalDescription().Unmarshal()
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

const (
	videoSSRC, rtxSSRC = 1001, 1002
	vp8, rtx           = 96, 97 // pion's default numbers
)

// accept answers the video section of an offer and rejects the audio section.
func (v *viewer) accept(t *testing.T, d *sdp.SessionDescription, l Local, version uint64) {
	t.Helper()
	mid := func(i int) string { m, _ := d.MediaDescriptions[i].Attribute("mid"); return m }
	answer := BuildAnswer(Answer{ID: 7, Version: version, Bundle: true, Local: l, Sections: []Section{
		{
			Kind: "audio", MID: mid(0), Rejected: true,
			Codec: Codec{PayloadType: 111, Name: "opus", ClockRate: 48000, Channels: 2},
		},
		{
			Kind: "video", MID: mid(1), SSRC: videoSSRC, RTXSSRC: rtxSSRC, CNAME: "c", Stream: "s", Track: "t",
			Codec: Codec{PayloadType: vp8, Name: "VP8", ClockRate: 90000, RTX: rtx, Feedback: []string{"nack pli"}},
		},
	}})
	err := v.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
	if err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
}

// join connects a viewer to a transport.
func join(t *testing.T, cfg Config) (*viewer, *Transport, Session) {
	t.Helper()
	return joinAs(t, newViewer(t), cfg)
}

func joinAs(t *testing.T, v *viewer, cfg Config) (*viewer, *Transport, Session) {
	t.Helper()
	tr := meet(t, v, cfg)
	s, err := tr.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v, tr, s
}

// joinSoon is join with times that change sets, as short as this machine lets the two connect in: a test has to sit them out.
func joinSoon(t *testing.T, cfg Config, change func(*Config, time.Duration)) (*viewer, *Transport) {
	t.Helper()
	for within := 500 * time.Millisecond; ; within *= 2 {
		change(&cfg, within)
		v := newViewer(t)
		tr := meet(t, v, cfg)
		_, err := tr.Connect(t.Context())
		if err == nil {
			return v, tr
		}
		if within > patience/4 {
			t.Fatal(err)
		}
	}
}

// connectWithin sets after how long a transport is given up that does not connect, and its DTLS connection is put away.
func connectWithin(c *Config, d time.Duration) { c.ConnectTimeout = d }

// meet exchanges offer and answer.
func meet(t *testing.T, v *viewer, cfg Config) *Transport {
	t.Helper()
	d := v.offer(t, nil)
	tr, err := New(cfg, RemoteOf(d, d.MediaDescriptions[1]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tr.Close("test_over") })
	v.accept(t, d, tr.Local(), 1)
	return tr
}

// contexts are those of the pion SRTP library for a session's two directions.
func contexts(t *testing.T, s Session) (local, remote *srtp.Context) {
	t.Helper()
	create := func(k Keys) *srtp.Context {
		c, err := srtp.CreateContext(k.Key, k.Salt, srtp.ProtectionProfile(s.Profile))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return create(s.Local), create(s.Remote)
}

// packet is a protected VP8 packet.
func packet(t *testing.T, local *srtp.Context, seq uint16) []byte {
	t.Helper()
	h := rtp.Header{Version: 2, PayloadType: vp8, SequenceNumber: seq, Timestamp: 3000 * uint32(seq), SSRC: videoSSRC}
	plain, err := (&rtp.Packet{Header: h, Payload: []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a, 0, 1, 0, 1}}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := local.EncryptRTP(nil, plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plays sends packets until the viewer has got one of them.
func (v *viewer) plays(t *testing.T, local *srtp.Context, seq *uint16, send func([]byte) error) {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		err := net.ErrClosed
		if tr := v.track(); tr != nil {
			_, _, err = tr.ReadRTP()
		}
		got <- err
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		select {
		case err := <-got:
			if err != nil {
				t.Fatal(err)
			}
			return
		case <-deadline:
			t.Fatal("no packet came")
		case <-tick.C:
			*seq++
			_ = send(packet(t, local, *seq))
		}
	}
}

// track waits for the viewer's track and keeps it for the next call.
func (v *viewer) track() *webrtc.TrackRemote {
	select {
	case tr := <-v.tracks:
		v.tracks <- tr
		return tr
	case <-time.After(patience):
		return nil
	}
}

func (v *viewer) await(t *testing.T, want ...webrtc.PeerConnectionState) {
	t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case s := <-v.states:
			if slices.Contains(want, s) {
				return
			}
		case <-deadline:
			t.Fatalf("never %v", want)
		}
	}
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !f(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

func awaitDone(t *testing.T, tr *Transport, reason string) {
	t.Helper()
	select {
	case <-tr.Done():
	case <-time.After(patience):
		t.Fatal("never done")
	}
	if tr.Reason() != reason {
		t.Fatalf("reason %q, want %q", tr.Reason(), reason)
	}
}

func (t *Transport) isParked() bool {
	t.record.Lock()
	defer t.record.Unlock()
	return t.record.parked != nil
}
