package bandwidth

import (
	"math"
	"testing"
	"time"
)

// TestNarrowsTwice: a way that becomes narrower, and narrower again while the queue of the first time stands still, is
// believed to carry what comes through by then, not the mean since the queue began.
func TestNarrowsTwice(t *testing.T) {
	t.Parallel()
	s := simulate(t, way{rate: 1_000_000, queue: 1 << 20, delay: 20 * millisecond})
	size := 1450 // 1.2 Mbit/s, whatever is decided
	s.repeat(10*millisecond, func() { s.send(size, nil) })
	s.run(600 * time.Millisecond)
	size = 1200 // 1 Mbit/s, with audio
	s.run(2400 * time.Millisecond)
	if standing := s.free - s.now; standing < 50*millisecond {
		t.Fatalf("no queue stands: %v", s)
	}
	s.way.rate = 300_000
	s.run(2500 * time.Millisecond) // until something that was sent after a first reduction came
	if rate := s.c.Rate(); rate > 300_000 {
		t.Errorf("over 300 kbit/s: %v", s)
	}
}

// TestJamForgets: what came out of a queue half a second ago does not count.
func TestJamForgets(t *testing.T) {
	t.Parallel()
	var j jam
	at := uint32(1<<32 - 4000) // the clock wraps
	come := func(n int, every uint32) {
		for range n {
			at += every
			j.packet(true, at, 1250)
		}
	}
	come(300, 10*4) // 1 Mbit/s for 3 s
	if through, known := j.rate(); !known || math.Round(through) != 1_000_000 {
		t.Errorf("1 Mbit/s: %v %v", through, known)
	}
	come(20, 40*4) // 250 kbit/s for 0.8 s
	if through, known := j.rate(); !known || through != 250_000 {
		t.Errorf("250 kbit/s: %v %v", through, known)
	}
	j.packet(false, at, 1250)
	if _, known := j.rate(); known || j.lately(at) != 250_000 {
		t.Errorf("after the queue: %v %v", known, j.lately(at))
	}
}
