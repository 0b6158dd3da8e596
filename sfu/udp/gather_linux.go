package udp

import "time"

const (
	// gatherTime is how long a busy reader lets datagrams gather: it does not wake more often than that. A wake costs as
	// much as ten datagrams. Go's scheduler rounds what it waits down to milliseconds, and would wake twice for less.
	gatherTime = 2*time.Millisecond + 10*time.Microsecond
	// gatherWindow is over how long a reader's wakes are counted.
	gatherWindow = 100 * time.Millisecond
	// gatherAbove is the number of wakes in a window beyond which looking once in a while is cheaper; and gatherBelow
	// that of looks which found something, below which it is not.
	gatherAbove = int(gatherWindow / gatherTime)
	gatherBelow = gatherAbove / 2
)

// gathering decides whether a reader waits for the next datagram, or looks once in a while what has come.
type gathering struct {
	on    bool
	found int // looks or wakes since since that were not in vain
	since time.Time
}

// looked takes a look, or a wake, at now into account. It reports whether on has changed.
func (g *gathering) looked(found bool, now time.Time) bool {
	if found {
		g.found++
	}
	span := now.Sub(g.since)
	if span < gatherWindow {
		return false
	}
	was := g.on
	// A window that a long wait ended says that there is little to do.
	rate := int(int64(g.found) * int64(gatherWindow) / int64(span))
	g.on = rate > gatherAbove || was && rate >= gatherBelow
	g.found, g.since = 0, now
	return g.on != was
}
