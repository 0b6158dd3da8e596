package sfu

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const tick = int64(reorderDelay)

func newReception() *reception { return &reception{ssrc: 7, clockRate: 90000} }

// TestReceptionAsks follows one lost packet: it is asked for after the reordering delay, twice, again and again, ever more
// slowly, and given up in the end.
func TestReceptionAsks(t *testing.T) {
	t.Parallel()
	r := newReception()
	r.arrived(65534, 0, 0)
	r.arrived(1, 3000, tick) // 65535 and 0 are missing
	if got, _ := r.overdue(2*tick-1, nil); len(got) != 0 {
		t.Errorf("asked for %v before the packets could be late", got)
	}
	if got, _ := r.overdue(2*tick, nil); !slices.Equal(got, []uint16{65535, 0}) {
		t.Fatalf("asked for %v, want 65535 and 0", got)
	}
	if got, _ := r.overdue(2*tick+1, nil); len(got) != 0 {
		t.Errorf("asked for %v twice in one breath", got)
	}
	r.arrived(0, 3000, 3*tick)
	asked, given := 1, 0
	for now := 3 * tick; now < int64(time.Minute); now += tick {
		got, lost := r.overdue(now, nil)
		if lost {
			given++
		}
		if len(got) > 0 {
			if !slices.Equal(got, []uint16{65535}) {
				t.Fatalf("asked for %v, want 65535 alone: 0 has come", got)
			}
			asked++
		}
	}
	if asked != 2*nackRounds || r.n != 0 || given != 1 {
		t.Errorf("asked %d times, %d packets are still missing and %d given up, want %d times, none and 1",
			asked, r.n, given, 2*nackRounds)
	}
}

// TestReceptionMeasures has a camera answer after one round trip, after two when the first answer was lost, or at once
// when it had sent the packet again by itself: the next round begins just after a round trip.
func TestReceptionMeasures(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		r := newReception()
		now := int64(0)
		for i := range uint16(100) {
			r.arrived(2*i, 0, now)
			r.arrived(2*i+2, 0, now)
			now += tick
			if asked, _ := r.overdue(now, nil); len(asked) != 1 {
				t.Fatalf("asked for %v", asked)
			}
			answer := now + int64(rtt)
			switch i % 5 {
			case 2:
				answer += int64(rtt)
			case 4:
				answer = now
			}
			for ; now < answer; now += int64(time.Millisecond) {
				r.overdue(now, nil)
			}
			r.answered(2*i+1, now)
			if got := r.round(); i > 0 && (got < rtt || got > rtt+rtt/2) {
				t.Fatalf("round trip %s: asks again after %s", rtt, got)
			}
		}
	}
}

// TestReceptionOutage has a camera away for half a second: of all that it sends again then, little counts for how far it is.
func TestReceptionOutage(t *testing.T) {
	t.Parallel()
	const rtt, lost = int64(50 * time.Millisecond), 20
	r := newReception()
	now, seq := int64(0), uint16(0)
	lose := func(n uint16, away int64) {
		r.arrived(seq, 0, now)
		r.arrived(seq+n+1, 0, now)
		now += tick
		r.overdue(now, nil)
		now += rtt + away
		for i := range n {
			r.answered(seq+1+i, now)
		}
		seq += n + 2
	}
	for range rttSamples {
		lose(1, 0)
	}
	lose(lost, int64(time.Second)/2)
	if got := r.rtt; got != time.Duration(rtt) {
		t.Errorf("round trip %s: measured %s", time.Duration(rtt), got)
	}
}

// TestReceptionDeaf has a camera that answers nothing: a keyframe is asked for sooner with time, until it answers.
func TestReceptionDeaf(t *testing.T) {
	t.Parallel()
	r := newReception()
	seq, now := uint16(0), int64(0)
	lose := func() (tries int) {
		r.arrived(seq, 0, now)
		seq += 2
		r.arrived(seq, 0, now)
		for lost := false; !lost; now += int64(time.Millisecond) {
			var asked []uint16
			asked, lost = r.overdue(now, nil)
			tries += len(asked)
		}
		return tries
	}
	for i := range deafAfter {
		if n := lose(); n != 2*nackRounds {
			t.Fatalf("packet %d was asked for %d times", i, n)
		}
	}
	if n := lose(); n != 2*deafRounds {
		t.Errorf("a deaf camera was asked %d times", n)
	}
	r.arrived(seq+2, 0, now)
	now += tick
	r.overdue(now, nil)
	r.answered(seq+1, now+2*tick)
	seq += 2
	if n := lose(); n != nackRounds { // it is near: nothing is asked for twice in a round
		t.Errorf("a camera that hears again was asked %d times", n)
	}
}

// TestReceptionForgets holds that what is missing from before a keyframe costs no other one.
func TestReceptionForgets(t *testing.T) {
	t.Parallel()
	r := newReception()
	r.arrived(65534, 0, 0)
	r.arrived(0, 0, 0)
	r.keyframeAt(0)
	for now := int64(0); r.n > 0; now += tick {
		if _, lost := r.overdue(now, nil); lost {
			t.Error("a keyframe is asked for after one came")
		}
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
			overdue, _ := r.overdue(now, nil)
			for _, asked := range overdue {
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

// TestReceptionPlain has a camera without RTX send what was lost in the stream itself: it is not deaf, and its way is
// measured.
func TestReceptionPlain(t *testing.T) {
	t.Parallel()
	const rtt = 60 * time.Millisecond
	r := newReception()
	r.plain = true
	now := int64(0)
	for i := range uint16(2 * deafAfter) {
		r.arrived(2*i, 0, now)
		r.arrived(2*i+2, 0, now)
		now += tick
		if asked, _ := r.overdue(now, nil); len(asked) != 1 {
			t.Fatalf("asked for %v", asked)
		}
		now += int64(rtt)
		r.arrived(2*i+1, 0, now)
	}
	if r.rtt != rtt || r.unheard != 0 || r.repaired != 2*deafAfter {
		t.Errorf("round trip %s, %d unheard, %d repaired", r.rtt, r.unheard, r.repaired)
	}
}

// TestReceptionAway has the first answer of all come after a long outage: what is lost then is not waited for as long.
func TestReceptionAway(t *testing.T) {
	t.Parallel()
	r := newReception()
	r.arrived(1, 0, 0)
	r.arrived(3, 0, 0)
	r.overdue(tick, nil)
	r.answered(2, int64(5*time.Second))
	if got := r.round(); got > maxAnswer+roundSlack {
		t.Errorf("asks again after %s", got)
	}
}
