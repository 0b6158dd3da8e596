package bandwidth

import "time"

const (
	meterSlots = 20
	meterSlot  = int64(25 * time.Millisecond)
	// meterLeast is the shortest time that says something about a rate.
	meterLeast = 6
)

// meter measures a rate over the last half second, in slots.
type meter struct {
	slots [meterSlots]uint32 // bytes
	head  int64              // number of the newest slot
	first int64              // number of the first one
	begun bool
}

// add counts bytes at a time. What is older than the window is left out.
func (m *meter) add(at int64, size int) {
	n := at / meterSlot
	if !m.begun {
		m.begun, m.head, m.first = true, n, n+1
	}
	m.advance(n)
	if m.head-n < meterSlots {
		m.slots[((n%meterSlots)+meterSlots)%meterSlots] += uint32(size)
	}
}

func (m *meter) advance(n int64) {
	if n-m.head >= meterSlots {
		m.slots, m.head = [meterSlots]uint32{}, n
	}
	for m.head < n {
		m.head++
		m.slots[((m.head%meterSlots)+meterSlots)%meterSlots] = 0
	}
}

// knows reports whether it was begun long enough ago to tell a rate, also that of nothing.
func (m *meter) knows(now int64) bool {
	return m.begun && max(m.head, now/meterSlot)-m.first >= meterLeast
}

// rate returns bits a second up to now, 0 while too little was seen.
func (m *meter) rate(now int64) int { return m.over(now, meterSlots-1) }

// over is rate over a number of whole slots. The slot that now is in counts in part.
func (m *meter) over(now, slots int64) int {
	if !m.begun {
		return 0
	}
	m.advance(now / meterSlot)
	slots = min(m.head-m.first, slots)
	if slots < meterLeast {
		return 0
	}
	sum := uint64(0)
	for n := m.head - slots; n <= m.head; n++ {
		sum += uint64(m.slots[((n%meterSlots)+meterSlots)%meterSlots])
	}
	span := slots*meterSlot + now%meterSlot
	return int(float64(sum) * 8 / (float64(span) / float64(time.Second)))
}
