package sfu

import (
	"slices"
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// maxMissing bounds the packets of one stream that the camera is asked for at a time.
	maxMissing = 128
	// reorderDelay is how late a packet may be before it counts as lost; Wi-Fi reorders within a few milliseconds.
	reorderDelay = 10 * time.Millisecond
	// nackRounds is how often a lost packet is asked for before it is given up, each time twice where that helps.
	nackRounds = 8
	// nackSteady is how many of those come as fast as they are of use; the time between later ones grows.
	nackSteady = 4
	// vainRound is the round by which the first was answered, or was in vain.
	vainRound = 2
	// deafRounds is that of a camera that answered none of the last deafAfter packets given up.
	deafRounds, deafAfter = 1, 8
	// guessedRTT is the round-trip time of a path that was not measured yet.
	guessedRTT = 80 * time.Millisecond
	// minNACKInterval bounds the time until a lost packet is asked for again, and maxNACKInterval what that grows to where
	// a round trip is shorter. maxAnswer is what an answer is believed to take.
	minNACKInterval, maxNACKInterval, maxAnswer = 15 * time.Millisecond, 250 * time.Millisecond, time.Second
	// roundSlack is what a camera's answer may take beside the round trip. Chromium sends nothing again within one, by a
	// measure of its own that is some milliseconds above ours.
	roundSlack = 10 * time.Millisecond
	// repeatAfter is when a request is repeated on a way so long that to wait for the next round would cost a lot.
	repeatAfter = 15 * time.Millisecond
	// askTick is how often is looked whether something is to be asked for while anything is missing.
	askTick = 5 * time.Millisecond
	// rttSamples is of how many answers the middle one counts.
	rttSamples = 9
)

// reception follows what comes of one RTP stream of a camera: which packets are missing, and the numbers of a receiver
// report (RFC 3550, appendix A). Times are nanoseconds on the clock of packet arrivals.
type reception struct {
	ssrc      uint32
	clockRate uint32

	begun         bool
	first, newest uint64 // extended sequence numbers
	received      uint64
	reported      struct{ expected, received uint64 }
	transit       uint32
	jitter        uint32 // scaled by 16: RFC 3550, appendix A.8
	lastSR        uint32
	lastSRAt      int64
	left          int64 // when the camera said goodbye for the stream, 0 if it did not or came back

	rtt      time.Duration             // as NACKs were answered; 0 if none was yet
	samples  [rttSamples]time.Duration // of that
	answers  int                       // as many of them
	sampled  int64                     // when the last one was taken
	unheard  int                       // packets given up since one was answered
	plain    bool                      // what is sent again comes in the stream itself, without RTX
	keyframe uint16                    // sequence number of the last keyframe, if any came
	keyed    bool

	asked    uint64 // packets that the camera was asked for again, each time counted
	firsts   int    // of those, the first time, since expectLate looked; and those that a first answer should have brought
	vain     int
	repaired uint64 // packets that came for that

	missing [maxMissing]lost
	n       int
}

// lost is a packet that did not come yet.
type lost struct {
	seq    uint16
	rounds uint8 // in which it was asked for
	repeat bool  // the request of this one is to be repeated
	asked  int64 // when first
	next   int64 // when to ask for it
}

// arrived takes a packet into account. gap reports that so much is missing that only a keyframe helps.
func (r *reception) arrived(seq uint16, timestamp uint32, at int64) (gap bool) {
	r.received++
	r.left = 0
	r.measure(timestamp, at)
	if !r.begun {
		r.begun = true
		r.first = 1<<16 | uint64(seq)
		r.newest = r.first
		return false
	}
	ahead := int16(seq - uint16(r.newest))
	if ahead <= 0 {
		if r.plain {
			r.answered(seq, at)
		} else {
			r.recovered(seq)
		}
		return false
	}
	if int(ahead) > maxMissing {
		r.n, gap = 0, true
	} else {
		for i := int16(1); i < ahead; i++ {
			r.lose(uint16(r.newest)+uint16(i), at)
		}
	}
	r.newest += uint64(ahead)
	return gap
}

func (r *reception) measure(timestamp uint32, at int64) {
	transit := uint32(ticks(time.Duration(at), r.clockRate)) - timestamp
	if r.begun {
		d := int32(transit - r.transit)
		r.jitter += uint32(max(d, -d)) - (r.jitter+8)>>4
	}
	r.transit = transit
}

func (r *reception) lose(seq uint16, at int64) {
	if r.n == maxMissing { // the oldest has waited longest in vain
		copy(r.missing[:], r.missing[1:])
		r.n--
	}
	r.missing[r.n] = lost{seq: seq, next: at + int64(reorderDelay)}
	r.n++
}

