package bandwidth

import "time"

const (
	// probeTime is how long a probe sends more than the media: too short to make a queue that anybody sees.
	probeTime = int64(120 * time.Millisecond)
	// probeStep is how much more than what is known a probe tries at most, carefulStep after one that failed.
	probeStep, carefulStep = 2.0, 1.5
	// probePass is the share of what was sent that must come as fast as it was sent.
	probePass = 0.85
	// probeWait bounds how long the answer to a probe is waited for, beside the round-trip time.
	probeWait = int64(400 * time.Millisecond)
	// firstPause and longestPause are between a probe that failed and the next.
	firstPause, longestPause = 2 * int64(time.Second), 4 * int64(time.Second)
	// probeLoss is the share of a probe that may get lost beside what gets lost anyway.
	probeLoss = 0.10
)

// prober raises the rate for a moment to see what comes of it. One probe is under way at a time.
type prober struct {
	number  uint8 // of the probe under way, or of the last; never 0 after the first
	target  float64
	began   int64 // 0 if none is under way
	ends    int64
	sent    int // bytes since it began
	packets int
	answers int // packets that were reported, either way

	firstSent, lastSent int64
	firstAt, lastAt     uint32
	got                 int // bytes that arrived

	pause int64 // to the next probe
	next  int64 // not before
}

func (p *prober) active() bool { return p.began != 0 }

// start begins a probe of a rate.
func (p *prober) start(now int64, target float64) {
	number := p.number + 1
	if number == 0 {
		number = 1
	}
	*p = prober{number: number, target: target, began: now, ends: now + probeTime, pause: p.pause, next: p.next}
}

// sending returns the number for packets that are sent now, 0 if no probe sends.
func (p *prober) sending(now int64) uint8 {
	if p.began != 0 && now < p.ends {
		return p.number
	}
	return 0
}

// step is the factor by which a probe goes beyond what is known.
func (p *prober) step() float64 {
	if p.pause > 0 {
		return carefulStep
	}
	return probeStep
}

// due returns how many bytes must be sent now, beside the media, to keep up the rate.
func (p *prober) due(now int64) int {
	if p.began == 0 || now >= p.ends {
		return 0
	}
	const ahead = int64(20 * time.Millisecond) // until the next time that anybody asks
	return max(int(p.target/8*float64(now-p.began+ahead)/float64(time.Second))-p.sent, 0)
}

func (p *prober) note(size int) {
	p.sent += size
	p.packets++
}

// answered takes what became of a packet of the probe under way.
func (p *prober) answered(s *sent, received bool, at uint32) {
	if s.probe != p.number || p.began == 0 {
		return
	}
	p.answers++
	if !received {
		return
	}
	size := int(s.size)
	if p.got == 0 {
		p.firstSent, p.firstAt = s.at, at
	}
	p.lastSent = max(p.lastSent, s.at)
	if int32(at-p.lastAt) > 0 || p.got == 0 {
		p.lastAt = at
	}
	p.got += size
}

// done reports whether the outcome of the probe is known.
func (p *prober) done(now, rtt int64) bool {
	return p.began != 0 && now >= p.ends && (p.answers >= p.packets || now >= p.ends+rtt+probeWait)
}

// finish ends the probe and returns the rate that got through, and whether that is all that was tried.
func (p *prober) finish(now int64, usualLoss float64) (rate float64, passed bool) {
	p.began = 0
	span := float64(p.lastSent-p.firstSent) / float64(time.Second)
	through := float64(int32(p.lastAt-p.firstAt)) / 4000
	if p.got == 0 || span <= 0 || p.packets == 0 {
		p.failed(now)
		return 0, false
	}
	sentRate := float64(p.sent) * 8 / (float64(probeTime) / float64(time.Second))
	// What was sent between the first moment and the last needed so long to arrive.
	slower := max(through/span, 1)
	share := float64(p.got) / float64(p.sent)
	rate = sentRate * share / slower
	passed = 1/slower >= probePass && share >= 1-usualLoss-probeLoss
	if passed {
		p.pause, p.next = 0, now
		return sentRate * min(share/(1-usualLoss), 1) / slower, true
	}
	p.failed(now)
	return rate, false
}

func (p *prober) failed(now int64) {
	p.pause = min(max(2*p.pause, firstPause), longestPause)
	p.next = now + p.pause
}
