package sfu

import (
	"bytes"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// wiretap is a peer's socket that keeps the last datagram of each sort that went out, so that a test can send it again,
// and changed, from the peer's own address.
type wiretap struct {
	net.PacketConn
	mu   sync.Mutex
	sent map[sort]sighted
	hold bool // nothing of DTLS goes out
}

type sort uint8

const (
	sortOther sort = iota
	sortRTP
	sortRTCP
	sortSTUN
	sortDTLS
)

type sighted struct {
	b  []byte
	to net.Addr
}

func newWiretap(t *testing.T) *wiretap {
	t.Helper()
	w := &wiretap{PacketConn: newUDP(t), sent: map[sort]sighted{}}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func sortOf(b []byte) sort {
	switch {
	case stun.IsMessage(b):
		return sortSTUN
	case isMedia(b) && isRTCP(b):
		return sortRTCP
	case isMedia(b):
		return sortRTP
	case isDTLS(b):
		return sortDTLS
	}
	return sortOther
}

func (w *wiretap) WriteTo(b []byte, to net.Addr) (int, error) {
	of := sortOf(b)
	w.mu.Lock()
	w.sent[of] = sighted{bytes.Clone(b), to}
	held := w.hold && of == sortDTLS
	w.mu.Unlock()
	if held {
		return len(b), nil
	}
	return w.PacketConn.WriteTo(b, to)
}

// again sends what was seen last of a sort, as change makes it.
func (w *wiretap) again(t *testing.T, of sort, change func([]byte) []byte) {
	t.Helper()
	var seen sighted
	eventually(t, "something to send again", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		seen = w.sent[of]
		return seen.b != nil
	})
	if _, err := w.PacketConn.WriteTo(change(bytes.Clone(seen.b)), seen.to); err != nil {
		t.Error(err)
	}
}

func (w *wiretap) engine(e *webrtc.SettingEngine) {
	e.SetICEUDPMux(webrtc.NewICEUDPMux(quietLogger(), w))
}

// scene is a camera, two viewers and a stranger.
type scene struct {
	t              *testing.T
	s              *SFU
	camera         *camera
	viewer, other  *watcher
	camWire, vWire *wiretap
	stranger       *net.UDPConn
}

func newScene(t *testing.T) *scene {
	t.Helper()
	sc := &scene{t: t, s: newSFU(t), camWire: newWiretap(t), vWire: newWiretap(t), stranger: newUDP(t)}
	t.Cleanup(func() { _ = sc.stranger.Close() })
	sc.camera = publishWith(t, sc.s, "m", sc.camWire.engine, vp8)
	sc.camera.run()
	sc.viewer = watchWith(t, sc.s, "m", "v", sc.vWire.engine)
	sc.other = watch(t, sc.s, "m", "other")
	sc.viewer.await(video, 5)
	sc.other.await(video, 5)
	return sc
}

// as sends a datagram as a stranger.
func (sc *scene) as(b []byte) {
	sc.t.Helper()
	to := sc.s.Addrs()[0]
	if _, err := sc.stranger.WriteToUDPAddrPort(b, to); err != nil {
		sc.t.Error(err)
	}
}

// at is where a session's media goes.
func (sc *scene) at(id string) netip.AddrPort {
	sc.t.Helper()
	sc.s.mu.Lock()
	defer sc.s.mu.Unlock()
	sess := sc.s.sessions[id]
	if sess == nil {
		sc.t.Fatal("the session is gone")
	}
	return sess.link.RemoteAddr()
}

// credentials returns a session's name and password.
func (sc *scene) credentials(id string) (ufrag, pwd string) {
	sc.s.mu.Lock()
	defer sc.s.mu.Unlock()
	l := sc.s.sessions[id].link.Local()
	return l.Ufrag, l.Pwd
}

// check is a connectivity check for a session.
func check(ufrag, pwd string) []byte {
	return stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(ufrag+":x"),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(pwd), stun.Fingerprint).Raw
}

