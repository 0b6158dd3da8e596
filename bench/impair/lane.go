package impair

import (
	"math/rand/v2"
	"time"
)

// lane decides the fate of the datagrams of one direction, one after the other. It has no clock and no sockets: the same
// datagrams at the same times under the same seed meet the same fate.
type lane struct {
	link Link
	rng  *rand.Rand

	free   time.Duration // when the link has sent what it was given
	bad    bool          // Gilbert's bad state
	extra  time.Duration // jitter of now
	until  time.Duration // when the next is drawn
	last   time.Duration // arrival of the last datagram that was in order
	counts Counts
}

func newLane(link Link, seed, direction uint64) *lane {
	return &lane{link: link, rng: rand.New(rand.NewPCG(seed, direction))}
}

// plan returns when a datagram of size bytes that comes at now arrives, and in how many copies: none if it is lost.
func (l *lane) plan(now time.Duration, size int) (at time.Duration, copies int) {
	l.counts.In++
	l.counts.BytesIn += uint64(size)
	sent, ok := l.send(now, size)
	if !ok {
		l.counts.Overflowed++
		return 0, 0
	}
	if l.loses() {
		l.counts.Lost++
		return 0, 0
	}
	copies = 1
	if l.happens(l.link.Duplicate) {
		l.counts.Duplicated++
		copies = 2
	}
	at = l.travel(sent)
	l.counts.Out += uint64(copies)
	l.counts.BytesOut += uint64(copies * size)
	return at, copies
}

// send waits for the link, and reports false when the queue in front of it is full.
func (l *lane) send(now time.Duration, size int) (sent time.Duration, ok bool) {
	if l.link.Rate == 0 {
		l.free = now
		return now, true
	}
	queue := l.link.Queue
	if queue == 0 {
		queue = DefaultQueue
	}
	wait := max(l.free-now, 0)
	if int(wait.Seconds()*float64(l.link.Rate)/8)+size > queue {
		return 0, false
	}
	l.free = now + wait + time.Duration(float64(size)*8/float64(l.link.Rate)*float64(time.Second))
	return l.free, true
}

// loses draws whether the datagram is lost.
func (l *lane) loses() bool {
	if l.link.Burst <= 1 {
		l.bad = false
		return l.happens(l.link.Loss)
	}
	// Bad for 1/leave datagrams on average, and for a share of Loss in all.
	leave := 1 / l.link.Burst
	enter := leave * l.link.Loss / (1 - l.link.Loss)
	if l.bad {
		l.bad = !l.happens(leave)
	} else {
		l.bad = l.happens(enter)
	}
	return l.bad
}

// travel returns when a datagram arrives that the link has sent.
func (l *lane) travel(sent time.Duration) time.Duration {
	if l.link.Jitter > 0 && sent >= l.until {
		l.extra = time.Duration(l.rng.Int64N(int64(l.link.Jitter) + 1))
		l.until = sent + jitterStep
	} else if l.link.Jitter == 0 {
		l.extra = 0
	}
	at := sent + l.link.Delay + l.extra
	if l.happens(l.link.Reorder) {
		l.counts.Reordered++
		held := l.link.Held
		if held == 0 {
			held = DefaultHeld
		}
		return max(at, l.last) + held
	}
	l.last = max(at, l.last)
	return l.last
}

// happens draws with the chance share. It draws nothing for what is turned off.
func (l *lane) happens(share float64) bool { return share > 0 && l.rng.Float64() < share }

// change puts another link in place. What is on its way arrives as planned; later datagrams do not overtake it.
func (l *lane) change(link Link) {
	l.link, l.until = link, 0
	if link.Rate == 0 {
		l.free = 0
	}
}
