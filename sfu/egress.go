package sfu

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/feedback"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/udp"
)

const (
	// rtpHeader is an RTP header without CSRCs and extensions.
	rtpHeader = 12
	// reportRoom holds a sealed sender report with its CNAME.
	reportRoom = 128
)

var (
	errTooLong = errors.New("sfu: packet too long")
	errReused  = errors.New("sfu: packet index used before")
)

// egress is how packets leave to one viewer: sealed from where they lie straight into the batch of the viewer's shard,
// which alone uses it. Only the address is set from elsewhere.
type egress struct {
	conn   *udp.Conn
	shard  *shard
	sender *seal.Sender
	// congestion watches the way, nil until there is something to choose among. Set by the shard.
	congestion atomic.Pointer[congestion]
	slow       func([]byte) error // for a viewer that plain UDP does not reach; may block
	to         atomic.Pointer[udp.Addr]
	way        roundTrip

	buf []byte // for the slow way; made when it is first needed
}

// aim sends what comes now to the address, or the slow way if it is not valid.
func (e *egress) aim(at netip.AddrPort) {
	if !at.IsValid() {
		e.to.Store(nil)
		return
	}
	e.to.Store(e.conn.Addr(at))
}

// room returns where to seal n bytes to, and how to send them.
func (e *egress) room(n int) (dst []byte, send func([]byte) error) {
	if to := e.to.Load(); to != nil {
		return e.shard.out().Append(to, n), nil
	}
	if e.buf == nil {
		e.buf = make([]byte, udp.MaxSegment)
	}
	return e.buf[:min(n, len(e.buf))], e.slow
}

// sealed is the Sink of one down track: two streams, media and retransmissions, with a packet index each.
type sealed struct {
	egress *egress
	media  rollover
	rtx    rollover
	ssrc   uint32 // of media
	header [rtpHeader + extensionRoom]byte

	extensions extensions
}

// WriteRTP implements Sink.
func (s *sealed) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	stream := &s.rtx
	if h.SSRC == s.ssrc {
		stream = &s.media
	}
	index, fresh := stream.use(h.SequenceNumber)
	if !fresh {
		return 0, errReused
	}
	b := &s.header
	b[0] = 2 << 6
	b[1] = h.PayloadType
	if h.Marker {
		b[1] |= 1 << 7
	}
	binary.BigEndian.PutUint16(b[2:], h.SequenceNumber)
	binary.BigEndian.PutUint32(b[4:], h.Timestamp)
	binary.BigEndian.PutUint32(b[8:], h.SSRC)

	e, head := s.egress, b[:rtpHeader]
	way := e.congestion.Load()
	if s.extensions.any() {
		b[0] |= 1 << 4
		head = s.extensions.write(head, way.number())
	}
	n := len(head) + len(payload) + int(h.PaddingSize) + e.sender.Overhead()
	dst, send := e.room(n)
	if len(dst) < n {
		return 0, errTooLong
	}
	e.sender.RTPPadded(dst, head, payload, int(h.PaddingSize), index) // whose header is whole and whose room is enough
	if way != nil {
		s.noteSent(way, n)
	}
	if send == nil {
		return n, nil
	}
	return n, send(dst)
}

func (s *sealed) noteSent(c *congestion, size int) {
	if s.extensions.numberAt != 0 {
		c.control.Sent(s.egress.shard.now, size)
	} else {
		c.control.SentPlain(s.egress.shard.now, size)
	}
}

// report sends a sender report with the stream's name.
func (e *egress) report(ssrc uint32, cname string, info feedback.SenderInfo) error {
	return e.control(func(b []byte) []byte {
		return feedback.AppendCNAME(feedback.AppendSenderReport(b, ssrc, info), ssrc, cname)
	})
}

// control sends a compound RTCP packet that build appends to a buffer of reportRoom.
func (e *egress) control(build func([]byte) []byte) error {
	var plain [reportRoom]byte
	compound := build(plain[:0])
	n := len(compound) + e.sender.RTCPOverhead()
	dst, send := e.room(n)
	if len(dst) < n {
		return errTooLong
	}
	out := e.sender.RTCP(dst[:0:n], compound)
	if send == nil {
		return nil
	}
	return send(out)
}

// usedWindow is how far behind the newest packet one may still be sent for the first time.
const usedWindow = 1024

// rollover extends sequence numbers to the packet indexes of RFC 3711, section 3.3.1, and gives each out once: two
// different packets under one index would betray the keys (RFC 7714, section 8.4), whatever a camera sends.
type rollover struct {
	highest uint64
	begun   bool
	used    [usedWindow / 64]uint64 // of the indexes up to highest, by their lowest bits
}

// use returns the index of seq, which is nearer than half the number space to the highest one so far, or false if it
// was used or is too old to tell.
func (r *rollover) use(seq uint16) (index uint64, fresh bool) {
	if !r.begun {
		r.begun, r.highest = true, 1<<16|uint64(seq)
		// The first roll-over counter is 0: what lies before the first packet counts as used.
		for i := range r.used {
			r.used[i] = ^uint64(0)
		}
		return uint64(seq), true
	}
	distance := int16(seq - uint16(r.highest))
	index = r.highest + uint64(int64(distance))
	switch {
	case distance > 0:
		for i := r.highest + 1; i <= index && i <= r.highest+usedWindow; i++ {
			r.mark(i, false)
		}
		r.highest = index
	case distance <= -usedWindow || r.marked(index):
		return 0, false
	}
	r.mark(index, true)
	return index - 1<<16, true
}

func (r *rollover) marked(i uint64) bool { return r.used[i%usedWindow/64]>>(i%64)&1 != 0 }

func (r *rollover) mark(i uint64, used bool) {
	word, bit := &r.used[i%usedWindow/64], uint64(1)<<(i%64)
	if used {
		*word |= bit
	} else {
		*word &^= bit
	}
}
