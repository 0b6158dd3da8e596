package bandwidth

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
)

const (
	millisecond = int64(time.Millisecond)
	second      = int64(time.Second)
)

// way is a simulated bottleneck.
type way struct {
	rate     int // bit/s
	queue    int // bytes
	delay    int64
	jitter   int64
	loss     float64
	burst    float64 // mean length of losses, 0 for independent ones
	lossBack float64
}

// simulation is a camera with layers, a Controller, a way and a receiver, in virtual time.
type simulation struct {
	t      *testing.T
	way    way
	layers []int // bit/s
	wish   int   // layers that are wanted
	audio  int
	rng    *rand.Rand
	now    int64
	c      *Controller
	rec    *twcc.Recorder
	events events
	seq    uint64
	skew   int64 // of the receiver's clock

	free     int64 // when the bottleneck is
	losing   bool  // in a burst
	current  int   // layer, -1 none
	target   int
	switchAt int64
	waiting  bool // for the keyframe, and nothing is sent until then
	budget   int

	switches []string
	worst    int64 // the longest time that no frame was complete at the receiver
	lastDone int64
	drops    int
	offered  int
	padding  int
	received int
}

type event struct {
	at int64
	n  uint64
	do func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) } // only at pushes
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func simulate(t *testing.T, w way, layers ...int) *simulation {
	t.Helper()
	s := &simulation{
		t: t, way: w, layers: layers, wish: len(layers), audio: 40_000, rng: rand.New(rand.NewPCG(1, 2)),
		now: 1000 * second, current: -1, target: -1, rec: twcc.NewRecorder(1),
	}
	s.c = New(s.now, true)
	s.lastDone = s.now
	s.repeat(20*millisecond, s.tick)
	s.repeat(second/30, s.frame)
	s.repeat(20*millisecond, func() { s.send(120, nil) })
	s.repeat(80*millisecond, s.feedback)
	return s
}

func (s *simulation) at(at int64, do func()) {
	s.seq++
	heap.Push(&s.events, event{at, s.seq, do})
}

func (s *simulation) repeat(every int64, do func()) {
	var again func()
	again = func() {
		do()
		s.at(s.now+every, again)
	}
	s.at(s.now+every, again)
}

func (s *simulation) run(d time.Duration) *simulation {
	end := s.now + int64(d)
	for s.events[0].at <= end {
		e := heap.Pop(&s.events).(event) // they all are
		s.now = e.at
		e.do()
	}
	s.now = end
	return s
}

// send puts a datagram on the way.
func (s *simulation) send(size int, done func(ok bool)) {
	seq := s.c.Seq()
	s.c.Sent(s.now, size)
	size += ipUDP
	s.offered += size
	if done == nil {
		done = func(bool) {}
	}
	if s.way.rate > 0 {
		if wait := max(s.free-s.now, 0); float64(wait)/float64(second)*float64(s.way.rate)/8+float64(size) > float64(s.way.queue) {
			s.drops++
			done(false)
			return
		}
		s.free = max(s.free, s.now) + int64(float64(size)*8/float64(s.way.rate)*float64(second))
	} else {
		s.free = s.now
	}
	if s.loses() {
		done(false)
		return
	}
	arrival := s.free + s.way.delay
	if s.way.jitter > 0 {
		arrival += s.rng.Int64N(s.way.jitter)
	}
	s.at(arrival, func() {
		s.received += size
		s.rec.Record(1, seq, (s.now+s.skew+77*second)/1000)
		done(true)
	})
}

// loses decides a packet's fate as Gilbert's model does.
func (s *simulation) loses() bool {
	switch w := s.way; {
	case w.burst == 0:
		return s.rng.Float64() < w.loss
	case s.losing:
		s.losing = s.rng.Float64() >= 1/w.burst
	default:
		s.losing = s.rng.Float64() < w.loss/(w.burst*(1-w.loss))
	}
	return s.losing
}

func (s *simulation) feedback() {
	if s.rec.PacketsHeld() == 0 {
		return
	}
	for _, p := range s.rec.BuildFeedbackPacket() {
		raw, err := p.Marshal()
		if err != nil {
			s.t.Fatal(err)
		}
		if s.rng.Float64() >= s.way.lossBack {
			s.at(s.now+s.way.delay, func() { s.c.Feedback(s.now, raw) })
		}
	}
}

// need is what it takes to send a layer.
func (s *simulation) need(layer int) int {
	if layer < 0 {
		return s.audio
	}
	return s.audio + s.layers[layer]
}

func (s *simulation) tick() {
	d := Demand{Sent: s.need(s.target), Last: s.target == 0}
	if s.target+1 < s.wish {
		d.Next = s.need(s.target+1) * 11 / 10
		d.Goal = s.need(s.wish-1) * 11 / 10
	}
	decision := s.c.Tick(s.now, d)
	s.budget = decision.Budget
	for sent := 0; sent < decision.Padding; sent += 1100 {
		s.padding += 1100
		s.send(1100, nil)
	}
	best := -1
	for i := range s.wish {
		need := s.need(i)
		if i > s.target {
			need = need * 11 / 10
		}
		if need <= s.budget || i == 0 && !decision.Starving || i == s.target && decision.Keep {
			best = i
		}
	}
	if best != s.target {
		s.target, s.switchAt = best, s.now+60*millisecond // for the keyframe
		s.waiting = decision.Hopeless
		s.switches = append(s.switches, fmt.Sprintf("%.2fs:%d(%dk)", float64(s.now-1000*second)/float64(second), best, s.budget/1000))
	}
}

// frame sends a frame of what is followed; it is complete when its last packet is.
func (s *simulation) frame() {
	if s.target != s.current && s.now >= s.switchAt {
		s.current, s.waiting = s.target, false
	}
	if s.waiting {
		return
	}
	if s.current < 0 {
		s.lastDone = s.now
		return
	}
	size := int(float64(s.layers[s.current]) / 8 / 30 * (0.75 + 0.5*s.rng.Float64()))
	n := size/1100 + 1
	left, good := n, true
	for range n {
		s.send(size/n, func(ok bool) {
			left--
			good = good && ok || s.way.loss > 0 // losses are repaired
			if left == 0 && good {
				s.worst = max(s.worst, s.now-s.lastDone)
				s.lastDone = s.now
			}
		})
	}
}

func (s *simulation) String() string {
	return fmt.Sprintf("layer %d, rate %dk, budget %dk, worst gap %dms, drops %d, padding %d of %d bytes, switches %v, %+v",
		s.current, s.c.Rate()/1000, s.budget/1000, s.worst/millisecond, s.drops, s.padding, s.offered, s.switches, s.c.stats)
}
