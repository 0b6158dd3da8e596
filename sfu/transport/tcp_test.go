package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// withTCP adds a TCP port, whose transports must be closed before it: it is made before them.
func withTCP(t *testing.T, ip string) func(*Config) {
	t.Helper()
	p, err := ListenTCP(netip.AddrPortFrom(netip.MustParseAddr(ip), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s.Open != 0 {
			t.Errorf("still open: %+v", s)
		}
	})
	return func(c *Config) { c.TCP = p }
}

// TestPaths connects peers that have only one way to the server.
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, ip string
		network  webrtc.NetworkType
		lite     bool
	}{
		{"UDP, lite", "127.0.0.1", webrtc.NetworkTypeUDP4, true},
		{"UDP on IPv6", "::1", webrtc.NetworkTypeUDP6, false},
		{"TCP", "127.0.0.1", webrtc.NetworkTypeTCP4, false},
		{"TCP, lite", "127.0.0.1", webrtc.NetworkTypeTCP4, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tcp := tt.network == webrtc.NetworkTypeTCP4
			cfg, socket := serverAt(t, net.ParseIP(tt.ip), withTCP(t, tt.ip), func(c *Config) { c.Lite = tt.lite })
			v, tr, s := joinAs(t, newViewerOn(t, net.ParseIP(tt.ip), tt.network), cfg)
			v.await(t, webrtc.PeerConnectionStateConnected)
			if tr.RemoteAddr().IsValid() == tcp {
				t.Fatalf("remote address %v", tr.RemoteAddr())
			}
			local, remote := contexts(t, s)
			media := make(chan []byte, 16)
			tr.OnMedia(func(b []byte) {
				select {
				case media <- append([]byte(nil), b...):
				default:
				}
			})
			var seq uint16
			tr.SetPatient(true)
			v.plays(t, local, &seq, tr.Write)
			hears(t, v, media, remote)
			if !tcp {
				v.plays(t, local, &seq, func(b []byte) error {
					_, err := socket.WriteToUDPAddrPort(b, tr.RemoteAddr())
					return err
				})
			}
			if err := tr.Close("shutdown"); err != nil {
				t.Fatal(err)
			}
			v.await(t, webrtc.PeerConnectionStateClosed)
		})
	}
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// dialTCP connects to the port and says something.
func dialTCP(t *testing.T, p *TCPPort, first []byte) net.Conn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.Port())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write(first)
	return c
}

func greeting(t *testing.T, ufrag string) []byte {
	t.Helper()
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag+":peer"), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// TestTCPStrangers holds that a connection that names no session is closed at once, and one that says nothing soon; and
// that a session takes a bounded number of them.
func TestTCPStrangers(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	withTCP(t, "127.0.0.1")(&cfg)
	session, err := cfg.TCP.session("known", false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	session.begin()
	strangers := map[string]net.Conn{}
	for name, first := range map[string][]byte{
		"silence":      nil,
		"half a frame": {0},
		"HTTP":         []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"no STUN":      framed(make([]byte, 40)),
		"empty":        framed(nil),
		"too long":     {0xff, 0xff, 1, 2, 3},
		"unknown":      framed(greeting(t, "nobody")),
		"no user name": framed(stun.MustBuild(stun.BindingRequest, stun.TransactionID).Raw),
		"an answer":    framed(stun.MustBuild(stun.BindingSuccess, stun.TransactionID, stun.NewUsername("known:peer")).Raw),
	} {
		strangers[name] = dialTCP(t, cfg.TCP, first)
	}
	for name, c := range strangers {
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: read %d, %v", name, n, err)
		}
	}
	var conns []net.Conn
	for range maxStreamsEach + 1 {
		conns = append(conns, dialTCP(t, cfg.TCP, framed(greeting(t, "known"))))
	}
	b := make([]byte, maxFrame)
	seen := map[netip.AddrPort]bool{}
	for range maxStreamsEach {
		n, from, err := session.ReadFromAddrPort(b)
		if err != nil || ufragOf(b[:n]) != "known" {
			t.Fatalf("%q, %v", b[:n], err)
		}
		seen[from] = true
		if _, err := session.WriteToAddrPort([]byte("hello"), from); err != nil {
			t.Fatal(err)
		}
	}
	answered := 0
	for _, c := range conns {
		var hello [7]byte
		if _, err := io.ReadFull(c, hello[:]); err == nil && string(hello[2:]) == "hello" {
			answered++
		}
	}
	if answered != maxStreamsEach || len(seen) != maxStreamsEach {
		t.Errorf("%d of %d connections are answered", answered, len(conns))
	}
	if s := cfg.TCP.Stats(); s.Open != maxStreamsEach || s.Refused != 10 {
		t.Errorf("stats %+v", s)
	}
	if _, err := session.WriteToAddrPort([]byte("x"), netip.MustParseAddrPort("192.0.2.1:5")); err == nil {
		t.Error("wrote to nobody")
	}
}

