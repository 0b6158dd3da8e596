package load

import (
	"math"
	"sync/atomic"
)

// Source is one track of a camera as its viewers judge it. Packets are
// numbered from 0; those between two marks make the measurement.
type Source struct {
	id    uint32
	codec Codec

	sent     atomic.Uint64 // number of the next packet
	from, to atomic.Uint64 // marks
	epoch    atomic.Uint64 // of the marks: one more with each Begin
	received atomic.Uint64 // by all viewers together
	// bySequence says that viewers cannot tell which packets are missing but by
	// sequence numbers: the camera plays a file, or sends several layers.
	bySequence bool
}

func newSource(id uint32, c Codec) *Source {
	s := &Source{id: id, codec: c}
	s.from.Store(math.MaxUint64)
	s.to.Store(math.MaxUint64)
	return s
}

// Begin marks the next packet as the first one that counts.
func (s *Source) Begin() {
	s.from.Store(s.sent.Load())
	s.epoch.Add(1)
	// Last, and read first: until now nothing lies between the marks.
	s.to.Store(math.MaxUint64)
}

// End marks the next packet as the first one that does not count any more.
func (s *Source) End() { s.to.Store(s.sent.Load()) }

// BySequence reports whether only sequence numbers tell what is missing.
func (s *Source) BySequence() bool { return s.bySequence }

// Counted returns how many packets lie between the marks.
func (s *Source) Counted() uint64 {
	from, to := s.from.Load(), min(s.to.Load(), s.sent.Load())
	if from > to {
		return 0
	}
	return to - from
}

// FileSource is a track of a camera that plays a file: nothing in it is
// stamped.
func FileSource(c Codec) *Source {
	s := newSource(0, c)
	s.bySequence = true
	return s
}
