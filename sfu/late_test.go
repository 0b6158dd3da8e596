package sfu

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestExpectsLate has a camera on a way that loses requests and answers as it loses packets: players are told to wait
// as long as nearly all of those take, not much longer, and no more once nothing is lost.
func TestExpectsLate(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{40 * time.Millisecond, 100 * time.Millisecond, 160 * time.Millisecond} {
		for seed := range uint64(10) {
			w := lossyCamera{
				random: rand.New(rand.NewPCG(seed, 0)), rtt: rtt, loss: 0.05,
				layer: &layer{reception: *newReception(), keys: newKeyframes(time.Second, nil)},
			}
			w.run(3 * time.Second)
			w.late, w.lost = 0, 0
			w.run(time.Minute)
			if delay := time.Duration(w.layer.late.Load()); delay < 2*rtt || delay > 3*rtt+100*time.Millisecond {
				t.Errorf("round trip %s: waits %s", rtt, delay)
			}
			if w.late*300 > w.lost {
				t.Errorf("round trip %s, seed %d: %d of %d lost packets came too late", rtt, seed, w.late, w.lost)
			}
			w.loss = 0
			w.run(calmAfter + time.Second)
			if delay := w.layer.late.Load(); delay != 0 {
				t.Errorf("round trip %s: waits %s for nothing", rtt, time.Duration(delay))
			}
		}
	}
}

// lossyCamera is a camera's way to a layer in virtual time, in steps of a millisecond.
type lossyCamera struct {
	layer      *layer
	random     *rand.Rand
	rtt        time.Duration
	loss       float64
	now        time.Duration
	seq        uint16
	due        map[uint16]time.Duration // of what was lost: when it should have come
	answers    map[time.Duration][]uint16
	late, lost int
}

func (w *lossyCamera) loses() bool { return w.random.Float64() < w.loss }

func (w *lossyCamera) run(d time.Duration) {
	const packets = 8 * time.Millisecond
	if w.due == nil {
		w.due, w.answers = make(map[uint16]time.Duration), make(map[time.Duration][]uint16)
	}
	for end := w.now + d; w.now < end; w.now += time.Millisecond {
		now := int64(w.now)
		if w.now%packets == 0 {
			if w.seq++; w.loses() {
				w.due[w.seq] = w.now
				w.lost++
			} else {
				w.layer.reception.arrived(w.seq, 0, now)
			}
		}
		for _, seq := range w.answers[w.now] {
			if at, ok := w.due[seq]; ok && w.now-at > time.Duration(w.layer.late.Load()) {
				w.late++
			}
			delete(w.due, seq)
			w.layer.reception.answered(seq, now)
		}
		delete(w.answers, w.now)
		asked, _ := w.layer.reception.overdue(now, nil)
		for _, seq := range asked {
			if onTheWay, back := w.loses(), w.loses(); !onTheWay && !back {
				w.answers[w.now+w.rtt] = append(w.answers[w.now+w.rtt], seq)
			}
		}
		w.layer.expectLate(now)
		w.layer.late.Store(int64(w.layer.wait.calm(w.now)))
	}
}
