package udp

import "time"

const (
	// gatherSlack is added to waits: Go's scheduler rounds them down to milliseconds, and would wake twice for less.
	gatherSlack = 10 * time.Microsecond
	// gatherWindow is over how long a reader's wakes are counted.
	gatherWindow = 100 * time.Millisecond
)

// gathering decides whether a reader waits for the next datagram, or looks once in a while what has come: a wake costs
// as much as ten datagrams.
type gathering struct {
	on    bool
	found int // looks or wakes since since that were not in vain
	since time.Time
}

// looked takes a look, or a wake, at now into account, where a look is worth every pause. It reports whether on has
// changed.
func (g *gathering) looked(found bool, now time.Time, pause time.Duration) bool {
	if found {
		g.found++
	}
	span := now.Sub(g.since)
	if span < gatherWindow && pause > 0 {
		return false
	}
	was := g.on
	// More wakes than there would be looks are too many; looks of which less than half find something are too many, too.
	// A window that a long wait ended says that there is little to do.
	needed := 0.5
	if !was {
		needed = 1
	}
	g.on = pause > 0 && float64(g.found)*float64(pause) > needed*float64(span)
	g.found, g.since = 0, now
	return g.on != was
}
