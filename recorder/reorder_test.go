package recorder

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestReorderBuffer(t *testing.T) {
	t.Parallel()
	const wait = 200 * time.Millisecond
	// Each packet comes 10 ms after the one before; a negative number is one that was dropped at the queue before.
	for name, test := range map[string]struct {
		in, out []int
		lost    int
	}{
		"in order":         {[]int{1, 2, 3}, []int{1, 2, 3}, 0},
		"wrap":             {[]int{65534, 65535, 0, 1}, []int{65534, 65535, 0, 1}, 0},
		"swapped":          {[]int{1, 3, 2, 4}, []int{1, 2, 3, 4}, 0},
		"twice":            {[]int{1, 2, 2, 1, 3}, []int{1, 2, 3}, 0},
		"twice waiting":    {[]int{1, 3, 3, 2}, []int{1, 2, 3}, 0},
		"waits":            {[]int{1, 3, 4}, []int{1}, 0},
		"gives up":         {append([]int{1, 3}, numbers(4, 30)...), append([]int{1, 3}, numbers(4, 30)...), 1},
		"dropped at queue": {[]int{1, -5, 6}, []int{1, 5, 6}, 3},
		"far ahead":        {[]int{1, 2, 5000, 5001}, []int{1, 2, 5000, 5001}, 4997},
		"far behind":       {[]int{5000, 5001, 100, 101, 102}, []int{5000, 5001, 101, 102}, 1},
		"one stray behind": {[]int{5000, 5001, 100, 5002, 200, 5003}, []int{5000, 5001, 5002, 5003}, 0},
		"a bit behind": {
			append([]int{500}, numbers(100, 200)...), append([]int{500}, numbers(163, 200)...), 1,
		},
	} {
		b := reorderBuffer{wait: wait}
		now := time.Time{}.Add(time.Hour)
		var out []int
		lost := 0
		for _, n := range test.in {
			now = now.Add(10 * time.Millisecond)
			p := &packet{sequence: uint16(max(n, -n)), after: n < 0, arrived: now}
			if b.full(p) {
				t.Fatalf("%s: full", name)
			}
			b.push(p)
			for p, l := b.pop(now); p != nil; p, l = b.pop(now) {
				out = append(out, int(p.sequence))
				lost += l
			}
		}
		if !slices.Equal(out, test.out) || lost != test.lost {
			t.Errorf("%s: %v, %d lost; want %v, %d", name, out, lost, test.out, test.lost)
		}
	}
}

func numbers(from, to int) []int {
	var out []int
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

// Whatever comes, nothing comes out twice or backwards, and the buffer stays within its bounds.
func TestReorderAnything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := reorderBuffer{wait: time.Duration(rapid.IntRange(1, 300).Draw(t, "wait")) * time.Millisecond}
		now := time.Time{}
		in, out, base := 0, 0, rapid.Uint16().Draw(t, "base")
		var last *packet
		for range rapid.IntRange(1, 400).Draw(t, "packets") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "ms")) * time.Millisecond)
			base += uint16(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 3, 700, 40000}).Draw(t, "step"))
			p := &packet{sequence: base - uint16(rapid.IntRange(0, 4).Draw(t, "late")), arrived: now}
			take := func(p *packet, lost int) {
				out++
				if last != nil && lost == 0 && p.sequence != last.sequence+1 {
					t.Fatalf("%d after %d, none lost", p.sequence, last.sequence)
				}
				last = p
			}
			for b.full(p) {
				take(b.flush())
			}
			if b.push(p) {
				in++
			}
			for p, lost := b.pop(now); p != nil; p, lost = b.pop(now) {
				take(p, lost)
			}
			if b.held != in-out || b.held > reorderHeld {
				t.Fatalf("%d held, %d in, %d out", b.held, in, out)
			}
		}
	})
}
