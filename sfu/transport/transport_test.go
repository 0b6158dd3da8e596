package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"
)

// TestSession holds that what comes of a handshake is what the peer has: media to the remote address and through
// Write plays, and the peer's RTCP comes up.
func TestSession(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		profiles []dtls.SRTPProtectionProfile
		want     dtls.SRTPProtectionProfile
	}{
		{"default", nil, dtls.SRTP_AEAD_AES_128_GCM},
		{"gcm256", []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_256_GCM}, dtls.SRTP_AEAD_AES_256_GCM},
		{"sha1", []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}, dtls.SRTP_AES128_CM_HMAC_SHA1_80},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, socket := server(t, func(c *Config) { c.Profiles = tt.profiles })
			v := newViewer(t)
			tr := meet(t, v, cfg)
			media := make(chan []byte, 16)
			tr.OnMedia(func(b []byte) {
				select {
				case media <- append([]byte(nil), b...):
				default:
				}
			})
			if at := tr.Status().ReachedAt; !at.IsZero() {
				t.Errorf("a way was found at %v, before anybody looked", at)
			}
			began := time.Now().Add(-time.Millisecond)
			s, err := tr.Connect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if at := tr.Status().ReachedAt; at.Before(began) || at.After(time.Now()) {
				t.Errorf("a way was found at %v", at)
			}
			if s.Profile != uint16(tt.want) {
				t.Fatalf("profile %#x, want %#x", s.Profile, tt.want)
			}
			local, remote := contexts(t, s)
			var seq uint16
			v.plays(t, local, &seq, func(b []byte) error {
				_, err := socket.WriteToUDPAddrPort(b, tr.RemoteAddr())
				return err
			})
			v.plays(t, local, &seq, tr.Write)
			hears(t, v, media, remote)
		})
	}
}

// hears has the viewer ask for a keyframe until that came up.
func hears(t *testing.T, v *viewer, media <-chan []byte, remote *srtp.Context) {
	t.Helper()
	eventually(t, "a PLI", func() bool {
		_ = v.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: videoSSRC}})
		select {
		case b := <-media:
			plain, err := remote.DecryptRTCP(nil, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			packets, err := rtcp.Unmarshal(plain)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := packets[len(packets)-1].(*rtcp.PictureLossIndication)
			return ok && p.MediaSSRC == videoSSRC
		default:
			return false
		}
	})
}

func TestWrongFingerprint(t *testing.T) {
	t.Parallel()
	cfg, _ := server(t)
	v := newViewer(t)
	d := v.offer(t, nil)
	r := RemoteOf(d, d.MediaDescriptions[1])
	other, err := fingerprintOf(certificate(t))
	if err != nil {
		t.Fatal(err)
	}
	r.Fingerprints = []Fingerprint{other}
	tr, err := New(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close("") }()
	v.accept(t, d, tr.Local(), 1)
	if _, err := tr.Connect(t.Context()); !errors.Is(err, errFingerprint) {
		t.Fatalf("err %v", err)
	}
	awaitDone(t, tr, ReasonConnectFailed)
	v.await(t, webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed)
}

// TestLostFlights loses the first DTLS datagrams in both directions.
func TestLostFlights(t *testing.T) {
	t.Parallel()
	cfg, socket := server(t)
	var lost atomic.Int32
	lose := func(b []byte) bool { return b[0] >= 20 && b[0] <= 63 && lost.Add(1) <= 3 }
	socket.lose(lose)
	_, tr, _ := join(t, cfg)
	if lost.Load() <= 3 || !tr.RemoteAddr().IsValid() {
		t.Fatalf("lost %d, remote %v", lost.Load(), tr.RemoteAddr())
	}
}

// brief makes everything that waits wait less.
func brief(c *Config) {
	c.ConnectTimeout = time.Second
	c.DisconnectedTimeout, c.FailedTimeout = 500*time.Millisecond, 500*time.Millisecond
}

// TestGoodbyes holds that both sides hear each other's close_notify, before and after the DTLS connection is put away:
// after a silence, or once the peer has confirmed it.
func TestGoodbyes(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"fresh", "silent", "confirmed"} {
		for _, who := range []string{"ours", "theirs"} {
			t.Run(when+" "+who, func(t *testing.T) {
				t.Parallel()
				cfg, _ := server(t)
				timeout := connectWithin
				if when != "silent" {
					timeout = func(*Config, time.Duration) {}
				}
				v, tr := joinSoon(t, cfg, timeout)
				v.await(t, webrtc.PeerConnectionStateConnected)
				if when == "confirmed" {
					tr.Confirm()
					tr.Confirm()
				}
				if when != "fresh" {
					eventually(t, "parked", tr.isParked)
				}
				if who == "ours" {
					if err := tr.Close("shutdown"); err != nil {
						t.Fatal(err)
					}
					awaitDone(t, tr, "shutdown")
					v.await(t, webrtc.PeerConnectionStateClosed)
					return
				}
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
				awaitDone(t, tr, ReasonPeerClosed)
			})
		}
	}
}

