package impair

import (
	"fmt"
	"time"
)

const (
	// MaxDelay bounds Delay, Jitter and Held: what is on its way lies in memory.
	MaxDelay = 10 * time.Second
	// DefaultQueue is the queue in front of a rate limit, in bytes: a quarter of a second at 1 Mbit/s.
	DefaultQueue = 32 << 10
	// DefaultHeld is how late a reordered datagram is.
	DefaultHeld = 15 * time.Millisecond
)

// Link says what happens to datagrams in one direction. The zero value passes everything on at once. What several
// fields do to one datagram happens in their order: it waits for the link, is lost or not, then travels.
type Link struct {
	// Rate is what the link carries, in bits a second of UDP payload; 0 for no limit. Datagrams that come faster wait in
	// a queue of Queue bytes (0 means DefaultQueue); what does not fit is dropped and counted as overflow.
	Rate  int
	Queue int
	// Loss is the share of datagrams that are lost, 0 to 1. With Burst above 1, losses come in bursts of that mean
	// length: Gilbert's model with two states, everything lost in the bad one.
	Loss  float64
	Burst float64
	// Duplicate is the share of datagrams that arrive twice.
	Duplicate float64
	// Delay is how long a datagram travels. Jitter is the most that comes on top of it: a new amount is drawn every
	// jitterStep, and datagrams do not overtake each other, so they come in bunches, as on a radio.
	Delay  time.Duration
	Jitter time.Duration
	// Reorder is the share of datagrams that are held back for Held (0 means DefaultHeld) while others overtake them.
	Reorder float64
	Held    time.Duration
}

// jitterStep is for how long one draw of the jitter holds.
const jitterStep = 20 * time.Millisecond

// Check says what is wrong with a link.
func (l Link) Check() error {
	for name, share := range map[string]float64{"loss": l.Loss, "duplicate": l.Duplicate, "reorder": l.Reorder} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("impair: %s is a share between 0 and 1, not %v", name, share)
		}
	}
	for name, d := range map[string]time.Duration{"delay": l.Delay, "jitter": l.Jitter, "held": l.Held} {
		if d < 0 || d > MaxDelay {
			return fmt.Errorf("impair: %s is between 0 and %v, not %v", name, MaxDelay, d)
		}
	}
	switch {
	case l.Rate < 0:
		return fmt.Errorf("impair: rate is 0 or a number of bits a second, not %d", l.Rate)
	case l.Queue < 0:
		return fmt.Errorf("impair: queue is 0 or a number of bytes, not %d", l.Queue)
	case l.Burst != 0 && !(l.Burst >= 1 && l.Burst <= 1000):
		return fmt.Errorf("impair: burst is 0 or a mean length between 1 and 1000, not %v", l.Burst)
	case l.Burst > 1 && l.Loss >= l.Burst/(l.Burst+1):
		return fmt.Errorf("impair: a loss of %v does not come in bursts of %v", l.Loss, l.Burst)
	}
	return nil
}

// Counts is what happened in one direction.
type Counts struct {
	In         uint64 `json:"in"`  // datagrams that came
	Out        uint64 `json:"out"` // that went on, copies included
	BytesIn    uint64 `json:"bytesIn"`
	BytesOut   uint64 `json:"bytesOut"`
	Lost       uint64 `json:"lost"`
	Overflowed uint64 `json:"overflowed"` // found the queue full
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	// Failed counts datagrams that the system did not take, or that had nowhere to go: an address that is gone.
	Failed uint64 `json:"failed"`
}
