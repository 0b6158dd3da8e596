package seal

import "math"

// maxStreams bounds the SSRCs, of RTP and of RTCP, that a Receiver keeps state for. One that came later is refused
// rather than put in another's place: forgetting a stream would let its packets be replayed.
const maxStreams = 64

// streams are the windows of the SSRCs that authentic packets came from.
type streams struct {
	all  []stream
	last int // where the last packet's is
}

type stream struct {
	ssrc   uint32
	window window
}

func (s *streams) find(ssrc uint32) int {
	if s.last < len(s.all) && s.all[s.last].ssrc == ssrc {
		return s.last
	}
	for i := range s.all {
		if s.all[i].ssrc == ssrc {
			return i
		}
	}
	return -1
}

// window returns the window of an SSRC, nil if nothing came from it yet. It is not ok if there are too many SSRCs.
func (s *streams) window(ssrc uint32) (*window, bool) {
	if i := s.find(ssrc); i >= 0 {
		return &s.all[i].window, true
	}
	return nil, len(s.all) < maxStreams
}

// mark records an authentic packet.
func (s *streams) mark(ssrc uint32, index uint64) {
	i := s.find(ssrc)
	if i < 0 {
		i = len(s.all)
		s.all = append(s.all, stream{ssrc: ssrc})
	}
	s.last = i
	s.all[i].window.mark(index)
}

const (
	windowWords = 16
	// windowSize is how far behind the newest packet one may come: what a camera sends again on request comes under its
	// old index, up to seconds later. One word less than there are, because a word is cleared as a whole.
	windowSize = (windowWords - 1) * 64
)

// window is the replay list of one SSRC: RFC 3711, section 3.3.2, as the ring of words of RFC 6479. A
// nil window is that of an SSRC that nothing came from.
type window struct {
	newest uint64
	seen   [windowWords]uint64
}

// index estimates the index of a packet from its sequence number: RFC 3711, section 3.3.1 and appendix A, except that
// there is nothing before roll-over counter zero, so that what seems to be from there comes from far ahead. It is not
// ok if the counter, and with it the key, is used up.
func (w *window) index(seq uint16) (uint64, bool) {
	if w == nil {
		return uint64(seq), true
	}
	newest, roc := int(uint16(w.newest)), w.newest>>16
	switch {
	case roc > 0 && newest < 1<<15 && int(seq)-newest > 1<<15:
		roc--
	case newest >= 1<<15 && newest-1<<15 > int(seq):
		if roc == math.MaxUint32 {
			return 0, false
		}
		roc++
	}
	return roc<<16 | uint64(seq), true
}

// fresh reports whether the packet is neither too old nor marked.
func (w *window) fresh(index uint64) bool {
	if w == nil || index > w.newest {
		return true
	}
	return w.newest-index < windowSize && w.seen[index/64%windowWords]>>(index%64)&1 == 0
}

// mark takes note of a fresh packet.
func (w *window) mark(index uint64) {
	if index > w.newest {
		from, to := w.newest/64, index/64
		for i := range min(to-from, windowWords) {
			w.seen[(to-i)%windowWords] = 0
		}
		w.newest = index
	}
	w.seen[index/64%windowWords] |= 1 << (index % 64)
}