func flipLast(b []byte) []byte {
	b[len(b)-1] ^= 1
	return b
}

func same(b []byte) []byte { return b }

// rtpHead is a packet's header, with what follows.
func rtpHead(first byte, rest ...byte) []byte {
	return append([]byte{first, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9}, rest...)
}

// TestBadInput has everything bad that comes to the socket dropped and counted; nobody's address changes, and the media
// of others goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	long := append(rtpHead(0x80), make([]byte, 3000)...)
	stats := func() Stats { return sc.s.Stats() }
	strangers := func() uint64 { return stats().Socket.Strangers }
	rejected := func() uint64 { return stats().Socket.Rejected }
	for _, tt := range []struct {
		name  string
		send  func()
		count func() uint64
	}{
		{"RTP of an unknown address", func() { sc.as(rtpHead(0x80, 1, 2, 3)) }, strangers},
		{"RTCP of an unknown address", func() { sc.as([]byte{0x80, 201, 0, 1, 0, 0, 0, 1}) }, strangers},
		{"a long packet of an unknown address", func() { sc.as(long) }, strangers},
		{"DTLS of an unknown address", func() { sc.as([]byte{22, 254, 253, 0, 0}) }, strangers},
		{"neither", func() { sc.as([]byte("GET / HTTP/1.1\r\n\r\n")) }, strangers},
		{"one byte", func() { sc.as([]byte{0x80}) }, strangers},
		{"a check that names nobody", func() { sc.as(check("nobody", "secret")) }, strangers},
		{"a check without a name", func() { sc.as(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw) }, strangers},
		{"an answer nobody waits for", func() { sc.as(stun.MustBuild(stun.TransactionID, stun.BindingSuccess).Raw) }, strangers},
		{"a spoofed check", func() {
			ufrag, _ := sc.credentials(sc.viewer.answer.SessionID)
			sc.as(check(ufrag, "not the password"))
		}, func() uint64 { return stats().Socket.Forged }},
		{"a spoofed check of the viewer's address", func() {
			sc.vWire.again(t, sortSTUN, func([]byte) []byte {
				ufrag, _ := sc.credentials(sc.viewer.answer.SessionID)
				return check(ufrag, "not the password")
			})
		}, func() uint64 { return stats().Socket.Forged }},
		{"a replay", func() { sc.camWire.again(t, sortRTP, same) }, rejected},
		{"a wrong tag", func() { sc.camWire.again(t, sortRTP, flipLast) }, rejected},
		{"a truncated header", func() { sc.camWire.again(t, sortRTP, func(b []byte) []byte { return b[:9] }) }, rejected},
		{"CSRCs that are not there", func() { sc.camWire.again(t, sortRTP, func([]byte) []byte { return rtpHead(0x8f) }) }, rejected},
		{"an extension that is not there", func() {
			sc.camWire.again(t, sortRTP, func([]byte) []byte { return rtpHead(0x90, 0xbe, 0xde, 0xff, 0xff) })
		}, rejected},
		{"an oversized packet", func() { sc.camWire.again(t, sortRTP, func([]byte) []byte { return long }) }, rejected},
		{"a viewer's RTCP with a wrong tag", func() {
			_ = sc.viewer.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}})
			sc.vWire.again(t, sortRTCP, flipLast)
		}, rejected},
		{"a viewer's RTCP again", func() { sc.vWire.again(t, sortRTCP, same) }, rejected},
		{"RTP of a viewer that only watches", func() {
			sc.vWire.again(t, sortRTCP, func([]byte) []byte { return rtpHead(0x80, 1) })
		}, func() uint64 { return stats().Unbound }},
		{"an NACK for a packet never sent", func() {
			newest := sc.viewer.await(video, 1)
			seq := newest[len(newest)-1].SequenceNumber + 20_000
			_ = sc.viewer.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
				MediaSSRC: sc.viewer.ssrc[video], Nacks: []rtcp.NackPair{{PacketID: seq}},
			}})
		}, func() uint64 { return stats().NACKsUnsent }},
		{"an NACK for a stream never sent", func() {
			_ = sc.viewer.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{MediaSSRC: 5, Nacks: []rtcp.NackPair{{PacketID: 1}}}})
		}, func() uint64 { return stats().NACKsUnsent }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			viewer, camera, before := sc.at(sc.viewer.answer.SessionID), sc.at(sc.camera.answer.SessionID), tt.count()
			tt.send()
			eventually(t, "it is counted", func() bool { return tt.count() > before })
			n := len(sc.other.packets(video))
			sc.other.await(video, n+6)
			if got := tt.count(); got != before+1 {
				t.Errorf("counted %d times", got-before)
			}
			if v, c := sc.at(sc.viewer.answer.SessionID), sc.at(sc.camera.answer.SessionID); v != viewer || c != camera {
				t.Errorf("the viewer went from %v to %v, the camera from %v to %v", viewer, v, camera, c)
			}
		})
	}
	continuous(t, sc.other.packets(video))
	continuous(t, sc.viewer.packets(video))
}