// TestTCPCrowd has one address open more connections than it may without saying which session they are of; who has one
// gets in from there as soon as one of them has gone, and from elsewhere at once.
func TestTCPCrowd(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	withTCP(t, "127.0.0.1")(&cfg)
	session, err := cfg.TCP.session("known", false)
	if err != nil {
		t.Fatal(err)
	}
	session.begin()
	defer func() { _ = session.Close() }()
	to := net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), cfg.TCP.Port()))
	elsewhere, err := net.DialTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = elsewhere.Close() })
	for cfg.TCP.Stats().Open != 1 {
		runtime.Gosched()
	}
	for range maxStrangers {
		dialTCP(t, cfg.TCP, nil)
	}
	over := dialTCP(t, cfg.TCP, framed(greeting(t, "known")))
	if n, err := over.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one too many: read %d, %v", n, err)
	}
	_, _ = elsewhere.Write(framed(greeting(t, "known")))
	b := make([]byte, maxFrame)
	if n, _, err := session.ReadFromAddrPort(b); err != nil || ufragOf(b[:n]) != "known" {
		t.Fatalf("from another address: %q, %v", b[:n], err)
	}
	if s := cfg.TCP.Stats(); s.Refused != 1 {
		t.Errorf("%+v, want 1 refused", s)
	}
}

// TestTCPDeaf writes to a peer that reads nothing: what is not patient drops, and nothing waits for ever.
func TestTCPDeaf(t *testing.T) {
	t.Parallel()
	cfg := Config{}
	withTCP(t, "127.0.0.1")(&cfg)
	session, err := cfg.TCP.session("known", false)
	if err != nil {
		t.Fatal(err)
	}
	session.begin()
	dialTCP(t, cfg.TCP, framed(greeting(t, "known")))
	_, from, err := session.ReadFromAddrPort(make([]byte, maxFrame))
	if err != nil {
		t.Fatal(err)
	}
	media := append([]byte{0x80, 96}, make([]byte, 1300)...)
	for cfg.TCP.Stats().Dropped == 0 {
		if _, err := session.WriteToAddrPort(media, from); err != nil {
			t.Fatal(err)
		}
	}
	session.patient.Store(true)
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		for range 2 * streamQueue {
			_, _ = session.WriteToAddrPort(media, from)
		}
	}()
	_ = session.Close()
	select {
	case <-waiting:
	case <-time.After(patience):
		t.Fatal("a writer waits for a session that is closed")
	}
}

// TestTCPOfNobody holds that ICE does not know of a TCP candidate that nobody uses, that nothing of an ICE session stays
// behind in the port when another one begins, and that nothing stays when the transport closes.
func TestTCPOfNobody(t *testing.T) {
	t.Parallel()
	cfg, _ := server(t, withTCP(t, "127.0.0.1"))
	_, tr, _ := join(t, cfg)
	held := func() (ufrags []string) {
		cfg.TCP.mu.Lock()
		defer cfg.TCP.mu.Unlock()
		for k := range cfg.TCP.sessions {
			ufrags = append(ufrags, k.ufrag)
		}
		return ufrags
	}
	local, err := tr.agent.GetLocalCandidates()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range local {
		if c.NetworkType().IsTCP() {
			t.Errorf("ICE reads for %s", c)
		}
	}
	before := tr.Local().Ufrag
	if got := held(); len(got) != 1 || got[0] != before {
		t.Errorf("sessions %q, want %q", got, before)
	}
	next, err := tr.Restart(t.Context(), "anotherufrag", "anotherpasswordthatislong")
	if err != nil {
		t.Fatal(err)
	}
	if got := held(); len(got) != 1 || got[0] != next.Ufrag || next.Ufrag == before {
		t.Errorf("sessions %q after the restart, want %q", got, next.Ufrag)
	}
	if err := tr.Close("over"); err != nil {
		t.Fatal(err)
	}
	if got := held(); len(got) != 0 {
		t.Errorf("sessions %q are left", got)
	}
}

// FuzzUfrag holds that no first packet makes the port fail.
func FuzzUfrag(f *testing.F) {
	f.Add(stun.MustBuild(stun.BindingRequest, stun.TransactionID, stun.NewUsername("known:peer"), stun.Fingerprint).Raw)
	f.Add([]byte{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 4, 'a', ':'})
	f.Fuzz(func(_ *testing.T, b []byte) { ufragOf(b) })
}

// FuzzFrame holds that a connection's bytes are taken apart into the frames that their lengths say, and no further.
func FuzzFrame(f *testing.F) {
	f.Add([]byte{0, 1, 0x80, 0, 0})
	f.Add([]byte{255, 255, 1})
	f.Add(append([]byte{0, 2, 1, 2, 0, 20}, stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw...))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, at := bytes.NewReader(b), 0
		var fr frame
		for {
			err := fr.read(r)
			if err != nil {
				if rest := b[min(at, len(b)):]; len(rest) >= 2 {
					if n := int(binary.BigEndian.Uint16(rest)); n <= maxFrame && len(rest) >= 2+n {
						t.Fatalf("%v with a whole frame at %d", err, at)
					}
				}
				return
			}
			if !bytes.Equal(fr.bytes(), b[at+2:at+2+fr.n]) {
				t.Fatalf("the frame at %d is another", at)
			}
			at += 2 + fr.n
			ufragOf(fr.bytes())
		}
	})
}
