package sfu

import (
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// maxMissing bounds the packets of one stream that the camera is asked for at a time.
	maxMissing = 128
	// reorderDelay is how late a packet may be before it counts as lost; Wi-Fi reorders within a few milliseconds.
	reorderDelay = 10 * time.Millisecond
	// nackInterval is the time until a lost packet is asked for again; it grows with each try.
	nackInterval = 40 * time.Millisecond
	// nackTries is how often a lost packet is asked for before it is given up.
	nackTries = 8
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

	missing [maxMissing]lost
	n       int
}

// lost is a packet that did not come yet.
type lost struct {
	seq   uint16
	next  int64 // when to ask for it
	tries int
}

// arrived takes a packet into account. gap reports that so much is missing that only a keyframe helps.
func (r *reception) arrived(seq uint16, timestamp uint32, at int64) (gap bool) {
	r.received++
	r.measure(timestamp, at)
	if !r.begun {
		r.begun = true
		r.first = 1<<16 | uint64(seq)
		r.newest = r.first
		return false
	}
	ahead := int16(seq - uint16(r.newest))
	if ahead <= 0 {
		r.recovered(seq)
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

// recovered takes a packet that came late, or again, off the list.
func (r *reception) recovered(seq uint16) {
	for i := range r.n {
		if r.missing[i].seq == seq {
			copy(r.missing[i:r.n], r.missing[i+1:r.n])
			r.n--
			return
		}
	}
}

// overdue appends the sequence numbers to ask for now, in order, and gives up those asked for often enough.
func (r *reception) overdue(now int64, seqs []uint16) []uint16 {
	kept := 0
	for _, m := range r.missing[:r.n] {
		if m.next <= now {
			if m.tries == nackTries {
				continue
			}
			m.tries++
			m.next = now + int64(nackInterval)*int64(m.tries)
			seqs = append(seqs, m.seq)
		}
		r.missing[kept] = m
		kept++
	}
	r.n = kept
	return seqs
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
