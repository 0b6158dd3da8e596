package bandwidth

import (
	"math"
	"time"
)

const (
	// backOff is what is left of the throughput after overuse: draft-ietf-rmcat-gcc-02, section 5.5.
	backOff = 0.85
	// growth is the factor a second while the capacity is not known.
	growth = 1.08
	// roof and roofSlack bound the estimate by what arrives: what was not tried is not known.
	roof, roofSlack = 1.5, 10_000
	// responseSlack is added to the round-trip time for one additive step.
	responseSlack = 100 * time.Millisecond
	// stepSize is the size of a packet, in bits: what an additive step adds.
	stepSize = 1200 * 8

	// highLoss and lowLoss are the shares of lost packets above which the estimate falls, and below which loss does not
	// hold it back: draft-ietf-rmcat-gcc-02, section 6.
	highLoss, lowLoss = 0.10, 0.02
	// lossWindow and lossPackets are how much it takes to tell a share: packets that were only overtaken are taken back.
	lossWindow  = int64(500 * time.Millisecond)
	lossPackets = 20
	heavyWindow = int64(100 * time.Millisecond)
	// inARow is how long after a window the next one ends at most: of a little sound it takes long.
	inARow = 2 * int64(time.Second)
	// settling is how long it takes for less to be sent after a reduction: what was sent until then says nothing new.
	settling = int64(200 * time.Millisecond)
	// heavyLoss is the share that says that what is left is all that gets through.
	heavyLoss = 0.3
)

// estimate is what the way is believed to carry: the lesser of what delay and loss say.
type estimate struct {
	rate        float64
	floor, ceil float64

	doubted  bool // something has spoken against it
	holding  bool // after overuse, until the delay is normal once
	at       int64
	capacity capacity
	rtt      int64

	brief, long tally
	heavy, high twice
	loss        float64 // share, of the last window that told one
	reducedAt   int64
}

// capacity remembers the throughput at which overuse began: libwebrtc's LinkCapacityEstimator, in kbit/s.
type capacity struct {
	known           bool
	mean, deviation float64
}

func (c *capacity) overused(rate float64) {
	k := rate / 1000
	if !c.known {
		c.known, c.mean, c.deviation = true, k, 0.4
		return
	}
	const alpha = 0.05
	c.mean = (1-alpha)*c.mean + alpha*k
	norm := max(c.mean, 1)
	d := c.mean - k
	c.deviation = min(max((1-alpha)*c.deviation+alpha*d*d/norm, 0.4), 2.5)
}

func (c *capacity) bounds() (low, high float64) {
	spread := 3 * math.Sqrt(c.deviation*c.mean)
	return (c.mean - spread) * 1000, (c.mean + spread) * 1000
}

// update follows the delay, of which the newest packet was sent at sentAt. arriving is the measured throughput, 0 if
// unknown. While probing says that a probe makes a queue on purpose, overuse does not count.
func (e *estimate) update(now, sentAt int64, use usage, arriving int, probing bool) {
	elapsed := float64(min(max(now-e.at, 0), int64(time.Second))) / float64(time.Second)
	e.at = now
	in := float64(arriving)
	switch {
	case use == overUse && !probing:
		if !e.settles(sentAt) {
			e.reducedAt = now
			e.reduce(in)
		}
	case use == underUse:
		e.holding = false // the queue empties: wait for it
	case e.holding:
		e.holding = use != normalUse
	case use == normalUse && e.loss < lowLoss:
		e.increase(elapsed, in)
	}
	e.clamp()
}

func (e *estimate) reduce(arriving float64) {
	e.doubted = true
	if arriving > 0 {
		if low, _ := e.capacity.bounds(); e.capacity.known && arriving < low {
			e.capacity = capacity{}
		}
		e.rate = min(e.rate, backOff*arriving)
		e.capacity.overused(arriving)
	} else {
		e.rate *= backOff
	}
	e.holding = true
}

func (e *estimate) increase(elapsed, arriving float64) {
	limit := roof*arriving + roofSlack
	if arriving == 0 || e.rate >= limit {
		return
	}
	if _, high := e.capacity.bounds(); e.capacity.known && arriving > high {
		e.capacity = capacity{}
	}
	next := e.rate * math.Pow(growth, elapsed)
	if e.capacity.known {
		response := float64(e.rtt+int64(responseSlack)) / float64(time.Second)
		next = e.rate + stepSize*elapsed/response
	}
	e.rate = min(max(next, arriving), limit)
}

// settles reports whether what is measured now may be of before the last reduction, or of its way down.
func (e *estimate) settles(sentAt int64) bool {
	return e.reducedAt != 0 && sentAt < e.reducedAt+settling
}

// tally counts what became of packets over some time.
type tally struct {
	seen, lost int
	since      int64
}

// add returns the share of packets that were lost in the window that ends with these, or false if it goes on.
func (t *tally) add(now int64, seen, lost int, window int64) (share float64, ok bool) {
	if t.since == 0 {
		t.since = now
	}
	t.seen += seen
	t.lost = max(t.lost+lost, 0)
	if now-t.since < window || t.seen < lossPackets {
		return 0, false
	}
	share = min(float64(t.lost)/float64(t.seen), 1)
	*t = tally{since: now}
	return share, true
}

// twice is what two windows in a row say: one may be a burst of losses, as radio has them.
type twice struct {
	before float64
	at     int64 // when that window ended
}

// again returns the lesser of the share of a window that ends now and of the one before, 0 if that was long ago.
func (t *twice) again(share float64, now int64) (least float64) {
	if now-t.at <= inARow {
		least = min(share, t.before)
	}
	t.before, t.at = share, now
	return least
}

// counted takes what one feedback said of how many packets.
func (e *estimate) counted(now int64, seen, lost int, sending float64, probing bool) {
	if share, ok := e.brief.add(now, seen, lost, heavyWindow); ok {
		if e.heavy.again(share, now) >= heavyLoss {
			e.loss = share
			e.lossy(now, share, sending, probing)
		}
	}
	if share, ok := e.long.add(now, seen, lost, lossWindow); ok {
		e.loss = share
		e.lossy(now, e.high.again(share, now), sending, probing)
	}
}

// lossy takes the share of packets that was lost of what is sent at a rate, 0 if that is not known.
func (e *estimate) lossy(now int64, share, sending float64, probing bool) {
	if share <= highLoss || probing && share < heavyLoss {
		return
	}
	e.reducedAt, e.doubted = now, true
	if share >= heavyLoss && sending > 0 {
		e.rate = min(e.rate, backOff*(1-share)*sending) // what comes through, less what overuse takes
	} else {
		e.rate *= 1 - 0.5*share
	}
	e.clamp()
}

// proved says that the way just carried so much.
func (e *estimate) proved(rate float64) {
	if rate > e.rate {
		e.rate = rate
		if _, high := e.capacity.bounds(); e.capacity.known && rate > high {
			e.capacity = capacity{}
		}
	}
	e.holding = false
	e.clamp()
}

func (e *estimate) clamp() { e.rate = min(max(e.rate, e.floor), e.ceil) }
