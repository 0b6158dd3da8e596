package sfu

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPatience(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, tt := range []struct {
		window time.Duration
		share  float64
		want   time.Duration // without the slack
		enough int
	}{
		{5 * ms, 0, 0, 1},
		{5 * ms, 0.04, 0, 1},
		{5 * ms, 0.05, 2 * ms, 2},
		{5 * ms, 0.15, 2 * ms, 2},
		{5 * ms, 0.225, 4 * ms, 33},
		{5 * ms, 0.3, 5 * ms, maxBurst},
		{5 * ms, 1, 5 * ms, maxBurst},
		{0, 1, 0, 1},
		{ms, 0.1, 0, 1},
		{ms, 1, ms, maxBurst},
	} {
		p := pace{window: tt.window, share: tt.share}
		want := tt.want
		if want > 0 {
			want += paceSlack
		}
		if got, enough := p.patience(); got != want || enough != tt.enough {
			t.Errorf("window %v, share %v: %v for %d, want %v for %d", tt.window, tt.share, got, enough, want, tt.enough)
		}
	}
}

// TestPatienceGrows holds that a busier shard never waits less, nor for less, and none longer than its window.
func TestPatienceGrows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.IntRange(0, int(100*time.Millisecond)).Draw(t, "window"))
		shares := rapid.SliceOfN(rapid.Float64Range(0, 2), 2, 2).Draw(t, "shares")
		low := pace{window: window, share: min(shares[0], shares[1])}
		high := pace{window: window, share: max(shares[0], shares[1])}
		l, few := low.patience()
		h, many := high.patience()
		if l > h || few > many || many > maxBurst || h > window+paceSlack {
			t.Fatalf("%v for %d at %v, %v for %d at %v of %v", l, few, low.share, h, many, high.share, window)
		}
	})
}
