package turn

import (
	"net"
	"testing"
	"time"

	"github.com/pion/turn/v5"
)

// guest is a client with credentials of its own and one allocation.
type guest struct {
	client             *turn.Client
	relay              net.PacketConn
	username, password string
}

func enter(t *testing.T, s *Server, network string, p Principal) guest {
	t.Helper()
	var g guest
	g.username, g.password = NewCredentials([]byte("secret"), p, time.Hour, time.Now())
	g.client = dial(t, s, network, g.username, g.password)
	var err error
	if g.relay, err = g.client.Allocate(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.relay.Close() }) //nolint:errcheck // it may be revoked
	return g
}

// TestRevoke has four guests; a revocation takes those it covers, their
// credentials with them, and nobody else.
func TestRevoke(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		revoked Principal
		left    int
		denied  map[int]bool
	}{
		{"user", Principal{User: "ada"}, 1, map[int]bool{0: true, 1: true, 2: true}},
		{"device", Principal{User: "ada", Device: "phone"}, 2, map[int]bool{0: true, 1: true}},
		{"link", Principal{Device: "phone", Camera: "door"}, 3, map[int]bool{0: true}},
		{"nobody", Principal{User: "eve"}, 4, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			media := peer(t)
			s := start(t, Config{}, media)
			guests := []guest{
				enter(t, s, "udp", Principal{"ada", "phone", "door"}), enter(t, s, "tcp", Principal{"ada", "phone", "garden"}),
				enter(t, s, "udp", Principal{"ada", "tablet", "door"}), enter(t, s, "udp", Principal{"bob", "laptop", "door"}),
			}
			s.Revoke(tt.revoked, time.Now(), time.Hour)
			if n := s.Stats().Allocations; n != tt.left {
				t.Errorf("%d allocations are left, want %d", n, tt.left)
			}
			eventually(t, "the library forgets them", func() bool { return s.server.AllocationCount() == tt.left })
			for i, g := range guests {
				again, err := dial(t, s, "udp", g.username, g.password).Allocate()
				if (err != nil) != tt.denied[i] {
					t.Errorf("guest %d comes again: %v", i, err)
				}
				if err == nil {
					again.Close() //nolint:errcheck // the server goes as well
				}
				if !tt.denied[i] {
					exchange(t, g.relay, media, g.relay, media)
				}
			}
		})
	}
}

// TestNewCredentialsHoldAfterRevoke gives the device another key and has it
// come back.
func TestNewCredentialsHoldAfterRevoke(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	p := Principal{"ada", "phone", "door"}
	s.Revoke(Principal{User: "ada", Device: "phone"}, time.Now().Add(-time.Millisecond), time.Hour)
	enter(t, s, "udp", p)
}

func TestRevocationsAreForgotten(t *testing.T) {
	t.Parallel()
	var r revocations
	now := time.Unix(1764000000, 0)
	for i := range 10 * minSweep {
		at := now.Add(time.Duration(i) * time.Minute)
		r.add(Principal{Device: string(rune('a' + i))}, at, at.Add(time.Minute), at)
	}
	if n := len(r.until); n > minSweep+2 {
		t.Errorf("%d revocations are remembered, of which two count", n)
	}
}

// TestRevokedWhileAllocating holds that nobody slips in between the check of
// the credentials and the opening of the relay.
func TestRevokedWhileAllocating(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	issued := time.Now()
	s.Revoke(Principal{User: "ada"}, issued, time.Hour)
	h := holder{principal: Principal{User: "ada"}, issued: issued}
	if _, _, err := s.relays.AllocatePacketConn(turn.AllocateListenerConfig{Network: "udp4", UserID: h.id()}); err == nil {
		t.Error("a relay was opened for a revoked user")
	}
	if n := s.Stats().Allocations; n != 0 {
		t.Errorf("%d allocations are left", n)
	}
}
