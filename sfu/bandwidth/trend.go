package bandwidth

import (
	"math"
	"time"
)

// usage is what the delay says about the way.
type usage uint8

const (
	normalUse usage = iota
	overUse         // the queue in front of the bottleneck grows
	underUse        // it empties
)

const (
	// burstTime is how much later than the first a packet may be sent to belong to a group:
	// draft-ietf-rmcat-gcc-02, section 5.2.
	burstTime = 5.0
	// longestBurst bounds a group by its arrival.
	longestBurst = 100.0
	// clockJump is a step between arrivals, beyond what was sent, that says that the receiver's clock jumped.
	clockJump = 3000.0

	// trendPoints, smoothing and gain are those of libwebrtc's trendline estimator, but for fewer points: a forwarder
	// sends a frame as it comes, so there are only some groups a frame.
	trendPoints = 15
	smoothing   = 0.9
	gain        = 4.0
	maxDeltas   = 60
	// The adaptive threshold of draft-ietf-rmcat-gcc-02, section 5.4, in ms.
	startThreshold, leastThreshold, mostThreshold = 12.5, 6.0, 600.0
	thresholdUp, thresholdDown                    = 0.0087, 0.039
	thresholdReach                                = 15.0
	// overuseTime is how long the trend must be above the threshold, in ms.
	overuseTime = 10.0

	// standing is the shortest queue, in ms, that counts: what even the fastest of the last standingGroups waited longer
	// than any did before. Jitter has a trend too, but no queue.
	standing       = 12.0
	standingGroups = 5
	// baseEpoch is for how long the least delay is believed, half of it at a time.
	baseEpoch = 15 * int64(time.Second)
)

// group is packets that were sent together. Times are in ms.
type group struct {
	firstSent, sent       float64
	firstArrived, arrived float64
}

// delay watches how the delay of packets changes. Its zero value is ready.
type delay struct {
	current, before  group
	begun, comparing bool
	started          bool // the first arrival is known
	sentZero         int64
	arrivedZero      uint32
	deltas           int
	accumulated      float64
	smoothed         float64
	points           [trendPoints]point
	n, head          int
	previous         float64 // trend
	threshold        float64
	thresholdAt      float64
	overFor          float64
	overCount        int
	last             [standingGroups]float64 // one-way delays of the last groups, up to a constant
	lastHead         int
	base, nextBase   float64
	baseSince        float64
	state            usage
}

type point struct{ x, y float64 }

// packet takes an acknowledged packet, in the order of sending. arrived is in quarters of a millisecond.
func (d *delay) packet(sentAt int64, arrived uint32) {
	if !d.started {
		d.started, d.sentZero, d.arrivedZero = true, sentAt, arrived
		if d.threshold == 0 {
			d.threshold = startThreshold
		}
		d.base, d.nextBase = math.Inf(1), math.Inf(1)
	}
	s := float64(sentAt-d.sentZero) / float64(time.Millisecond)
	a := float64(int32(arrived-d.arrivedZero)) / 4 // once in six days this jumps, as clocks do
	switch {
	case !d.begun:
		d.begin(s, a)
	case s < d.current.firstSent: // sent before the group: out of order
	case d.belongs(s, a):
		d.current.sent = max(d.current.sent, s)
		d.current.arrived = max(d.current.arrived, a)
	case d.close():
		d.begin(s, a)
	}
}

func (d *delay) begin(s, a float64) {
	d.begun = true
	d.current = group{firstSent: s, sent: s, firstArrived: a, arrived: a}
}

// belongs reports whether a packet is of the current group: sent with it, or caught up with it on the way.
func (d *delay) belongs(s, a float64) bool {
	if s-d.current.firstSent <= burstTime {
		return true
	}
	propagation := (a - d.current.arrived) - (s - d.current.sent)
	return propagation < 0 && a-d.current.arrived <= burstTime && a-d.current.firstArrived < longestBurst
}

