package recorder

import "time"

// slab is the payload size that packets are pooled for: what fits into one datagram.
const slab = 1500

// packet is one queued packet, or one sender report.
type packet struct {
	track     *track
	payload   []byte // in buf, or in memory of its own when it is larger
	arrived   time.Time
	ntp       uint64
	timestamp uint32
	sequence  uint16
	marker    bool
	after     bool // packets before this one were dropped at the queue
	report    bool
	buf       [slab]byte
}

// acquire returns a packet with a copy of payload. It reports false when too much is queued already.
func (r *Recording) acquire(payload []byte) (*packet, bool) {
	size := int64(max(len(payload), slab))
	if r.queued.Add(size) > int64(r.cfg.QueueBytes) {
		r.queued.Add(-size)
		return nil, false
	}
	p := r.pool.Get().(*packet)
	p.report, p.after = false, false
	if len(payload) > slab {
		p.payload = append([]byte(nil), payload...)
	} else {
		p.payload = p.buf[:copy(p.buf[:], payload)]
	}
	return p, true
}

func (r *Recording) release(p *packet) {
	r.queued.Add(-int64(max(len(p.payload), slab)))
	p.payload, p.track = nil, nil
	r.pool.Put(p)
}
