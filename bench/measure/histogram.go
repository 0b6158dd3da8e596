// Package measure observes: durations in histograms, a server's process from
// outside, this machine, and what sealing and sending costs on it at least.
package measure

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	subBits    = 5 // 32 steps an octave: 3% of error at most
	subBuckets = 1 << subBits
	buckets    = (64 - subBits + 1) * subBuckets
)

// Histogram counts durations in steps of 3%. It is safe for concurrent use;
// the zero value is empty.
type Histogram struct {
	counts [buckets]atomic.Uint64
	total  atomic.Uint64
	max    atomic.Int64
}

// Add counts one duration; a negative one counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))].Add(1)
	h.total.Add(1)
	for {
		m := h.max.Load()
		if int64(d) <= m || h.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	octave := bits.Len64(v) - subBits
	return octave*subBuckets + int(v>>(octave-1)) - subBuckets
}

// upper is the greatest value of a bucket.
func upper(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	octave, sub := i/subBuckets, i%subBuckets
	return (uint64(subBuckets+sub)+1)<<(octave-1) - 1
}

// Count returns how many were added.
func (h *Histogram) Count() uint64 { return h.total.Load() }

// Max returns the greatest.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) }

// Quantile returns a duration that the part q of all does not exceed, 0 if
// there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.Count()
	if total == 0 {
		return 0
	}
	rank := max(uint64(q*float64(total)+0.5), 1)
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= rank {
			return min(time.Duration(upper(i)), h.Max())
		}
	}
	return h.Max()
}

// Point is one step of a distribution.
type Point struct {
	Millis float64 `json:"ms"`
	Part   float64 `json:"part"` // of all that took no longer
}

// Curve returns the distribution, without steps that add nothing.
func (h *Histogram) Curve() []Point {
	total := h.Count()
	var points []Point
	var seen uint64
	for i := range h.counts {
		n := h.counts[i].Load()
		if n == 0 {
			continue
		}
		seen += n
		points = append(points, Point{Millis: float64(upper(i)) / 1e6, Part: float64(seen) / float64(total)})
	}
	return points
}

// Reset empties the histogram; what is added meanwhile may be lost.
func (h *Histogram) Reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.total.Store(0)
	h.max.Store(0)
}
