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
	on       bool
	found    int // looks or wakes since since that were not in vain
	messages int // that looks found
	since    time.Time
}

// looked takes a look at now into account that found so many messages, or a wake, which counts for one, where a look is
// worth every pause. It reports whether on has changed.
func (g *gathering) looked(messages int, now time.Time, pause time.Duration) bool {
	if messages > 0 {
		g.found++
		g.messages += messages
	}
	span := now.Sub(g.since)
	if span < gatherWindow && pause > 0 {
		return false
	}
	was := g.on
	g.on = pause > 0 && g.worth(float64(span)/float64(pause))
	g.found, g.messages, g.since = 0, 0, now
	return g.on != was
}

// worth reports whether so many looks are better than wakes. Half as many wakes again are too many: what comes then waits.
// Looks of which less than half find something are too many, and so are more of them than there are messages: a large
// frame began them, and is over. A window that a long wait ended says that there is little to do.
func (g *gathering) worth(looks float64) bool {
	if g.on {
		return float64(g.found) > looks/2 && float64(g.messages) > looks
	}
	return float64(g.found) > looks*3/2
}
