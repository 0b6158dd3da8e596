package sfu

import (
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
)

const (
	// resendRate and resendBurst bound what one viewer can make its shard send again, in packets.
	resendRate, resendBurst = 1000, 256
	// maxWaiting bounds the NACKs of one viewer's track that wait for a shard, so that others' find room.
	maxWaiting = 32
	// resendSlots is how many packets sent again are remembered, by their last bits.
	resendSlots = 256
)

// resends remembers what was sent again lately, and how much.
type resends struct {
	recent [resendSlots]struct {
		seq uint16
		at  uint32 // in units of 1/16384 s, 0 for never; goes round after three days
	}
	tokens float64
	at     time.Duration
}

// allow reports whether seq may be sent again at now, a time since some fixed moment well in the past. A packet is not
// sent twice within a round trip: what was sent before may still arrive. again says that it was sent before that, in
// vain.
func (r *resends) allow(seq uint16, now, rtt time.Duration) (ok, again bool) {
	const unit = time.Second >> 14
	slot, at := &r.recent[seq%resendSlots], uint32(now/unit)|1
	if slot.seq == seq && slot.at != 0 {
		if at-slot.at < uint32(rtt/unit) {
			return false, false
		}
		again = at-slot.at < uint32(lossWindow/unit)
	}
	r.tokens = min(r.tokens+(now-r.at).Seconds()*resendRate, resendBurst)
	r.at = now
	if r.tokens < 1 {
		return false, again
	}
	r.tokens--
	slot.seq, slot.at = seq, at
	return true, again
}

// missing is what a viewer asks for again (RFC 4585, section 6.2.1), or a keyframe.
type missing struct {
	down     *downTrack
	pid, blp uint16
	at       time.Duration // on the clock of packet arrivals
	keyframe bool
}

// ask has the shard answer a NACK. It never blocks, and reports false when too many wait already.
func (s *shard) ask(m missing) bool {
	s.mu.Lock()
	ok := len(s.missing) < maxActions && m.down.waiting < maxWaiting
	if ok {
		m.down.waiting++
		s.missing = append(s.missing, m)
	}
	s.mu.Unlock()
	s.nudge()
	return ok
}

// retransmit answers a NACK from the ring of the layer that the down track follows. Runs on the shard.
func (s *shard) retransmit(m missing) {
	d := m.down
	if d.layer == nil || d.removed {
		return
	}
	asked, sent, again, unsent := 0, 0, 0, 0
	nack := rtcp.NackPair{PacketID: m.pid, LostPackets: rtcp.PacketBitmap(m.blp)}
	nack.Range(func(seq uint16) bool {
		asked++
		switch o, twice := s.resend(d, seq, m.at); o {
		case sentAgain:
			sent++
			if twice {
				again++
			}
		case neverSent:
			unsent++
		case notSent:
		}
		return true
	})
	d.nacks += uint64(asked)
	d.resent += uint64(sent)
	d.track.counters.nacks.Add(uint64(asked))
	d.track.counters.nacksUnsent.Add(uint64(unsent))
	d.track.counters.retransmitted.Add(uint64(sent))
	if x := d.extensions; x == nil || x.delayAt == 0 {
		return
	}
	if sent > 0 {
		rtt := d.rtt()
		d.wait.asked(request{n: sent, again: again, sent: d.packets, at: m.at, answer: rtt, second: max(rtt, askAgain)})
	}
	d.holdBack()
}

// resent says what became of a packet that was asked for.
type resent uint8

const (
	notSent   resent = iota // too soon, too many, too old, or it did not come from the camera yet
	neverSent               // or so long ago that it is not known
	sentAgain               // now
)

// rtt is the round-trip time of the viewer.
func (d *downTrack) rtt() time.Duration {
	if d.egress == nil {
		return assumedRTT
	}
	return d.egress.way.time()
}

// resend sends one packet again, by its outgoing number: as RFC 4588 says where the viewer negotiated it, else just
// as it was. again says that it was sent before, in vain.
func (s *shard) resend(d *downTrack, seq uint16, now time.Duration) (o resent, again bool) {
	if d.egress != nil && d.stream.rtxPayloadType == 0 {
		return notSent, false // it would need the packet's index again
	}
	if _, ok := d.mapper.Source(seq); !ok {
		return neverSent, false
	}
	var ok bool
	if ok, again = d.resends.allow(seq, now, d.rtt()); !ok {
		return notSent, again
	}
	_, o = s.repeat(d, seq)
	return o, again
}

// repeat sends one packet again and returns its size, 0 if that cannot be.
func (s *shard) repeat(d *downTrack, seq uint16) (n int, o resent) {
	from, ok := d.mapper.Source(seq)
	if !ok {
		return 0, notSent
	}
	if !d.layer.ring.Find(from, &s.packet, s.buf[rtxHeader:]) {
		return 0, notSent
	}
	p := &s.packet
	info := d.layer.inspect(p)
	payload, ok := d.place(p, &info)
	if !ok {
		return 0, notSent
	}
	if d.stream.rtxPayloadType != 0 {
		binary.BigEndian.PutUint16(s.buf[:rtxHeader], d.header.SequenceNumber)
		payload = s.buf[:rtxHeader+len(payload)]
		d.header.PayloadType, d.header.SSRC = d.stream.rtxPayloadType, d.stream.rtxSSRC
		d.header.SequenceNumber = d.rtxSeq
		d.rtxSeq++
	}
	n, err := d.sink.WriteRTP(&d.header, payload)
	if err != nil {
		return 0, notSent
	}
	return n, sentAgain
}