// TestForgedGoodbye holds that a forged alert takes a parked connection out, ends nothing, and leaves a connection
// that still hears the real one, also after it is put away again.
func TestForgedGoodbye(t *testing.T) {
	t.Parallel()
	cfg, _ := server(t)
	v, tr := joinSoon(t, cfg, connectWithin)
	v.await(t, webrtc.PeerConnectionStateConnected)
	for range 2 {
		eventually(t, "parked", tr.isParked)
		forged := append([]byte{21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26}, make([]byte, 26)...)
		tr.inbound(forged)
		tr.inbound([]byte{21})
		tr.inbound([]byte{22, 0xfe})
		eventually(t, "taken out", func() bool { return !tr.isParked() })
	}
	eventually(t, "parked", tr.isParked)
	select {
	case <-tr.Done():
		t.Fatalf("ended: %s", tr.Reason())
	default:
	}
	_ = v.Close()
	awaitDone(t, tr, ReasonPeerClosed)
}

func TestVanish(t *testing.T) {
	t.Parallel()
	cfg, socket := server(t)
	_, tr := joinSoon(t, cfg, func(c *Config, d time.Duration) { c.DisconnectedTimeout, c.FailedTimeout = d, d })
	socket.lose(func([]byte) bool { return true })
	awaitDone(t, tr, ReasonConnectionLost)
	if _, err := tr.Restart(t.Context(), "abcd", strings.Repeat("x", 22)); !errors.Is(err, ErrClosed) {
		t.Fatalf("restart: %v", err)
	}
}

// TestRestart restarts ICE: media goes to the old address until there is a new pair, under the same keys.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg, socket := server(t)
	v, tr, s := join(t, cfg)
	v.await(t, webrtc.PeerConnectionStateConnected)
	local, _ := contexts(t, s)
	var seq uint16
	send := func(b []byte) error {
		_, err := socket.WriteToUDPAddrPort(b, tr.RemoteAddr())
		return err
	}
	v.plays(t, local, &seq, send)
	before := tr.RemoteAddr()
	var moved atomic.Int32
	tr.OnRemoteAddr(func(netip.AddrPort) { moved.Add(1) })

	d := v.offer(t, &webrtc.OfferOptions{ICERestart: true})
	r := RemoteOf(d, d.MediaDescriptions[1])
	old := tr.Local()
	l, err := tr.Restart(t.Context(), r.Ufrag, r.Pwd)
	if err != nil {
		t.Fatal(err)
	}
	if l.Ufrag == old.Ufrag || l.Pwd == old.Pwd || l.Fingerprint != old.Fingerprint || len(l.Candidates) == 0 {
		t.Fatalf("local %+v after %+v", l, old)
	}
	if tr.RemoteAddr() != before {
		t.Fatal("remote address forgotten")
	}
	for _, c := range r.Candidates {
		if err := tr.AddCandidate(c); err != nil {
			t.Fatal(err)
		}
	}
	first := tr.pair.Load()
	v.accept(t, d, l, 2)
	eventually(t, "a new pair", func() bool { return tr.pair.Load() != first })
	v.plays(t, local, &seq, send)
	v.plays(t, local, &seq, tr.Write)
	if moved.Load() < 1 {
		t.Fatal("address not reported")
	}
	_ = v.Close()
	awaitDone(t, tr, ReasonPeerClosed)
}

// TestInboundAllocates holds that neither media nor garbage costs an allocation. It is alone, as it counts all.
func TestInboundAllocates(t *testing.T) { //nolint:paralleltest // see above
	var tr Transport
	called := 0
	tr.OnMedia(func([]byte) { called++ })
	rtp, dtls, other := append([]byte{0x80, 96}, make([]byte, 1200)...), []byte{22, 0xfe, 0xfd}, []byte{70, 0}
	n := testing.AllocsPerRun(100, func() {
		tr.inbound(rtp)
		tr.inbound(dtls)
		tr.inbound(other)
	})
	if n != 0 || called == 0 {
		t.Fatalf("%v allocations, called %d", n, called)
	}
}

// TestGarbage holds that what belongs to nobody ends nothing.
func TestGarbage(t *testing.T) {
	t.Parallel()
	cfg, socket := server(t)
	v, tr, _ := join(t, cfg)
	to := socket.LocalAddr().(*net.UDPAddr).AddrPort()
	stranger, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	last := []byte{255, 'l', 'a', 's', 't'}
	var read atomic.Bool
	look := func(b []byte) (lost bool) {
		if bytes.Equal(b, last) {
			read.Store(true)
		}
		return false
	}
	socket.loseIn.Store(&look)
	for first := range 256 {
		b := append([]byte{byte(first)}, make([]byte, 40)...)
		_, _ = stranger.Write(b)
		tr.inbound(b)
	}
	tr.inbound(nil)
	eventually(t, "room for more", func() bool { return tr.record.pipe.in.Count() == 0 })
	eventually(t, "room in the socket, where a goodbye would be lost", func() bool {
		_, _ = stranger.Write(last)
		return read.Load()
	})
	v.await(t, webrtc.PeerConnectionStateConnected) // before, it says no goodbye
	_ = v.Close()
	awaitDone(t, tr, ReasonPeerClosed)
}