// recovered takes a packet that came late, or again, off the list, and returns what was known of it.
func (r *reception) recovered(seq uint16) (m lost, ok bool) {
	for i := range r.n {
		if r.missing[i].seq == seq {
			m = r.missing[i]
			copy(r.missing[i:r.n], r.missing[i+1:r.n])
			r.n--
			return m, true
		}
	}
	return lost{}, false
}

// answered is recovered for what came because it was asked for: it measures the path.
func (r *reception) answered(seq uint16, at int64) {
	m, ok := r.recovered(seq)
	if !ok || m.rounds == 0 {
		return
	}
	r.unheard = 0
	r.repaired++
	// It may answer a later request, after the first was lost, or none: Chromium sends packets again to probe its way. The
	// middle one of some is neither; but what was asked for together says the same.
	if r.answers > 0 && at-r.sampled < int64(r.rtt) {
		return
	}
	r.samples[r.answers%rttSamples] = min(max(time.Duration(at-m.asked), time.Millisecond), maxAnswer)
	r.sampled = at
	r.answers++
	sorted := r.samples
	n := min(r.answers, rttSamples)
	slices.Sort(sorted[:n])
	r.rtt = sorted[(n-1)/2]
}

// keyframeAt notes that decoding can begin anew: what is missing from before no longer matters to it.
func (r *reception) keyframeAt(seq uint16) { r.keyframe, r.keyed = seq, true }

// round is the time between two rounds: a camera sends nothing twice within a round trip, and until one is over the
// answer may come yet.
func (r *reception) round() time.Duration {
	rtt := r.rtt
	if rtt == 0 {
		rtt = guessedRTT
	}
	return max(minNACKInterval, rtt+roundSlack)
}

// overdue appends the sequence numbers to ask for now, in order, and gives up those asked for often enough. lost
// reports that decoding needs one of those.
func (r *reception) overdue(now int64, seqs []uint16) (ask []uint16, lost bool) {
	kept, rounds, round := 0, uint8(nackRounds), r.round()
	if r.unheard >= deafAfter {
		rounds = deafRounds
	}
	for _, m := range r.missing[:r.n] {
		if m.next <= now {
			if m.rounds >= rounds && !m.repeat {
				r.unheard++
				lost = lost || !r.keyed || int16(m.seq-r.keyframe) >= 0
				continue
			}
			r.ask(&m, now, round)
			seqs = append(seqs, m.seq)
		}
		r.missing[kept] = m
		kept++
	}
	r.n = kept
	return seqs, lost
}

// ask notes that a packet is asked for now, and when that is to be done again. A request may be lost as well as its
// answer. On a long way it goes out twice at once, rather than that half a round is waited for what was not heard.
func (r *reception) ask(m *lost, now int64, round time.Duration) {
	if m.repeat {
		m.repeat = false
		m.next += int64(pause(m.rounds, round) - repeatAfter)
		return
	}
	m.rounds++
	switch m.rounds {
	case 1:
		m.asked = now
		r.firsts++
	case vainRound:
		r.vain++
	}
	if m.repeat = round >= 3*repeatAfter; m.repeat {
		m.next = now + int64(repeatAfter)
	} else {
		m.next = now + int64(pause(m.rounds, round))
	}
}

// pause is the time from one round to the next.
func pause(rounds uint8, round time.Duration) time.Duration {
	return max(round, min(round*time.Duration(max(1, int(rounds)-nackSteady)), maxNACKInterval))
}

// leave notes a goodbye: what is missing will not come any more.
func (r *reception) leave(at int64) {
	r.n = 0
	if r.left == 0 {
		r.left = max(at, 1)
	}
}

// sentReport notes a sender report of the stream.
func (r *reception) sentReport(ntp uint64, at int64) {
	r.lastSR, r.lastSRAt = uint32(ntp>>16), at
}

// block returns the report block for now and begins a new interval. It reports false before the first packet.
func (r *reception) block(now int64) (feedback.Block, bool) {
	if !r.begun {
		return feedback.Block{}, false
	}
	expected := r.newest - r.first + 1
	b := feedback.Block{
		SSRC: r.ssrc, Lost: int32(int64(expected) - int64(r.received)),
		Highest: uint32(r.newest - r.first&^0xffff), Jitter: r.jitter >> 4,
	}
	interval, received := expected-r.reported.expected, r.received-r.reported.received
	if interval > received {
		b.FractionLost = uint8(min((interval-received)<<8/interval, 255))
	}
	r.reported.expected, r.reported.received = expected, r.received
	if r.lastSR != 0 {
		b.LastSR = r.lastSR
		b.Delay = uint32(uint64(now-r.lastSRAt) << 16 / uint64(time.Second))
	}
	return b, true
}
