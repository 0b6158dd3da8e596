package sfu

import (
	"sync/atomic"
	"time"
)

// keyframes asks a layer's camera for keyframes. However many ask for one, the camera hears of it once, and again, ever
// more slowly, until one arrives (RFC 4585, section 6.3.1: a PLI may be lost). After that it has rest: keyframes asked
// for take a bounded share of what the layer sends.
type keyframes struct {
	interval time.Duration      // the shortest rest
	send     func(unheard bool) // asks once; unheard says that the camera may understand another way only

	sent   atomic.Uint64 // requests
	wanted atomic.Bool
	rest   atomic.Int64  // time.Duration between two that are asked for
	rtt    atomic.Int64  // time.Duration to the camera and back, 0 if it was not measured
	retry  atomic.Int64  // time.Duration until an unanswered request is repeated
	wake   chan struct{} // wanted
	came   chan struct{} // what was wanted
}

const (
	// minRetry and maxRetry bound the time until a request is repeated; it doubles from one to the other.
	minRetry, maxRetry = 250 * time.Millisecond, 4 * time.Second
	// maxRest is the longest rest: somebody sees nothing meanwhile.
	maxRest = 2 * time.Second
	// unheardAfter is the number of requests in vain after which another way is tried.
	unheardAfter = 2
	// keyframeShare is the share of a layer's bytes, one in so many, that keyframes asked for may take.
	keyframeShare = 4
)

func newKeyframes(interval time.Duration, send func(unheard bool)) *keyframes {
	k := &keyframes{interval: interval, send: send, wake: make(chan struct{}, 1), came: make(chan struct{}, 1)}
	k.rest.Store(int64(interval))
	k.retry.Store(int64(minRetry))
	return k
}

// request wants a keyframe. It never blocks.
func (k *keyframes) request() {
	if k.wanted.CompareAndSwap(false, true) {
		signal(k.wake)
	}
}

// arrived says that a keyframe begins.
func (k *keyframes) arrived() {
	if k.wanted.Load() && k.wanted.Swap(false) {
		signal(k.came)
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// weigh sets the rest by what keyframes of the layer cost, in bytes, and what all of it costs, in bytes a second.
func (k *keyframes) weigh(keyframe, perSecond float64) {
	if keyframe <= 0 || perSecond <= 0 {
		return
	}
	fair := min(keyframe*keyframeShare/perSecond, maxRest.Seconds())
	k.rest.Store(max(int64(fair*float64(time.Second)), int64(k.interval)))
}

// measured sets how soon a request is repeated by the camera's round-trip time.
func (k *keyframes) measured(rtt time.Duration) {
	k.rtt.Store(int64(rtt))
	k.retry.Store(int64(max(minRetry, min(2*rtt+minRetry/2, maxRetry))))
}

// run sends what is requested until done or gone is closed.
func (k *keyframes) run(done, gone <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-gone:
			return
		case <-k.wake:
		}
		if !k.wanted.Load() {
			continue // one came by itself
		}
		select {
		case <-k.came: // an earlier one
		default:
		}
		sent := time.Now()
		for try, wait := 0, time.Duration(k.retry.Load()); k.wanted.Load(); wait = min(2*wait, maxRetry) {
			k.send(try >= unheardAfter)
			k.sent.Add(1)
			try, sent = try+1, time.Now()
			timer.Reset(wait)
			select {
			case <-done:
				return
			case <-gone:
				return
			case <-timer.C:
				continue
			case <-k.came:
			}
			break
		}
		timer.Reset(time.Duration(k.rest.Load()) - time.Since(sent))
		select {
		case <-done:
			return
		case <-gone:
			return
		case <-timer.C:
		}
	}
}

// cost measures what keyframes of a layer cost, and all of it. Guarded by the publisher's ingress.mu.
type cost struct {
	since     int64
	octets    int     // since then
	rate      float64 // octets a second
	timestamp uint32  // of the last keyframe
	inside    bool    // packets with that timestamp still count
	current   int     // octets of it
	keyframe  float64 // of one, lately
}

const (
	costWindow = int64(time.Second)
	// costMemory is how many keyframes, or windows, an average remembers.
	costMemory = 4
)

// begins says that a keyframe with this timestamp begins; the packet is counted after that.
func (c *cost) begins(timestamp uint32) {
	c.timestamp, c.inside, c.current = timestamp, true, 0
}

// count takes a packet into account. It reports whether the averages are new.
func (c *cost) count(timestamp uint32, octets int, now int64) bool {
	if c.since == 0 {
		c.since = now
	}
	c.octets += octets
	fresh := false
	if c.inside && timestamp == c.timestamp {
		c.current += octets
	} else if c.inside && int32(timestamp-c.timestamp) > 0 {
		c.keyframe = average(c.keyframe, float64(c.current))
		c.inside, fresh = false, true
	}
	if span := now - c.since; span >= costWindow {
		c.rate = average(c.rate, float64(c.octets)*float64(time.Second)/float64(span))
		c.since, c.octets, fresh = now, 0, true
	}
	return fresh
}

func average(old, sample float64) float64 {
	if old == 0 {
		return sample
	}
	return old + (sample-old)/costMemory
}
