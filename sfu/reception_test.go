package sfu

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const tick = int64(reorderDelay)

func newReception() *reception { return &reception{ssrc: 7, clockRate: 90000} }

// TestReceptionAsks follows one lost packet: it is asked for after the reordering delay, again and again, ever more
// slowly, and given up in the end.
func TestReceptionAsks(t *testing.T) {
	t.Parallel()
	r := newReception()
	r.arrived(65534, 0, 0)
	r.arrived(1, 3000, tick) // 65535 and 0 are missing
	if got := r.overdue(2*tick-1, nil); len(got) != 0 {
		t.Errorf("asked for %v before the packets could be late", got)
	}
	if got := r.overdue(2*tick, nil); !slices.Equal(got, []uint16{65535, 0}) {
		t.Fatalf("asked for %v, want 65535 and 0", got)
	}
	if got := r.overdue(2*tick+1, nil); len(got) != 0 {
		t.Errorf("asked for %v twice in one breath", got)
	}
	r.arrived(0, 3000, 3*tick)
	asked := 1
	for now := 3 * tick; now < int64(time.Minute); now += tick {
		if got := r.overdue(now, nil); len(got) > 0 {
			if !slices.Equal(got, []uint16{65535}) {
				t.Fatalf("asked for %v, want 65535 alone: 0 has come", got)
			}
			asked++
		}
	}
	if asked != nackTries || r.n != 0 {
		t.Errorf("asked %d times and %d packets are still missing, want %d times and none", asked, r.n, nackTries)
	}
}

// TestReceptionGap holds that a hole too large to be filled packet by packet is given up at once.
func TestReceptionGap(t *testing.T) {
	t.Parallel()
	r := newReception()
	r.arrived(1, 0, 0)
	if r.arrived(1+maxMissing, 0, 0) {
		t.Error("a hole of as many packets as may be missing is too large")
	}
	if !r.arrived(3+2*maxMissing, 0, 0) || r.n != 0 {
		t.Errorf("a larger hole leaves %d packets to ask for, want a keyframe instead", r.n)
	}
}

func TestReceiverReport(t *testing.T) {
	t.Parallel()
	r := newReception()
	if _, ok := r.block(0); ok {
		t.Error("there is a report before the first packet")
	}
	for _, seq := range []uint16{65533, 65534, 65535, 1, 2, 4} { // 0 and 3 are lost
		r.arrived(seq, uint32(seq)*3000, int64(seq)*int64(time.Second)/30)
	}
	r.sentReport(0x1122334455667788, int64(time.Second))
	b, ok := r.block(int64(3 * time.Second / 2))
	if !ok || b.SSRC != 7 || b.Lost != 2 || b.FractionLost != 2*256/8 || b.Highest != 1<<16|4 {
		t.Errorf("got %+v, want 2 of 8 lost and 4 the highest after one cycle", b)
	}
	if b.LastSR != 0x33445566 || b.Delay != 1<<15 {
		t.Errorf("got %+v, want the middle of the NTP time and half a second", b)
	}
	r.arrived(0, 0, 0) // late
	if b, _ := r.block(0); b.Lost != 1 || b.FractionLost != 0 {
		t.Errorf("got %+v, want one lost in all and none since", b)
	}
}

// TestReceptionModel compares with a set: whatever comes in whatever order, only what did not come is asked for.
func TestReceptionModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newReception()
		start := rapid.Uint16().Draw(t, "start")
		came := map[uint16]bool{}
		next := start
		now := int64(0)
		r.arrived(start, 0, now)
		came[start] = true
		next++
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			now += tick
			seq := next + uint16(rapid.IntRange(-20, 30).Draw(t, "offset"))
			r.arrived(seq, 0, now)
			came[seq] = true
			if int16(seq-next) >= 0 {
				next = seq + 1
			}
			for _, asked := range r.overdue(now, nil) {
				if came[asked] {
					t.Fatalf("asked for %d, which came", asked)
				}
				if int16(asked-start) < 0 || int16(asked-next) >= 0 {
					t.Fatalf("asked for %d outside of %d to %d", asked, start, next)
				}
			}
		}
	})
}
