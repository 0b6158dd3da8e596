package sfu

import "sync/atomic"

// fate says what became of an authentic RTP packet of a peer.
type fate uint8

const (
	taken     fate = iota
	unbound        // of no stream that was agreed on, or of one too many
	malformed      // its header or its padding says what is not so
	duplicate      // it was there
	late           // its place is gone, or nobody asked for it again
	oversized      // more than can be passed on
	fates
)

// fateCounters count packets by what became of them, those taken aside.
type fateCounters [fates]atomic.Uint64

// note counts what was not taken.
func (c *fateCounters) note(f fate) {
	if f != taken {
		c[f].Add(1)
	}
}
