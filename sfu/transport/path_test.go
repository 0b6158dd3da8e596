package transport

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

func TestConnectEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*Config)
		act    func(*Transport, context.CancelFunc)
		reason string
	}{
		{"timeout", func(c *Config) { c.ConnectTimeout = 50 * time.Millisecond }, nil, ReasonConnectTimeout},
		{"no path", func(c *Config) {
			c.DisconnectedTimeout, c.FailedTimeout = 100*time.Millisecond, 100*time.Millisecond
		}, nil, ReasonConnectFailed},
		{"closed", brief, func(tr *Transport, _ context.CancelFunc) { _ = tr.Close("gone") }, "gone"},
		{"cancelled", brief, func(_ *Transport, cancel context.CancelFunc) { cancel() }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, _ := server(t, tt.change)
			v := newViewer(t)
			d := v.offer(t, nil)
			r := RemoteOf(d, d.MediaDescriptions[1])
			r.Candidates = nil
			tr, err := New(cfg, r)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.act != nil {
				go tt.act(tr, cancel)
			}
			if _, err = tr.Connect(ctx); err == nil {
				t.Fatal("connected")
			}
			if tr.Reason() != tt.reason {
				t.Fatalf("reason %q, want %q (%v)", tr.Reason(), tt.reason, err)
			}
			_ = tr.Close("")
		})
	}
}

// TestNoCandidates holds that a peer without a usable candidate is found by its own checks.
func TestNoCandidates(t *testing.T) {
	t.Parallel()
	cfg, _ := server(t)
	v := newViewer(t)
	d := v.offer(t, nil)
	r := RemoteOf(d, d.MediaDescriptions[1])
	r.Candidates = []string{
		"candidate:1 1 udp 2113937151 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 54321 typ host",
		"candidate:1 1 udp nonsense",
	}
	tr, err := New(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close("") }()
	v.accept(t, d, tr.Local(), 1)
	if _, err := tr.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(tr.ice.waiting) != 0 || tr.ice.candidates != 0 {
		t.Fatalf("candidates taken: %d", tr.ice.candidates)
	}
}

// TestFollow moves a peer to another address, as a NAT or a change of network does: its check from there, with a
// nomination of the same or less priority or with none, counts once the old pair is silent, and not before; one with a
// wrong password never.
func TestFollow(t *testing.T) {
	const silence = 5 * time.Second // longer than a busy machine stands still: the old pair must not seem silent before it is
	t.Parallel()
	for _, tt := range []struct {
		name       string
		lite       bool
		nomination []stun.Setter
	}{
		{"nomination", false, []stun.Setter{ice.UseCandidate()}},
		{"check", false, nil},
		{"lite", true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg, socket := server(t, func(c *Config) {
				c.DisconnectedTimeout, c.FailedTimeout, c.Lite = silence, patience, tt.lite
			})
			_, tr, _ := join(t, cfg)
			old := tr.RemoteAddr()
			moved, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = moved.Close() }()
			to := socket.LocalAddr().(*net.UDPAddr).AddrPort()
			go answerChecks(t, moved, tr.ice.remote.pwd)
			here := moved.LocalAddr().(*net.UDPAddr).AddrPort()
			for range 10 {
				_, _ = moved.WriteToUDPAddrPort(check(t, tr, tr.Local().Pwd, tt.nomination...), to)
				_, _ = moved.WriteToUDPAddrPort(check(t, tr, "wrong", tt.nomination...), to)
			}
			if a := tr.RemoteAddr(); a != old {
				t.Fatalf("moved to %v from a pair that works", a)
			}
			socket.blocked.Store(&old)
			eventually(t, "the new address", func() bool {
				_, _ = moved.WriteToUDPAddrPort(check(t, tr, tr.Local().Pwd, tt.nomination...), to)
				return tr.RemoteAddr() == here
			})
		})
	}
}

func check(t *testing.T, tr *Transport, pwd string, more ...stun.Setter) []byte {
	t.Helper()
	m, err := stun.Build(append(append([]stun.Setter{
		stun.BindingRequest, stun.TransactionID, stun.NewUsername(tr.Local().Ufrag + ":" + tr.ice.remote.ufrag),
		ice.AttrControlling(1), ice.PriorityAttr(1),
	}, more...), stun.NewShortTermIntegrity(pwd), stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// answerChecks answers the binding requests that come to conn until it is closed.
func answerChecks(t *testing.T, conn *net.UDPConn, pwd string) {
	t.Helper()
	var b [1500]byte
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b[:])
		if err != nil {
			return
		}
		m := &stun.Message{Raw: b[:n]}
		if m.Decode() != nil || m.Type != stun.BindingRequest {
			continue
		}
		out, err := stun.Build(
			stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())},
			stun.NewShortTermIntegrity(pwd), stun.Fingerprint,
		)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = conn.WriteToUDPAddrPort(out.Raw, from)
	}
}
