package bandwidth

import (
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// StartRate is what a way is believed to carry before anything is known of it.
	StartRate = 600_000
	// leastRate is what even the worst way is believed to carry, leastCeiling what any may be believed to.
	leastRate, leastCeiling = 30_000, 1_000_000
	// ceiling is how far beyond what could be sent at most the estimate may go, as a factor.
	ceiling = 1.5
	// proofTime is for how long it counts what the way carried once.
	proofTime = 10 * int64(time.Second)
	// proofSlack is by how much more than that may be sent.
	proofSlack = 1.1
	// silence is how long no feedback may come while packets go out.
	silence = 1500 * int64(time.Millisecond)
	// reportEvery is the shortest time between two reports that count.
	reportEvery = 500 * int64(time.Millisecond)
	// collapseLag is, in ms, a delay that together with less than collapseShare coming through of what is sent says that
	// the way has become narrower: there is no time to look for a trend.
	collapseLag, collapseShare = 80, 0.6
	// brokenPromise is how long who promised to tell of its way may send reports alone until they have to do.
	brokenPromise = 5 * int64(time.Second)
	// congested is how long a sign of congestion counts, beside two round trips.
	congested = int64(time.Second)
	// ipUDP is what a datagram costs beside what is in it, with IPv4.
	ipUDP = 28
)

// source says what the estimate goes by.
type source uint8

const (
	reports   source = iota // receiver reports alone
	estimates               // REMB
	arrivals                // transport-wide feedback
)

// Controller decides what is sent to one receiver. It is not safe for concurrent use.
type Controller struct {
	history   history
	delay     delay
	jam       jam
	estimate  estimate
	prober    prober
	proof     proof
	budget    budgeter
	arriving  meter
	sending   meter
	source    source
	began     int64
	promised  bool
	heard     bool
	heardAt   int64
	sentAt    int64 // the last packet
	reportAt  int64
	reference uint32 // newest arrival, in quarters of a millisecond
	arriveAt  int64  // the same, extended
	stats     Stats
}

// Stats count what a Controller saw.
type Stats struct {
	Feedbacks uint64 // read
	Malformed uint64 // that were not what they announce
	Unknown   uint64 // packets that feedback claims and nobody sent, or that are long forgotten
	Probes    uint64
	Passed    uint64 // probes
	Overuses  uint64 // feedbacks with which overuse began
	Silences  uint64 // times that the estimate fell because nothing was heard
}

// Demand is what could be sent, with all that goes with it. Zero means: no such thing.
type Demand struct {
	Sent int // what is sent now, or is about to be
	Next int // what it takes to send the next better
	Goal int // what it takes to send the best that is wanted
	// Last says that less than what is sent is nothing.
	Last bool
	// Fixed says that nothing can be sent beside the media: what would be probed is tried instead.
	Fixed bool
}

// Decision is what to do now.
type Decision struct {
	// Budget is what may be sent.
	Budget int
	// Starving says to send no video at all: not even the least that there is gets through. Otherwise the least is to be
	// sent, whatever the budget.
	Starving bool
	// Hopeless says that the way carries so little of what is sent that no picture of it gets through whole: it is to end
	// at once, and not only when what replaces it begins, which would wait behind it.
	Hopeless bool
	// Keep says that what is sent goes on, whatever it is measured to take by now: a keyframe counts in that for a second,
	// and when it becomes too much for the way, that shows. Otherwise the budget says what goes on too.
	Keep bool
	// Padding is how many bytes to send beside the media, at once.
	Padding int
}

// New returns a Controller for a way of which nothing is known. promised says that the receiver agreed to tell of it in
// transport-wide feedback or REMB; if not, there may be reports.
func New(now int64, promised bool) *Controller {
	c := &Controller{began: now, heardAt: now, reportAt: now, promised: promised, heard: promised}
	c.estimate = estimate{rate: StartRate, floor: leastRate, ceil: leastCeiling, at: now}
	c.proof.note(now, StartRate)
	return c
}

// Seq is the transport-wide number of the next packet.
func (c *Controller) Seq() uint16 { return c.history.next }

// SentPlain takes note of a datagram of size bytes, which carried no number.
func (c *Controller) SentPlain(now int64, size int) {
	size += ipUDP
	if c.prober.sending(now) != 0 {
		c.prober.sent += size
	}
	c.sending.add(now, size)
	c.sentAt = now
}

// Begin says what the least takes that is worth sending: a way of which nothing is known is believed to carry it. It
// returns the budget to begin with.
func (c *Controller) Begin(now int64, least int) int {
	c.estimate.rate = max(c.estimate.rate, float64(least))
	c.estimate.ceil = max(c.estimate.ceil, c.estimate.rate)
	c.proof.note(now, c.estimate.rate)
	return int(c.estimate.rate)
}

