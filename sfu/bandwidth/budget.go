package bandwidth

import "time"

const (
	// patience is how long the estimate must be below what is sent before less is: one bad moment is none.
	patience = 250 * int64(time.Millisecond)
	// arriving is for how long something better is given that time at least: it begins with a keyframe.
	arriving = int64(time.Second)
	// lastPatience is the same before nothing is sent at all.
	lastPatience = 2 * int64(time.Second)
	// severe is the share of what is sent below which there is none of it.
	severe = 0.7
	// hopeless is the share of what is sent below which nothing of it is of use: a picture is a few packets, or more.
	hopeless = 0.5
	// leastRest and mostRest are how long nothing better is tried after something was too much. It doubles each time that
	// something better lasted for less than lasting.
	leastRest, mostRest = 3 * int64(time.Second), 12 * int64(time.Second)
	lasting             = 15 * int64(time.Second)
	// caution is by how much more than something needs must be proved before it is tried again, if it was too much before.
	// remembering is for how long that counts.
	caution     = 1.25
	remembering = 60 * int64(time.Second)
)

// budgeter turns an estimate, which moves all the time, into a budget that moves when it must. Its zero value is ready.
type budgeter struct {
	below    int64 // since when the estimate is below what is sent, 0 if it is not
	raised   int64 // when more was allowed last
	rest     int64
	until    int64 // end of the rest
	cut      bool  // less is allowed than what is sent, until less is sent
	sent     int   // at the time
	starving bool  // what was cut was the least

	from  int // what was sent when more was allowed last
	tried int // what was sent first of that, before its keyframe counted in it; 0 until more is sent

	tooMuch float64 // what was tried last and was too much, 0 if nothing was
	triedAt int64
}

// bar is what must be proved for something to be tried again that was too much.
func (b *budgeter) bar() float64 { return b.tooMuch * caution }

// limit lowers what is proved below what was too much, unless that is proved to be much less now.
func (b *budgeter) limit(now int64, able float64) float64 {
	if b.tooMuch > 0 && now-b.triedAt > remembering {
		b.tooMuch = 0
	}
	if able < b.bar() {
		return min(able, b.tooMuch-1)
	}
	return able
}

// decide returns the budget. rate is what the way is believed to carry, able what of that is proved, really what is sent of
// what is meant to be, and climbing says that there is about to be more.
func (b *budgeter) decide(now int64, d Demand, rate, able, really float64, climbing bool) int {
	if b.cut && d.Sent < b.sent {
		b.cut = false
	}
	if b.tried == 0 && d.Sent > b.from {
		b.tried = d.Sent
	}
	if rate < really || b.cut && rate < float64(d.Sent) {
		return b.lower(now, d, rate)
	}
	b.below, b.cut = 0, false
	keep := d.keep()
	if climbing || b.waits(now) || d.Next == 0 || able < float64(d.Next) {
		return keep
	}
	b.raised, b.starving = now, false
	b.from, b.tried = d.Sent, 0
	return max(int(able), keep)
}

// keep is a budget for what is sent, whose rate varies, and for nothing better.
func (d Demand) keep() int {
	most := d.Sent + d.Sent/2
	if d.Next > 0 {
		most = min(most, d.Next-1)
	}
	return max(d.Sent, most)
}

// lower gives the estimate some time to come back, unless it is far down.
func (b *budgeter) lower(now int64, d Demand, rate float64) int {
	if b.below == 0 {
		b.below = now
	}
	wait, least := patience, severe*float64(d.Sent)
	switch {
	case d.Last:
		wait, least = lastPatience, 0
	case b.raised != 0:
		wait = max(wait, b.raised+arriving-b.below)
	}
	if !b.cut && rate >= least && now-b.below < wait {
		return d.keep()
	}
	if !b.cut {
		if b.raised != 0 && now-b.raised < lasting {
			b.rest = min(2*max(b.rest, leastRest/2), mostRest)
			b.tooMuch, b.triedAt = float64(b.took(d)), now
		} else {
			b.rest = leastRest
		}
		b.cut, b.sent, b.until = true, d.Sent, now+b.rest
		b.starving = d.Last
	}
	return int(rate)
}

// took is what is sent takes, as far as that is known without the keyframe that it began with.
func (b *budgeter) took(d Demand) int {
	if b.tried == 0 {
		return d.Sent
	}
	return min(d.Sent, b.tried)
}

// waits reports whether nothing better may be tried now.
func (b *budgeter) waits(now int64) bool { return now < b.until }

// climbs reports whether there is something better than the next.
func (b *budgeter) climbs(d Demand) bool { return d.Goal > d.Next }
