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
	}{
		{5 * ms, 0, 0},
		{5 * ms, 0.15, 0},
		{5 * ms, 0.18, ms},
		{5 * ms, 0.225, 3 * ms},
		{5 * ms, 0.3, 5 * ms},
		{5 * ms, 1, 5 * ms},
		{0, 1, 0},
		{ms, 0.1, 0},
		{ms, 1, ms},
	} {
		p := pace{window: tt.window, share: tt.share}
		want := tt.want
		if want > 0 {
			want += paceSlack
		}
		if got := p.patience(); got != want {
			t.Errorf("window %v, share %v: %v, want %v", tt.window, tt.share, got, want)
		}
	}
}

// TestPatienceGrows holds that a busier shard never waits less, and none longer than its window.
func TestPatienceGrows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		window := time.Duration(rapid.IntRange(0, int(100*time.Millisecond)).Draw(t, "window"))
		shares := rapid.SliceOfN(rapid.Float64Range(0, 2), 2, 2).Draw(t, "shares")
		low := pace{window: window, share: min(shares[0], shares[1])}
		high := pace{window: window, share: max(shares[0], shares[1])}
		if l, h := low.patience(), high.patience(); l > h || h > window+paceSlack {
			t.Fatalf("%v at %v, %v at %v of %v", l, low.share, h, high.share, window)
		}
	})
}