// close compares the current group with the one before. It reports false if the receiver's clock jumped: everything
// begins anew then, with the next packet.
func (d *delay) close() bool {
	if d.comparing {
		sent, arrived := d.current.sent-d.before.sent, d.current.arrived-d.before.arrived
		if arrived-sent > clockJump || arrived < -clockJump {
			state, threshold := d.state, d.threshold
			*d = delay{}
			d.state, d.threshold = state, threshold
			return false
		}
		if arrived >= 0 {
			d.observe(sent, arrived)
		}
	}
	d.before, d.comparing = d.current, true
	return true
}

// observe updates the trend with what lies between two groups: libwebrtc's trendline estimator.
func (d *delay) observe(sent, arrived float64) {
	d.queue(d.current.arrived - d.current.sent)
	d.deltas = min(d.deltas+1, 1000)
	d.accumulated += arrived - sent
	d.smoothed = smoothing*d.smoothed + (1-smoothing)*d.accumulated
	d.points[d.head] = point{d.current.arrived, d.smoothed}
	d.head = (d.head + 1) % trendPoints
	d.n = min(d.n+1, trendPoints)
	trend := d.previous
	if d.n == trendPoints {
		trend = d.slope()
	}
	d.detect(trend, sent, d.current.arrived)
}

// slope fits a line to the points by least squares.
func (d *delay) slope() float64 {
	var mx, my float64
	for _, p := range d.points {
		mx += p.x / trendPoints
		my += p.y / trendPoints
	}
	var num, den float64
	for _, p := range d.points {
		num += (p.x - mx) * (p.y - my)
		den += (p.x - mx) * (p.x - mx)
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// detect decides with an adaptive threshold: draft-ietf-rmcat-gcc-02, section 5.4.
func (d *delay) detect(trend, sent, now float64) {
	modified := float64(min(d.deltas, maxDeltas)) * trend * gain
	switch {
	case modified > d.threshold:
		if d.overCount == 0 {
			d.overFor = sent / 2
		} else {
			d.overFor += sent
		}
		d.overCount++
		if d.overFor > overuseTime && d.overCount > 1 && trend >= d.previous {
			d.overFor, d.overCount, d.state = 0, 0, overUse
		}
	case modified < -d.threshold:
		d.overFor, d.overCount, d.state = 0, 0, underUse
	default:
		d.overFor, d.overCount, d.state = 0, 0, normalUse
	}
	d.previous = trend
	d.adapt(modified, now)
}

func (d *delay) adapt(modified, now float64) {
	size := math.Abs(modified)
	if size <= d.threshold+thresholdReach {
		k := thresholdUp
		if size < d.threshold {
			k = thresholdDown
		}
		d.threshold += k * (size - d.threshold) * min(max(now-d.thresholdAt, 0), 100)
		d.threshold = min(max(d.threshold, leastThreshold), mostThreshold)
	}
	d.thresholdAt = now
}

// queue notes the one-way delay of a group, up to a constant.
func (d *delay) queue(oneWay float64) {
	d.last[d.lastHead%standingGroups] = oneWay
	d.lastHead++
	now := d.current.arrived
	if now-d.baseSince > float64(baseEpoch/int64(time.Millisecond))/2 {
		d.base, d.nextBase, d.baseSince = d.nextBase, math.Inf(1), now
	}
	d.base, d.nextBase = min(d.base, oneWay), min(d.nextBase, oneWay)
}

// waiting is how long even the fastest of the last groups waited in queues, in ms.
func (d *delay) waiting() float64 {
	if d.lastHead < standingGroups {
		return 0
	}
	least := math.Inf(1)
	for _, l := range d.last {
		least = min(least, l)
	}
	return max(least-d.base, 0)
}

// lag is how much longer than any lately the last packet was under way, in ms.
func (d *delay) lag() float64 {
	if d.lastHead == 0 {
		return 0
	}
	return d.current.arrived - d.current.sent - d.base
}

// late is how much longer than any lately a packet was under way, in ms.
func (d *delay) late(sentAt int64, arrived uint32) float64 {
	return float64(int32(arrived-d.arrivedZero))/4 - float64(sentAt-d.sentZero)/float64(time.Millisecond) - d.base
}

// use returns what the delay says now: overuse only with a queue that stands.
func (d *delay) use() usage {
	if d.state == overUse && d.waiting() < standing {
		return normalUse
	}
	return d.state
}