// TestFloodOfStrangers fills the socket with junk of strangers while a viewer comes: those who are there notice nothing,
// and the new one gets its picture.
func TestFloodOfStrangers(t *testing.T) {
	t.Parallel()
	sc := newScene(t)
	ufrag, _ := sc.credentials(sc.viewer.answer.SessionID)
	junk := [][]byte{
		rtpHead(0x80, make([]byte, 1000)...),
		{0x80, 201, 0, 1, 0, 0, 0, 1},
		{22, 254, 253, 0, 0},
		check("nobody", "secret"), check(ufrag, "not the password"),
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		to := sc.s.Addrs()[0]
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			_, _ = sc.stranger.WriteToUDPAddrPort(junk[i%len(junk)], to)
		}
	}()
	late := watch(t, sc.s, "m", "late")
	late.await(video, 30)
	close(done)
	<-ended
	n := len(sc.other.packets(video))
	sc.other.await(video, n+30)
	st := sc.s.Stats().Socket
	if st.Strangers == 0 || st.Forged == 0 || st.Overflowed == 0 {
		t.Errorf("%+v", st)
	}
	if n := len(sc.s.socket.pion.queue); n > pionQueue/2 {
		t.Errorf("%d datagrams wait for ICE", n)
	}
}

// TestEarlyMedia has a camera send media before its handshake: it is counted, and the camera connects all the same.
func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	wire := newWiretap(t)
	wire.hold = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		wire.again(t, sortDTLS, func([]byte) []byte { return rtpHead(0x80, 1, 2, 3) })
		eventually(t, "it is counted", func() bool { return s.Stats().Socket.Early == 1 })
		wire.mu.Lock()
		wire.hold = false
		wire.mu.Unlock()
	}()
	publishWith(t, s, "m", wire.engine, vp8).run()
	<-done
	watch(t, s, "m", "v").await(video, 5)
}

// TestLyingCamera has a camera send, sealed as it should be, a packet whose padding is longer than it. It is as if that
// had not come: the camera is asked for it again.
func TestLyingCamera(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	c.frame(true)
	eventually(t, "the stream begins", func() bool { return s.Stats().PacketsIn > 0 })
	c.seq[video]++
	lied := c.seq[video]
	if err := c.tracks[video].WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, Padding: true, SequenceNumber: lied, Timestamp: c.ts[video]},
		Payload: []byte{0x10, 1, 2, 255},
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is counted", func() bool { return s.Stats().Malformed == 1 })
	eventually(t, "it is asked for again", func() bool {
		c.frame(false)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range c.nacks {
			for _, seq := range n.PacketList() {
				if seq == lied {
					return true
				}
			}
		}
		return false
	})
}
