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
