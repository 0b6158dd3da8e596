package load

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/bench/measure"
)

// Meter is what all viewers of a run have seen. It is safe for concurrent use.
type Meter struct {
	Latency measure.Histogram // from the camera's send to the arrival, sampled
	Recent  measure.Histogram // the same since somebody reset it

	Received      atomic.Uint64 // packets of the measurement, without repetitions
	Opened        atomic.Uint64 // those of them that were decrypted and checked
	Forged        atomic.Uint64 // failed the authentication
	Corrupt       atomic.Uint64 // failed the checksum
	Foreign       atomic.Uint64 // of another camera
	Unstamped     atomic.Uint64 // without a stamp
	Duplicates    atomic.Uint64
	Reordered     atomic.Uint64
	Retransmitted atomic.Uint64 // on a stream of their own (RFC 4588)
	Feedbacks     atomic.Uint64 // on the way, sent to the server
	Bytes         atomic.Uint64 // of all packets, with headers
}

// Reset begins a new measurement.
func (m *Meter) Reset() {
	m.Latency.Reset()
	m.Recent.Reset()
	for _, c := range []*atomic.Uint64{
		&m.Received, &m.Opened, &m.Forged, &m.Corrupt, &m.Foreign, &m.Unstamped, &m.Duplicates, &m.Reordered,
		&m.Retransmitted, &m.Feedbacks, &m.Bytes,
	} {
		c.Store(0)
	}
}

const seenPackets = 2048 // how far back a repetition is known

// track is one track at one viewer. Only the poller's goroutine touches it,
// but for the atomics.
type track struct {
	source *Source
	meter  *Meter
	open   func(packet []byte) ([]byte, error)
	every  uint64 // one in so many packets is opened
	turn   uint64
	// followed is the last packet that follow has opened, 0 for none.
	followed uint64

	started bool
	ssrc    atomic.Uint32
	highest atomic.Uint64 // extended sequence number
	seen    [seenPackets / 64]uint64

	epoch     uint64 // of the marks that the counts below belong to
	inside    bool   // the last packet known lies between the marks
	counted   atomic.Uint64
	lowest    atomic.Uint64 // extended sequence numbers that were counted
	uppermost atomic.Uint64
}

// receive judges one packet: seq is its sequence number, at when it arrived.
func (t *track) receive(packet []byte, seq uint16, ssrc uint32, at int64) {
	extended, fresh := t.extend(seq, ssrc)
	if !fresh {
		return
	}
	t.source.received.Add(1)
	t.follow(packet, extended)
	to := t.source.to.Load()
	from := t.source.from.Load()
	if from == math.MaxUint64 {
		return
	}
	if epoch := t.source.epoch.Load(); epoch != t.epoch {
		t.epoch, t.inside = epoch, false
		t.counted.Store(0)
	}
	t.turn++
	// Near a mark, only the stamp tells on which side a packet is.
	if atMark := !t.inside || to != math.MaxUint64; atMark && !t.source.bySequence || t.turn%t.every == 0 {
		if !t.check(packet, from, to, at) {
			return
		}
	} else if t.source.bySequence {
		t.inside = to == math.MaxUint64
	}
	if t.inside {
		t.count(extended, len(packet))
	}
}

// followEvery is how many packets may pass unopened, with room below the 2^15
// of RFC 3711.
const followEvery = 1 << 13

// follow opens a packet now and then, whether something is measured or not:
// how often sequence numbers have begun anew is part of what protects the next
// packet, and known from those opened before (RFC 3711, section 3.3.1).
func (t *track) follow(packet []byte, extended uint64) {
	if t.followed != 0 && extended < t.followed+followEvery {
		return
	}
	if _, err := t.open(packet); err == nil {
		t.followed = extended
	}
}

func (t *track) count(extended uint64, size int) {
	if t.counted.Add(1) == 1 {
		t.lowest.Store(extended)
		t.uppermost.Store(extended)
	}
	t.uppermost.Store(max(t.uppermost.Load(), extended))
	t.meter.Received.Add(1)
	t.meter.Bytes.Add(uint64(size))
}

// extend unwraps the sequence number and tells packets from repetitions.
func (t *track) extend(seq uint16, ssrc uint32) (uint64, bool) {
	if !t.started || t.ssrc.Load() != ssrc {
		t.started, t.followed = true, 0
		t.ssrc.Store(ssrc)
		t.highest.Store(1<<32 | uint64(seq))
		clear(t.seen[:])
	}
	highest := t.highest.Load()
	extended := highest + uint64(int64(int16(seq-uint16(highest))))
	slot, bit := &t.seen[extended/64%(seenPackets/64)], uint64(1)<<(extended%64)
	switch {
	case extended > highest:
		for n := highest + 1; n <= extended; n++ {
			t.seen[n/64%(seenPackets/64)] &^= 1 << (n % 64)
		}
		t.highest.Store(extended)
	case highest-extended >= seenPackets, *slot&bit != 0:
		t.meter.Duplicates.Add(1)
		return 0, false
	case extended < highest:
		t.meter.Reordered.Add(1)
	}
	*slot |= bit
	return extended, true
}

// check opens a packet, finds its place between the marks, and reports whether
// it is good: a bad one is not delivered.
func (t *track) check(packet []byte, from, to uint64, at int64) bool {
	plain, err := t.open(packet)
	if err != nil {
		t.meter.Forged.Add(1)
		return false
	}
	payload, ok := payloadOf(plain)
	if !ok {
		return false // nothing but padding
	}
	t.meter.Opened.Add(1)
	s, found, intact := readStamp(t.source.codec.stamped(payload))
	switch {
	case !found:
		// The server packetizes anew: the marks are then points in time.
		t.meter.Unstamped.Add(1)
		t.inside = to == math.MaxUint64
		return true
	case !intact:
		t.meter.Corrupt.Add(1)
		return false
	case s.source != t.source.id && !t.source.bySequence:
		t.meter.Foreign.Add(1)
		return false
	}
	t.inside = s.counter >= from && s.counter < to
	if t.source.bySequence {
		t.inside = to == math.MaxUint64
	}
	if t.inside {
		latency := max(at-s.sent, 0)
		t.meter.Latency.Add(time.Duration(latency))
		t.meter.Recent.Add(time.Duration(latency))
	}
	return true
}

// expected returns how many packets were due between the marks: by the
// camera's count, or by the sequence numbers seen.
func (t *track) expected() uint64 {
	if !t.source.bySequence {
		return t.source.Counted()
	}
	if t.counted.Load() == 0 {
		return 0
	}
	return t.uppermost.Load() - t.lowest.Load() + 1
}

// payloadOf returns the payload of an RTP packet (RFC 3550, section 5.1).
func payloadOf(b []byte) ([]byte, bool) {
	n := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return nil, false
		}
		n += 4 + 4*(int(b[n+2])<<8|int(b[n+3]))
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		end -= int(b[end-1])
	}
	if n >= end {
		return nil, false
	}
	return b[n:end], true
}
