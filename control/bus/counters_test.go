package bus_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/control/bus"
)

// countTogether is a rule of TestConformance: additions of two nodes are exact,
// whoever makes them at the same time.
func countTogether(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	const each = 50
	nodes := []*bus.Counters{a.Counters("test", time.Hour), b.Counters("test", time.Hour)}
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		seen = map[int64]bool{}
	)
	for _, c := range nodes {
		for range each {
			wait.Go(func() {
				sum, err := c.Add(t.Context(), "a key with blanks. > *", 7, 1)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				seen[sum] = true
			})
		}
	}
	wait.Wait()
	if len(seen) != 2*each || !seen[1] || !seen[2*each] {
		t.Errorf("got %d sums, want 1 to %d once each", len(seen), 2*each)
	}
	for key, want := range map[string]int64{"a key with blanks. > *": 2*each - 3, "another": -3} {
		if sum, err := nodes[1].Add(t.Context(), key, 7, -3); err != nil || sum != want {
			t.Errorf("%s: got %d, %v, want %d", key, sum, err, want)
		}
	}
	if sum, err := nodes[0].Add(t.Context(), "another", 8, 1); err != nil || sum != 1 {
		t.Errorf("another period: got %d, %v", sum, err)
	}
}

func TestCountersAreMadeAgain(t *testing.T) {
	t.Parallel()
	server := runServerOn(t, freePort(t)) // which another comes up on
	b := openBus(t, bus.Config{URL: server.ClientURL()})
	c := b.Counters("test", time.Hour)
	if sum, err := c.Add(t.Context(), "x", 1, 2); err != nil || sum != 2 {
		t.Fatalf("got %d, %v", sum, err)
	}
	// Another server in its place knows nothing of what was counted.
	port := server.Addr().(*net.TCPAddr).Port
	server.Shutdown()
	server.WaitForShutdown()
	brief, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Add(brief, "x", 1, 1); err == nil {
		t.Error("counted without a server that counts")
	}
	runServerOn(t, port)
	eventually(t, "the bus is connected again", func() bool { return b.Stats().Connected })
	if sum, err := c.Add(t.Context(), "x", 1, 1); err != nil || sum != 1 {
		t.Errorf("got %d, %v of a server that was started again", sum, err)
	}
}
