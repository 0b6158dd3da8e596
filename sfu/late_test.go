package sfu

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestExpectsLate has a camera on a way that loses requests and answers as it loses packets: players are told to wait
// as long as nearly all of those take, not much longer, and no more once nothing is lost. What takes longer still, as
// both the first and the second answer were lost, is not late by so much that the picture is seen to stand.
func TestExpectsLate(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{40 * time.Millisecond, 100 * time.Millisecond, 160 * time.Millisecond} {
		lost, late, stood := 0, 0, 0
		for seed := range uint64(10) {
			w := newLossyCamera(seed, rtt, 0.05, 4)
			w.run(3 * time.Second)
			w.late, w.stood, w.lost = 0, 0, 0
			w.run(time.Minute)
			if delay := time.Duration(w.layer.late.Load()); delay < 2*rtt || delay > 3*rtt+100*time.Millisecond {
				t.Errorf("round trip %s: waits %s", rtt, delay)
			}
			lost, late, stood = lost+w.lost, late+w.late, stood+w.stood
			w.loss = 0
			w.run(calmAfter + time.Second)
			if delay := w.layer.late.Load(); delay != 0 {
				t.Errorf("round trip %s: waits %s for nothing", rtt, time.Duration(delay))
			}
		}
		t.Logf("round trip %s: of %d lost packets %d came too late, %d so much that it is seen", rtt, lost, late, stood)
		if late*150 > lost || stood*1500 > lost {
			t.Errorf("round trip %s: of %d lost packets %d came too late, %d so much that it is seen", rtt, lost, late, stood)
		}
	}
}

// TestRepairs has a camera lose a twentieth of what goes either way. A lost packet is missing until another tells of it,
// and then for little more than the round trips that it takes: one, and one more for each answer that is lost.
func TestRepairs(t *testing.T) {
	t.Parallel()
	const (
		rtt   = 100 * time.Millisecond
		first = frameTime + reorderDelay + rtt + repeatAfter
		round = rtt + roundSlack + 2*askTick
	)
	for _, packets := range []int{1, 4, 12} {
		var took []time.Duration
		asked, lost := 0, 0
		for seed := range uint64(20) {
			w := newLossyCamera(seed, rtt, 0.05, packets)
			w.run(time.Minute)
			took, asked, lost = append(took, w.took...), asked+w.asked, lost+w.lost
		}
		slices.Sort(took)
		t.Logf("%d packets a frame: %d lost, each asked for %.2f times", packets, lost, float64(asked)/float64(lost))
		if asked*2 > lost*5 {
			t.Errorf("%d packets a frame: %d lost packets are asked for %d times", packets, lost, asked)
		}
		for _, want := range []struct {
			share float64
			most  time.Duration
		}{{.5, first}, {.9, first + frameTime}, {.99, first + round}, {.999, first + 2*round}} {
			got := took[int(want.share*float64(len(took)-1))]
			t.Logf("%d packets a frame: of lost ones %.1f%% are missing for %s or less", packets, 100*want.share, got)
			if got > want.most {
				t.Errorf("%d packets a frame: of lost ones %.1f%% are missing for up to %s, want %s", packets, 100*want.share, got, want.most)
			}
		}
	}
}

// frameTime is the time from one frame to the next, freezeTime for how much longer than that a picture has to stand to be
// seen to: what browsers count as a freeze.
const frameTime, freezeTime = 33 * time.Millisecond, 150 * time.Millisecond

// lossyCamera is a camera's way to a layer in virtual time, in steps of a millisecond. Like Chromium it sends nothing
// again that it did within a round trip, of which it thinks a little more than it is.
type lossyCamera struct {
	layer   *layer
	random  *rand.Rand
	rtt     time.Duration
	loss    float64
	packets int // a frame
	now     time.Duration
	seq     uint16
	frame   time.Duration            // when the next one comes
	left    int                      // packets of the last one that come yet
	due     map[uint16]time.Duration // of what was lost: when it should have come
	resent  map[uint16]time.Duration
	answers map[time.Duration][]uint16

	told   extensions               // a viewer's
	frames []shownFrame             // sent
	came   map[uint16]time.Duration // when each packet did

	took        []time.Duration
	lost, asked int
	late, stood int // later than players wait; and by more than is seen
}

func newLossyCamera(seed uint64, rtt time.Duration, loss float64, packets int) *lossyCamera {
	return &lossyCamera{
		random: rand.New(rand.NewPCG(seed, 0)), rtt: rtt, loss: loss, packets: packets,
		layer: &layer{reception: *newReception(), keys: newKeyframes(time.Second, nil)},
		told:  extensions{delayAt: 1}, came: map[uint16]time.Duration{},
		due: map[uint16]time.Duration{}, resent: map[uint16]time.Duration{}, answers: map[time.Duration][]uint16{},
	}
}

func (w *lossyCamera) loses() bool { return w.random.Float64() < w.loss }

