package sfu

import (
	"testing"

	"pgregory.net/rapid"
)

// TestRollover holds that every packet index is given out once at most, that it fits its sequence number, and that an
// orderly stream is never refused, over any number of roll-overs.
func TestRollover(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r rollover
		used := map[uint64]bool{}
		seq := rapid.Uint16().Draw(t, "first")
		for range rapid.IntRange(1, 300).Draw(t, "packets") {
			index, fresh := r.use(seq)
			if fresh && (used[index] || uint16(index) != seq || index>>48 != 0) {
				t.Fatalf("index %d for %d, used before: %t", index, seq, used[index])
			}
			used[index] = used[index] || fresh
			seq += uint16(rapid.OneOf(rapid.IntRange(-5, 5), rapid.IntRange(-40000, 40000)).Draw(t, "step"))
		}
	})
	var r rollover
	last := uint64(0)
	for i := range 200_000 {
		index, fresh := r.use(uint16(65000 + i))
		if !fresh || i > 0 && index != last+1 {
			t.Fatalf("packet %d got index %d after %d (%t)", i, index, last, fresh)
		}
		last = index
	}
}
