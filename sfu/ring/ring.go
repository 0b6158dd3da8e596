// Package ring keeps the last packets of one stream by sequence number.
package ring

import "sync"

// MaxPayload is the largest payload a Ring keeps: an Ethernet frame less IP and UDP headers.
const MaxPayload = 1500 - 20 - 8

// Slot names a packet in a Ring until it is overwritten.
type Slot struct{ seq uint16 }

// Packet is one RTP packet without what belongs to its transport: no CSRCs, no extensions, no padding.
type Packet struct {
	Seq       uint16
	Marker    bool
	Timestamp uint32
	Arrival   int64 // nanoseconds on a clock of the caller's choice
	Payload   []byte
}

// Verdict says what Put did with a packet.
type Verdict uint8

// Verdicts of Put.
const (
	Stored Verdict = iota
	Duplicate
	TooOld   // behind everything the ring holds
	TooLarge // payload over MaxPayload
)

// Ring keeps the newest packets of one stream. Put may run beside any number of Gets.
type Ring struct {
	mask uint16

	mu      sync.Mutex // guards everything below; held for one copy of a packet
	entries []entry
	slab    []byte
	newest  uint16
	started bool
	badSeq  uint16 // the sequence number that would prove a restart, valid if suspect
	suspect bool
}

type entry struct {
	packet Packet // Payload is a part of the slab
	used   bool
}

// New makes a Ring for size packets, rounded up to a power of two between 16 and 16384.
func New(size int) *Ring {
	n := 16
	for n < size && n < 1<<14 {
		n <<= 1
	}
	return &Ring{mask: uint16(n - 1), entries: make([]entry, n), slab: make([]byte, n*MaxPayload)}
}

// Put copies p into the ring. Only what is Stored has a Slot.
func (r *Ring) Put(p *Packet) (Slot, Verdict) {
	if len(p.Payload) > MaxPayload {
		return Slot{}, TooLarge
	}
	r.mu.Lock()
	defer r.mu.Unlock()

	e := &r.entries[p.Seq&r.mask]
	switch ahead := int16(p.Seq - r.newest); {
	case !r.started || ahead > 0:
		r.started, r.newest = true, p.Seq
	case int(ahead) <= -len(r.entries):
		if !r.restarted(p.Seq) {
			return Slot{}, TooOld
		}
		r.newest = p.Seq
	case e.used && e.packet.Seq == p.Seq:
		return Slot{}, Duplicate
	}
	r.suspect = false

	at := int(p.Seq&r.mask) * MaxPayload
	e.used = true
	e.packet = *p
	e.packet.Payload = r.slab[at : at+copy(r.slab[at:at+MaxPayload], p.Payload)]
	return Slot{seq: p.Seq}, Stored
}

// restarted applies RFC 3550, appendix A.1: two packets in sequence, far behind, mean that the source began anew.
// Caller holds mu.
func (r *Ring) restarted(seq uint16) bool {
	if !r.suspect || seq != r.badSeq {
		r.suspect, r.badSeq = true, seq+1
		return false
	}
	for i := range r.entries {
		r.entries[i].used = false
	}
	return true
}

// Get copies the packet in slot to p, its payload into buf, which must hold MaxPayload bytes. It reports false when
// the packet was overwritten.
func (r *Ring) Get(slot Slot, p *Packet, buf []byte) bool {
	return r.Find(slot.seq, p, buf)
}

// Find is Get by sequence number.
func (r *Ring) Find(seq uint16, p *Packet, buf []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.entries[seq&r.mask]
	if !e.used || e.packet.Seq != seq {
		return false
	}
	*p = e.packet
	p.Payload = buf[:copy(buf, e.packet.Payload)]
	return true
}
