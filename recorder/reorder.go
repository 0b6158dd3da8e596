package recorder

import "time"

const (
	reorderWindow = 512 // packets: farther apart, a sequence number is a new beginning
	reorderHeld   = 256 // packets: as many wait for a missing one at most
	strayLimit    = 64  // packets in a row behind the sequence: then it has been begun anew
)

// reorderBuffer brings the packets of one track into the order of their sequence numbers. A missing packet is
// waited for, up to a time and a count, and then given up.
type reorderBuffer struct {
	wait    time.Duration
	slots   [reorderWindow]*packet
	begun   bool
	next    uint16
	held    int
	skipped int    // packets given up in front of next
	stray   uint16 // what would continue a new sequence
	strays  int
}

// full reports whether p lies so far ahead that what is held has to be taken out first.
func (b *reorderBuffer) full(p *packet) bool {
	return b.held > 0 && int16(p.sequence-b.next) >= reorderWindow
}

// push takes a packet in. It reports false for one that is there already or comes too late.
func (b *reorderBuffer) push(p *packet) bool {
	ahead := int(int16(p.sequence - b.next))
	switch {
	case !b.begun:
		b.begun, b.next = true, p.sequence
	case ahead >= reorderWindow:
		b.skipped += ahead
		b.next = p.sequence
	case ahead < 0:
		if !b.restarts(p, -ahead) {
			return false
		}
	}
	slot := &b.slots[p.sequence%reorderWindow]
	if *slot != nil {
		return false
	}
	*slot = p
	b.held++
	b.strays = 0
	return true
}

// restarts reports whether p, which lies behind, goes on with a new sequence: RFC 3550, appendix A.1.
func (b *reorderBuffer) restarts(p *packet, behind int) bool {
	if p.sequence != b.stray {
		b.strays = 0
	}
	b.stray = p.sequence + 1
	b.strays++
	if b.held > 0 || b.strays < 2 || behind <= reorderWindow && b.strays < strayLimit {
		return false
	}
	b.next = p.sequence
	b.skipped++
	return true
}

// pop returns the next packet, and how many before it were given up; nil when it is not there yet.
func (b *reorderBuffer) pop(now time.Time) (p *packet, lost int) {
	if b.held == 0 {
		return nil, 0
	}
	ahead := b.gap()
	if p = b.slots[(b.next+ahead)%reorderWindow]; ahead > 0 &&
		!p.after && b.held < reorderHeld && now.Sub(p.arrived) < b.wait {
		return nil, 0
	}
	return b.take(ahead)
}

// flush returns the next packet that is there, without waiting.
func (b *reorderBuffer) flush() (p *packet, lost int) {
	if b.held == 0 {
		return nil, 0
	}
	return b.take(b.gap())
}

// gap returns how many packets are missing in front of the next one that is there.
func (b *reorderBuffer) gap() uint16 {
	var ahead uint16
	for b.slots[(b.next+ahead)%reorderWindow] == nil {
		ahead++
	}
	return ahead
}

func (b *reorderBuffer) take(ahead uint16) (p *packet, lost int) {
	i := (b.next + ahead) % reorderWindow
	p, b.slots[i] = b.slots[i], nil
	b.held--
	lost = b.skipped + int(ahead)
	b.next, b.skipped = p.sequence+1, 0
	return p, lost
}
