package bandwidth

import (
	"testing"
	"time"
)

// TestHeavyKeyframes has a camera of a scene in which little moves, whose keyframes weigh as much as all the pictures of a
// second, send one every three seconds to a viewer with a way to spare: it keeps the best layer.
func TestHeavyKeyframes(t *testing.T) {
	t.Parallel()
	for _, weight := range []float64{15, 30} {
		j := join(t, clean, 1, weight, 1300*time.Millisecond, 150_000, 500_000, 2_000_000)
		for range 20 {
			j.run(3 * time.Second)
			for i := range j.asked {
				j.asked[i] = j.now
			}
		}
		if j.current != 2 || len(j.switches) > 3 {
			t.Errorf("keyframes of %v pictures: %v", weight, j)
		}
	}
}

// TestTooMuch has a viewer over a way that is a little too narrow for the middle layer: what is remembered of it is what
// its pictures take, without the keyframe that it began with, so that it is not tried again and again on the same proof.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	for _, weight := range []float64{1, 10, 30} {
		switches, most := 0, 0.0
		const viewers, middle = 12, 300_000
		for n := range uint64(viewers) {
			delay := []int64{10, 20, 50, 100}[n%4] * millisecond
			j := join(t, way{rate: 408_000, queue: 32 << 10, delay: delay}, n, weight, 1300*time.Millisecond, 100_000, middle, 4_300_000)
			for range 75 * 10 {
				j.run(100 * time.Millisecond)
				most = max(most, j.c.budget.tooMuch)
			}
			switches += len(j.switches)
		}
		if most == 0 || most > 1.2*(middle+40_000) || switches > 8*viewers {
			t.Errorf("keyframes of %v pictures: %.0f bit/s were too much, %d switches of %d viewers", weight, most, switches, viewers)
		}
	}
}
