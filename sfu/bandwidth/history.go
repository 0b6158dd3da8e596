package bandwidth

// historySize is how many packets are remembered: two seconds at 10 Mbit/s. It is a power of two.
const historySize = 2048

// sent is one packet that was sent.
type sent struct {
	at    int64
	size  uint16 // with IP and UDP headers
	probe uint8  // number of the probe that it belongs to, 0 for none
	state uint8
}

const (
	unused uint8 = iota
	flying
	reportedLost // and may still be reported to have come
	arrived
)

// history is what was sent lately, by transport-wide number.
type history struct {
	next    uint16
	count   uint64 // sent in all
	packets [historySize]sent
}

// add records the packet of the next number.
func (h *history) add(now int64, size int, probe uint8) {
	h.packets[h.next%historySize] = sent{at: now, size: uint16(min(max(size, 0), 1<<16-1)), probe: probe, state: flying}
	h.next++
	h.count++
}

// find returns the packet of that number, nil if it was never sent or is forgotten.
func (h *history) find(seq uint16) *sent {
	back := h.next - 1 - seq
	if back >= historySize || uint64(back) >= h.count {
		return nil
	}
	return &h.packets[seq%historySize]
}
