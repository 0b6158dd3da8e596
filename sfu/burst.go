package sfu

import (
	"iter"
	"time"

	"github.com/securecam/securecam/sfu/ring"
)

const (
	// maxBurst is the number of packets that are forwarded together: what one segmented message can hold.
	maxBurst = 64
	// maxPadding is what one byte can say: RFC 3550, section 5.1.
	maxPadding = 255
	// paddingShare is the share of a burst's bytes, one in so many, that padding may add.
	paddingShare = 20
)

// burst is the packets that a shard forwards together. Each is copied out of its ring once, for all viewers.
type burst struct {
	n       int
	jobs    [maxBurst]job
	packets [maxBurst]ring.Packet
	padding [maxBurst]uint8 // bytes of RTP padding that make a fan's packets equally long
	buffers [maxBurst][ring.MaxPayload]byte
}

func (b *burst) begin() { b.n = 0 }

func (b *burst) full() bool { return b.n == maxBurst }

// add copies the job's packet. It reports false when the ring has it no more.
func (b *burst) add(j job) bool {
	if !j.layer.ring.Get(j.slot, &b.packets[b.n], b.buffers[b.n][:]) {
		return false
	}
	b.jobs[b.n], b.padding[b.n] = j, 0
	b.n++
	return true
}

// complete reports whether the newest packet of every layer ends a frame.
func (b *burst) complete() bool {
	for i := range b.n {
		if b.newest(i) && !b.packets[i].Marker && b.jobs[i].layer.track.spec.kind == video {
			return false
		}
	}
	return true
}

// newest reports whether no later packet is of the same layer to the same fan.
func (b *burst) newest(i int) bool {
	for k := i + 1; k < b.n; k++ {
		if b.jobs[k].fan == b.jobs[i].fan && b.jobs[k].layer == b.jobs[i].layer {
			return false
		}
	}
	return true
}

// fans returns the first packet of each fan.
func (b *burst) fans() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range b.n {
			if b.first(i) && !yield(i) {
				return
			}
		}
	}
}

func (b *burst) first(i int) bool {
	for k := range i {
		if b.jobs[k].fan == b.jobs[i].fan {
			return false
		}
	}
	return true
}

// of returns the packets of the fan of the packet first, in order.
func (b *burst) of(first int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := first; i < b.n; i++ {
			if b.jobs[i].fan == b.jobs[first].fan && !yield(i) {
				return
			}
		}
	}
}

// pad makes the packets of each layer of a fan equally long where that is cheap: the kernel splits a message only into
// equal segments. The last one may be shorter by itself.
func (b *burst) pad(first int) {
	for i := range b.of(first) {
		if b.begins(first, i) {
			b.padLayer(i)
		}
	}
}

// begins reports whether no packet of the fan before i is of the same layer.
func (b *burst) begins(first, i int) bool {
	for k := first; k < i; k++ {
		if b.jobs[k].fan == b.jobs[i].fan && b.jobs[k].layer == b.jobs[i].layer {
			return false
		}
	}
	return true
}

func (b *burst) padLayer(first int) {
	l := b.jobs[first].layer
	longest, total, last := 0, 0, first
	for i := range b.of(first) {
		if b.jobs[i].layer == l {
			n := len(b.packets[i].Payload)
			longest, total, last = max(longest, n), total+n, i
		}
	}
	extra := 0
	for i := range b.of(first) {
		if missing := longest - len(b.packets[i].Payload); b.jobs[i].layer == l && i != last && missing <= maxPadding {
			extra += missing
		}
	}
	if extra*paddingShare > total {
		return
	}
	for i := range b.of(first) {
		n := len(b.packets[i].Payload)
		if b.jobs[i].layer == l && i != last && n > 0 && longest-n <= maxPadding {
			b.padding[i] = uint8(longest - n)
		}
	}
}

const (
	// paceWindow is over how long a shard's work is weighed: long enough that one stall of the machine does not count.
	paceWindow = 500 * time.Millisecond
	// paceStep is what waits are multiples of, and paceSlack what is added: Go's scheduler rounds what it waits down to
	// milliseconds, and would wake twice for less.
	paceStep, paceSlack = time.Millisecond, 10 * time.Microsecond
)

// Shares of a core that a shard works, and what it does then.
const (
	// pairFrom is where it begins to wait for a second packet: what a message costs the kernel is shared by two, and a
	// third would save less. Before that it sends each packet at once.
	pairFrom = 0.05
	// moreFrom is where it begins to wait for more.
	moreFrom = 0.15
	// allFrom is where it waits for all of a frame.
	allFrom = 0.3
	// pairing is the part of the window that a second packet is worth.
	pairing = 0.4
)

// patienceAt says which part of the window a shard waits that works so large a share of the time, and for how many packets.
func patienceAt(share float64) (part float64, enough int) {
	if share < pairFrom {
		return 0, 1
	}
	more := min(max((share-moreFrom)/(allFrom-moreFrom), 0), 1)
	return pairing + more*(1-pairing), 2 + int(more*(maxBurst-2))
}

// pace decides how long a shard waits for the rest of a frame. An idle one sends every packet at once; the busier it
// is, the more a message with more segments is worth.
type pace struct {
	window time.Duration // longest wait, 0 for none
	since  int64         // when busy was 0, on the clock of packet arrivals; 0 before the first burst
	busy   int64         // nanoseconds worked since then
	share  float64       // of a core, in the last paceWindow
}

// patience is how long to wait now, and for how many packets.
func (p *pace) patience() (wait time.Duration, enough int) {
	part, enough := patienceAt(p.share)
	wait = time.Duration(float64(p.window) * part).Round(paceStep)
	if wait == 0 {
		return 0, 1
	}
	return min(wait, p.window) + paceSlack, enough
}

// worked takes into account what a burst cost that began at began, was taken at taken, and ended at now.
func (p *pace) worked(began, taken, now int64) {
	if p.since == 0 {
		p.since = began
	}
	p.busy += now - taken
	if span := now - p.since; span >= int64(paceWindow) {
		p.share = float64(p.busy) / float64(span)
		p.since, p.busy = now, 0
	}
}