// Sent takes note of a datagram of size bytes, which carried the number Seq.
func (c *Controller) Sent(now int64, size int) {
	size += ipUDP
	number := c.prober.sending(now)
	if number != 0 {
		c.prober.note(size)
	}
	c.history.add(now, size, number)
	c.sending.add(now, size)
	c.sentAt = now
}

// Feedback takes a transport-wide feedback, the Raw of its event. What is forged can only harm its sender: it says
// nothing of packets that were not sent.
func (c *Controller) Feedback(now int64, raw []byte) {
	a, ok := feedback.ReadArrivals(raw)
	if !ok {
		c.stats.Malformed++
		return
	}
	c.stats.Feedbacks++
	c.source, c.heardAt = arrivals, now
	seen, lost, newest := 0, 0, int64(0)
	for a.Next() {
		s := c.history.find(a.Seq)
		if s == nil {
			c.stats.Unknown++
			continue
		}
		counts := !c.estimate.settles(s.at)
		switch {
		case a.Received && s.state != arrived:
			if s.state == reportedLost && counts {
				lost--
			} else if counts {
				seen++
			}
			c.received(s, a.At)
			newest = max(newest, s.at)
		case !a.Received && s.state == flying:
			s.state = reportedLost
			c.prober.answered(s, false, 0)
			if counts {
				seen++
				lost++
			}
		}
	}
	if newest > 0 {
		c.estimate.rtt = max(now-newest, 0)
	}
	probing := c.prober.active()
	c.estimate.counted(now, seen, lost, float64(c.sending.rate(now)), probing)
	use, rate := c.usage(now)
	if use == overUse && !c.estimate.holding {
		c.stats.Overuses++
	}
	c.estimate.update(now, newest, use, rate, probing)
	c.proof.note(now, float64(rate))
}

// usage tells how the way is used, and at what rate it is, 0 if that is not known.
func (c *Controller) usage(now int64) (use usage, rate int) {
	use, rate = c.delay.use(), c.arriving.rate(c.arriveAt)
	through, known := c.jam.rate()
	collapsed := known && c.delay.lag() > collapseLag && through < collapseShare*float64(c.sending.rate(now))
	if collapsed {
		use = overUse
	}
	through = c.jam.lately(c.reference)
	switch {
	case use != overUse || through == 0:
	case collapsed && rate > 0:
		rate = min(rate, int(through))
	default: // a queue that stands shows the way's rate at once
		rate = int(through)
	}
	return use, rate
}

func (c *Controller) received(s *sent, at uint32) {
	s.state = arrived
	c.prober.answered(s, true, at)
	c.delay.packet(s.at, at)
	c.jam.packet(c.delay.late(s.at, at) > jamLag, at, int(s.size))
	// The meter goes by the receiver's clock, wherever that begins, and only forward.
	step := int64(int32(at-c.reference)) * int64(time.Millisecond/4)
	if !c.arriving.begun || step > silence || step < -silence {
		c.arriving, c.arriveAt, c.reference = meter{}, c.arriveAt+int64(time.Minute), at
	} else if step > 0 {
		c.arriveAt += step
		c.reference = at
	}
	c.arriving.add(c.arriveAt+min(step, 0), int(s.size))
}

// REMB takes the receiver's own estimate, which counts as long as there is no transport-wide feedback.
func (c *Controller) REMB(now int64, rate uint64) {
	if c.source == arrivals {
		return
	}
	c.source, c.heard, c.heardAt, c.estimate.doubted = estimates, true, now, true
	c.estimate.rate = float64(min(rate, 1<<40))
	c.estimate.clamp()
	c.proof.note(now, min(c.estimate.rate, roof*float64(c.sending.rate(now))+roofSlack))
}

// Report takes the share of packets, of 256, that a receiver report says were lost since the one before. It counts as
// long as there is nothing better.
func (c *Controller) Report(now int64, fraction uint8) {
	if c.source == arrivals || now-c.reportAt < reportEvery {
		return
	}
	if c.source == reports && !c.heard {
		c.estimate.rate = max(float64(c.sending.rate(now)), StartRate)
		c.estimate.ceil = max(c.estimate.rate, c.estimate.ceil)
		c.proof.note(now, c.estimate.rate)
	}
	if c.source == reports && now-c.began > brokenPromise {
		c.promised = false
	}
	c.heard, c.heardAt, c.reportAt = true, now, now
	c.estimate.loss = float64(fraction) / 256
	c.estimate.lossy(now, c.estimate.loss, float64(c.sending.rate(now)), false)
}

