// Package ring keeps the last packets of one stream by sequence number.
package ring

import (
	"sync"
	"time"
)

// MaxPayload is the largest payload a Ring keeps: an Ethernet frame less IP and UDP headers.
const MaxPayload = 1500 - 20 - 8

// Slot names a packet in a Ring until it is overwritten.
type Slot struct{ seq uint16 }

// Seq is the packet's sequence number.
func (s Slot) Seq() uint16 { return s.seq }

// Packet is one RTP packet without what belongs to its transport: no CSRCs, no padding, and of extensions one at most.
type Packet struct {
	Seq       uint16
	Marker    bool
	Timestamp uint32
	Arrival   int64 // nanoseconds on a clock of the caller's choice
	Payload   []byte
	Extension []byte // what the codec needs beside the payload; nil for most
}

// Verdict says what Put did with a packet.
type Verdict uint8

// Verdicts of Put.
const (
	Stored Verdict = iota
	Duplicate
	TooOld   // behind everything the ring holds
	TooLarge // payload and extension over MaxPayload
)

// Size bounds what a Ring keeps. The memory of payloads grows with the stream's bitrate until a packet is kept for
// Keep, never over Bytes.
type Size struct {
	Packets int           // rounded up to a power of two between 16 and 16384
	Bytes   int           // of payloads, rounded up to whole chunks of 16 KiB; 0 means what Packets may fill
	Keep    time.Duration // how long a packet is kept if Packets and Bytes allow; 0 means as long as they do
}

// Ring keeps the newest packets of one stream. Put may run beside any number of Gets.
type Ring struct {
	mask      uint16
	keep      int64
	maxChunks int

	mu      sync.Mutex // guards everything below; held for one copy of a packet
	entries []entry
	at      *chunk // written to
	chunks  int
	total   uint64 // payload bytes that ever came
	newest  uint16
	started bool
	badSeq  uint16 // the sequence number that would prove a restart, valid if suspect
	suspect bool
}

type entry struct {
	packet Packet // Payload is a part of the chunk
	total  uint64 // payload bytes that came before
	chunk  *chunk // nil if unused
	round  uint32 // of the chunk when the packet was written
}

// chunk is a part of a ring's memory. Its packets leave it together, when it is written anew.
type chunk struct {
	next  *chunk // older than this one, or this one
	round uint32
	used  int
	last  int64 // arrival of its last packet
	data  [chunkSize]byte
}

// chunkSize holds several packets, and little enough that a slow stream needs little.
const chunkSize = 16 << 10

// New makes a Ring.
func New(size Size) *Ring {
	n := 16
	for n < size.Packets && n < 1<<14 {
		n <<= 1
	}
	if size.Bytes <= 0 {
		size.Bytes = n * MaxPayload
	}
	r := &Ring{
		mask: uint16(n - 1), entries: make([]entry, n), chunks: 1, at: &chunk{},
		// A chunk more: the one written to is not whole.
		maxChunks: (size.Bytes+chunkSize-1)/chunkSize + 1,
		keep:      int64(size.Keep),
	}
	r.at.next = r.at
	return r
}

// Put copies p into the ring. Only what is Stored has a Slot.
func (r *Ring) Put(p *Packet) (Slot, Verdict) {
	n := len(p.Payload) + len(p.Extension)
	if n > MaxPayload {
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
	case e.chunk != nil && e.packet.Seq == p.Seq:
		return Slot{}, Duplicate
	}
	r.suspect = false

	c := r.room(n)
	payload := c.data[c.used : c.used+len(p.Payload)]
	copy(payload, p.Payload)
	extension := c.data[c.used+len(payload) : c.used+n]
	copy(extension, p.Extension)
	c.used += n
	c.last = p.Arrival
	e.packet, e.chunk, e.round, e.total = *p, c, c.round, r.total
	e.packet.Payload, e.packet.Extension = payload, extension
	r.total += uint64(len(payload))
	return Slot{seq: p.Seq}, Stored
}

// room returns the chunk that the next n bytes go into: the oldest is written anew, unless it is worth keeping and
// there may be another. Caller holds mu.
func (r *Ring) room(n int) *chunk {
	if r.at.used+n <= chunkSize {
		return r.at
	}
	oldest := r.at.next
	if r.chunks < r.maxChunks && (r.keep == 0 || oldest.last > r.at.last-r.keep) {
		oldest = &chunk{next: oldest}
		r.at.next = oldest
		r.chunks++
	}
	oldest.round++
	oldest.used = 0
	r.at = oldest
	return oldest
}

// restarted applies RFC 3550, appendix A.1: two packets in sequence, far behind, mean that the source began anew.
// Caller holds mu.
func (r *Ring) restarted(seq uint16) bool {
	if !r.suspect || seq != r.badSeq {
		r.suspect, r.badSeq = true, seq+1
		return false
	}
	for i := range r.entries {
		r.entries[i].chunk = nil
	}
	return true
}

// find returns the entry of a packet that the ring still has. Caller holds mu.
func (r *Ring) find(seq uint16) *entry {
	e := &r.entries[seq&r.mask]
	if e.chunk == nil || e.packet.Seq != seq || e.round != e.chunk.round {
		return nil
	}
	return e
}

// Get copies the packet in slot to p, its payload and extension into buf, which must hold MaxPayload bytes. It reports false when
// the packet was overwritten.
func (r *Ring) Get(slot Slot, p *Packet, buf []byte) bool {
	return r.Find(slot.seq, p, buf)
}

// Find is Get by sequence number.
func (r *Ring) Find(seq uint16, p *Packet, buf []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(seq)
	if e == nil {
		return false
	}
	*p = e.packet
	n := copy(buf, e.packet.Payload)
	p.Payload = buf[:n:n]
	p.Extension = buf[n : n+copy(buf[n:], e.packet.Extension)]
	return true
}

// Newest returns the sequence number and arrival of the newest packet. It reports false before the first.
func (r *Ring) Newest() (seq uint16, arrival int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.newest, r.entries[r.newest&r.mask].packet.Arrival, r.started
}

// Span is what came from one packet to the newest.
type Span struct {
	Newest    uint16
	Timestamp uint32 // of the newest
	Arrival   int64  // of the newest
	Packets   int    // sequence numbers, missing ones included
	Bytes     int    // payload bytes, what came late from before the first included
	// Hole is when the oldest missing packet was passed over: the arrival of the one behind it. It is 0 if none is
	// missing.
	Hole int64
}

// Span measures from the packet first to the newest. It reports false if the ring does not have first.
func (r *Ring) Span(first uint16) (Span, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.find(first)
	if e == nil || int16(r.newest-first) < 0 {
		return Span{}, false
	}
	newest := &r.entries[r.newest&r.mask].packet
	s := Span{
		Newest: r.newest, Timestamp: newest.Timestamp, Arrival: newest.Arrival,
		Packets: int(r.newest-first) + 1, Bytes: int(r.total - e.total),
	}
	missing := false
	for seq := first; seq != r.newest+1; seq++ {
		switch e := r.find(seq); {
		case e == nil:
			missing = true
		case missing:
			s.Hole = max(e.packet.Arrival, 1)
			return s, true
		}
	}
	return s, true
}