func (w *lossyCamera) run(d time.Duration) {
	for end := w.now + d; w.now < end; w.now += time.Millisecond {
		now, ask := int64(w.now), w.now%askTick == 0
		if w.now >= w.frame {
			w.frame, w.left = w.now+frameTime, w.packets
			w.tell()
		}
		if w.left > 0 {
			w.left--
			if w.seq++; w.loses() {
				w.due[w.seq] = w.now
				w.lost++
			} else {
				w.layer.reception.arrived(w.seq, 0, now)
				w.came[w.seq] = w.now
				ask = true
			}
		}
		for _, seq := range w.answers[w.now] {
			w.note(seq)
			w.layer.reception.answered(seq, now)
		}
		delete(w.answers, w.now)
		if ask {
			asked, _ := w.layer.reception.overdue(now, nil)
			w.answer(asked)
			w.layer.expectLate(now)
		}
		w.layer.late.Store(int64(w.layer.wait.calm(w.now)))
	}
}

// tell has a viewer wait, from the next frame on.
func (w *lossyCamera) tell() {
	const rate = 90000
	w.told.setDelay(time.Duration(w.layer.late.Load()), anyDelay)
	w.told.approach(uint32(ticks(w.now, rate)), rate)
	w.frames = append(w.frames, shownFrame{
		at: w.now, told: time.Duration(w.told.delay>>delayBits) * delayUnit, first: w.seq + 1, last: w.seq + uint16(w.packets),
	})
}

// note weighs a repair.
func (w *lossyCamera) note(seq uint16) {
	due, ok := w.due[seq]
	if !ok {
		return
	}
	delete(w.due, seq)
	w.came[seq] = w.now
	took := w.now - due
	w.took = append(w.took, took)
	switch late := took - time.Duration(w.layer.late.Load()); {
	case late > freezeTime:
		w.stood++
		fallthrough
	case late > 0:
		w.late++
	}
}

// answer is what the camera makes of a request.
func (w *lossyCamera) answer(seqs []uint16) {
	const doubt = 5 * time.Millisecond
	w.asked += len(seqs)
	if len(seqs) == 0 || w.loses() {
		return
	}
	for _, seq := range seqs {
		if at, again := w.resent[seq]; again && w.now-at < w.rtt+doubt {
			continue
		}
		if w.resent[seq] = w.now; !w.loses() {
			w.answers[w.now+w.rtt] = append(w.answers[w.now+w.rtt], seq)
		}
	}
}

// shownFrame is a frame as a player gets it.
type shownFrame struct {
	at, told    time.Duration // when it should come, and for how long players were told then to hold pictures back
	first, last uint16
}

// standstills plays what came as browsers do: frames are shown in order, each after the delay, which is what the server
// wants at once, and else comes to what frames need by 100 ms a second and by each that is late. It returns the times
// between two pictures that count as freezes. Nothing counts before since.
func (w *lossyCamera) standstills(t *testing.T, since time.Duration) (freezes []time.Duration) {
	t.Helper()
	const jitter = 40 * time.Millisecond // what players allow for by themselves
	complete, shown, delay := time.Duration(0), time.Duration(0), jitter
	for _, f := range w.frames {
		for seq := f.first; seq != f.last+1; seq++ {
			at, ok := w.came[seq]
			if !ok {
				t.Fatalf("packet %d never came", seq)
			}
			complete = max(complete, at)
		}
		target := max(f.told, jitter)
		delay += max(-frameTime/10, min(target-delay, frameTime/10))
		due := f.at + max(delay, f.told)
		if complete > due {
			delay = min(delay+complete-due, target)
		}
		before := shown
		shown = max(shown, due, complete)
		if gap := shown - before; f.at > since && gap > frameTime+freezeTime {
			freezes = append(freezes, gap)
		}
	}
	return freezes
}

// TestShowsOn has viewers on a good way watch a camera on one that loses a twentieth either way, from the first loss on:
// the picture stands still for less than a hundredth of the time, and never for long.
func TestShowsOn(t *testing.T) {
	t.Parallel()
	const settling, length, seeds = 5 * time.Second, 35 * time.Second, 20
	for _, packets := range []int{1, 4, 12} {
		frozen, longest, first, worst := time.Duration(0), time.Duration(0), time.Duration(0), time.Duration(0)
		for seed := range uint64(seeds) {
			w := newLossyCamera(seed, 100*time.Millisecond, 0, packets)
			w.run(time.Second)
			w.loss = 0.05
			w.run(length)
			w.loss = 0
			w.run(2 * time.Second)
			sum := time.Duration(0)
			for _, gap := range w.standstills(t, settling) {
				sum += gap
				longest = max(longest, gap)
			}
			frozen, worst = frozen+sum, max(worst, sum)
			for _, gap := range w.standstills(t, 0) {
				first = max(first, gap)
			}
		}
		t.Logf("%d packets a frame: frozen for %.2f%%, of one run %s at most, longest %s, from the first loss on %s", packets,
			100*float64(frozen)/float64(seeds*(length-settling)), worst, longest, first)
		if window := length - settling; worst > window/100 || longest > 300*time.Millisecond || first > 500*time.Millisecond {
			t.Errorf("%d packets a frame: frozen for up to %s of %s, once for %s, at first for %s", packets, worst, window, longest, first)
		}
	}
}