// Tick decides. It is called every 20 ms or so.
func (c *Controller) Tick(now int64, d Demand) Decision {
	c.estimate.ceil = max(ceiling*float64(max(d.Goal, d.Sent)), leastCeiling)
	if !c.estimate.doubted { // what is sent, and nobody complains of, gets through
		c.estimate.rate = max(c.estimate.rate, float64(d.Sent))
	}
	c.estimate.clamp()
	c.listen(now)
	if most := c.most(d); c.prober.target > most*proofSlack+1 {
		c.prober.began = 0 // so much is not wanted any more
	}
	if c.prober.done(now, c.estimate.rtt) {
		rate, passed := c.prober.finish(now, c.estimate.loss)
		if passed {
			c.stats.Passed++
			c.estimate.proved(rate)
		} else {
			c.estimate.proved(backOff * rate)
		}
		c.proof.note(now, rate)
	}
	able := c.budget.limit(now, min(c.estimate.rate, c.proof.rate(now)*proofSlack))
	if target := c.target(now, d, able); target > 0 {
		c.stats.Probes++
		if c.blind(d) {
			c.prober.failed(now) // unless it fails, for all to see
			c.estimate.proved(target)
			c.proof.note(now, target)
			able = c.budget.limit(now, min(c.estimate.rate, target))
		} else {
			c.prober.start(now, target)
		}
	}
	rate := c.estimate.rate
	if d.Last && now-c.estimate.reducedAt > congested+2*c.estimate.rtt { // the least goes on as long as nothing speaks against it
		rate = max(rate, float64(d.Sent))
	}
	budget := c.budget.decide(now, d, rate, able, c.really(now, d), c.prober.active())
	return Decision{
		Budget: budget, Starving: c.budget.starving, Hopeless: c.budget.cut && rate < hopeless*float64(d.Sent),
		Keep: !c.budget.cut, Padding: c.prober.due(now),
	}
}

// really is what is sent of late of what is meant to be: a keyframe counts in what a layer takes long after it is through.
func (c *Controller) really(now int64, d Demand) float64 {
	if !c.sending.knows(now) {
		return float64(d.Sent)
	}
	return float64(min(c.sending.rate(now), d.Sent)) // nothing, if a camera makes no pictures for a while
}

// listen lowers the estimate while nothing is heard of what is sent.
func (c *Controller) listen(now int64) {
	if c.source == reports && !c.promised || now-c.heardAt < silence || c.sentAt <= c.heardAt {
		return
	}
	c.heardAt += int64(time.Second)
	if now-c.heardAt > silence+int64(time.Second) {
		c.heardAt = now - silence + int64(time.Second)/2
	}
	c.stats.Silences++
	c.estimate.doubted, c.estimate.reducedAt = true, now
	c.estimate.rate /= 2
	c.estimate.clamp()
}

// most is what is worth proving, 0 if nothing better is wanted than what is sent. What was too much takes more, if it is
// wanted still.
func (c *Controller) most(d Demand) float64 {
	goal := float64(d.Goal)
	if goal > 0 && goal >= c.budget.tooMuch {
		return max(goal, c.budget.bar())
	}
	return goal
}

// blind reports whether what is better can only be tried, not probed.
func (c *Controller) blind(d Demand) bool { return d.Fixed || c.source == reports && !c.promised }

// target is the rate to probe now, 0 for none.
func (c *Controller) target(now int64, d Demand, able float64) float64 {
	if d.Next == 0 || c.prober.active() || now < c.prober.next {
		return 0
	}
	if able >= float64(d.Goal) || able >= float64(d.Next) && !c.budget.climbs(d) || c.budget.waits(now) {
		return 0
	}
	fresh := now-c.heardAt < silence // older signs are of another time
	if fresh && (c.delay.use() != normalUse || c.estimate.holding || c.estimate.loss > highLoss) {
		return 0
	}
	if c.blind(d) {
		return float64(d.Next)
	}
	known, goal := max(able, float64(d.Sent)), c.most(d)
	return min(max(c.prober.step()*known, min(c.estimate.rate, goal)), goal*proofSlack)
}

// Heard reports whether there is something to decide by: a word of the receiver, or its promise.
func (c *Controller) Heard() bool { return c.heard }

// Probing reports whether Tick is to be called in time for more padding.
func (c *Controller) Probing() bool { return c.prober.active() }

// Rate is what the way is believed to carry.
func (c *Controller) Rate() int { return int(c.estimate.rate) }

// RTT is the round-trip time of the last feedback, 0 if there was none.
func (c *Controller) RTT() time.Duration { return time.Duration(c.estimate.rtt) }

// Loss is the share of packets that was lost on the way lately, 0 to 1, by transport-wide feedback or reports.
func (c *Controller) Loss() float64 { return c.estimate.loss }

// Stats returns what was counted.
func (c *Controller) Stats() Stats { return c.stats }

// proof is the most that the way carried lately: the maximum of two spans of half proofTime each.
type proof struct {
	now, before float64
	since       int64
}

func (p *proof) note(now int64, rate float64) {
	p.turn(now)
	p.now = max(p.now, rate)
}

func (p *proof) turn(now int64) {
	for p.since+proofTime/2 <= now {
		if p.since+2*proofTime < now {
			p.since = now - proofTime/2
		}
		p.before, p.now = p.now, 0
		p.since += proofTime / 2
	}
}

func (p *proof) rate(now int64) float64 {
	p.turn(now)
	return max(p.now, p.before)
}
