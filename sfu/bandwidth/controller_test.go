package bandwidth

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// three are the layers of a camera, in bit/s.
func three() []int { return []int{150_000, 500_000, 4_500_000} }

var (
	clean  = way{delay: 5 * millisecond}
	oneM   = way{rate: 1_000_000, queue: 32 << 10, delay: 20 * millisecond}
	narrow = way{rate: 600_000, queue: 32 << 10, delay: 20 * millisecond}
)

// TestSettles: on each way, the layer it carries, soon, without a gap that one sees, and without going to and fro.
func TestSettles(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		way      way
		want     int // layer
		switches int // at most
		gap      int64
	}{
		"clean":                 {clean, 2, 3, 100},
		"long":                  {way{delay: 200 * millisecond}, 2, 3, 300},
		"1 Mbit/s":              {oneM, 1, 3, 250},
		"1 Mbit/s, short":       {way{rate: 1_000_000, queue: 8000, delay: 20 * millisecond}, 1, 3, 250},
		"1 Mbit/s, bufferbloat": {way{rate: 1_000_000, queue: 256 << 10, delay: 20 * millisecond}, 1, 3, 250},
		"600 kbit/s":            {narrow, 0, 3, 250},
		"5% loss":               {way{loss: 0.05, delay: 50 * millisecond}, 2, 3, 200},
		"5% loss both ways":     {way{loss: 0.05, lossBack: 0.05, delay: 50 * millisecond}, 2, 3, 200},
		"jitter":                {way{jitter: 30 * millisecond, delay: 10 * millisecond}, 2, 5, 200},
		"6 Mbit/s":              {way{rate: 6_000_000, queue: 64 << 10, delay: 20 * millisecond}, 2, 3, 250},
		"100 kbit/s":            {way{rate: 100_000, queue: 32 << 10, delay: 20 * millisecond}, -1, 4, 2500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := simulate(t, tt.way, three()...).run(5 * time.Second)
			if s.current != tt.want {
				t.Errorf("after 5 s: %v", s)
			}
			s.run(35 * time.Second)
			if s.current != tt.want || len(s.switches) > tt.switches || s.worst > tt.gap*millisecond {
				t.Errorf("after 40 s: %v", s)
			}
			if s.padding*5 > s.offered && tt.want >= 0 {
				t.Errorf("too much padding: %v", s)
			}
			s.way = clean
			if s.run(9 * time.Second); s.current != 2 {
				t.Errorf("9 s after relief: %v", s)
			}
		})
	}
}

// TestCollapse: a way that becomes narrow under the best layer, at any moment. What stands in its queue by then takes
// 440 ms at 600 kbit/s, and no picture of it is whole.
func TestCollapse(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		way  way
		want int
		gap  int64
	}{
		"1 Mbit/s":                {oneM, 1, 400},
		"600 kbit/s":              {narrow, 0, 500},
		"600 kbit/s, short queue": {way{rate: 600_000, queue: 16 << 10, delay: 20 * millisecond}, 0, 500},
		"600 kbit/s, 50 ms away":  {way{rate: 600_000, queue: 32 << 10, delay: 50 * millisecond}, 0, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				s := simulate(t, clean, three()...)
				s.rng = rand.New(rand.NewPCG(seed, 7))
				s.run(10*time.Second + time.Duration(seed)*17*time.Millisecond)
				s.way = tt.way
				s.run(5 * time.Second)
				if s.current != tt.want || s.worst > tt.gap*millisecond {
					t.Errorf("seed %d, after 5 s: %v", seed, s)
				}
				n := len(s.switches)
				s.run(20 * time.Second)
				s.way = clean
				if s.run(9 * time.Second); s.current != 2 || len(s.switches) > n+4 {
					t.Errorf("seed %d, 9 s after relief: %v", seed, s)
				}
			}
		})
	}
}

// TestBursts: a way that loses a twentieth, several packets at a time, carries what it carries all the same.
func TestBursts(t *testing.T) {
	t.Parallel()
	for name, layers := range map[string][]int{
		"to 4.5 Mbit/s": three(), "to 1 Mbit/s": {150_000, 350_000, 1_000_000}, "one of 300 kbit/s": {100_000, 300_000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			best, all, starved := 0, 0, 0
			for seed := range uint64(20) {
				s := simulate(t, way{loss: 0.05, burst: 4, delay: 25 * millisecond}, layers...)
				s.rng = rand.New(rand.NewPCG(seed, 9))
				s.run(10 * time.Second)
				for range 600 {
					s.run(100 * time.Millisecond)
					all++
					if s.current == len(layers)-1 {
						best++
					}
					if s.current < 0 {
						starved++
					}
				}
			}
			t.Logf("the best layer for %d of %d", best, all)
			if best*100 < all*90 || starved > 0 {
				t.Errorf("the best layer for %d of %d, nothing for %d", best, all, starved)
			}
		})
	}
}

// TestHeavyLoss: a way of 1 Mbit/s that is sent twice as much loses half, which says nothing worse than that.
func TestHeavyLoss(t *testing.T) {
	t.Parallel()
	for sending, want := range map[float64]float64{2_000_000: 850_000, 1_000_000: 425_000} {
		e := estimate{rate: 900_000, floor: leastRate, ceil: leastCeiling}
		if e.lossy(second, 0.5, sending, false); e.rate != want {
			t.Errorf("half of %v is lost: %v, want %v", sending, e.rate, want)
		}
	}
}

// TestMost: what was too much takes more to be tried again, what is less does not.
func TestMost(t *testing.T) {
	t.Parallel()
	c := New(second, true)
	c.budget.tooMuch = 4_000_000
	for goal, want := range map[int]float64{0: 0, 500_000: 500_000, 4_400_000: 5_000_000, 6_000_000: 6_000_000} {
		if got := c.most(Demand{Goal: goal}); got != want {
			t.Errorf("%v is worth proving for %d, want %v", got, goal, want)
		}
	}
}

// TestWish: nothing is probed or sent beyond what is wanted.
func TestWish(t *testing.T) {
	t.Parallel()
	s := simulate(t, clean, three()...)
	s.wish = 1
	s.run(30 * time.Second)
	if s.current != 0 || s.c.stats.Probes > 0 || s.c.Rate() > leastCeiling {
		t.Errorf("%v", s)
	}
	s.wish = 3
	if s.run(5 * time.Second); s.current != 2 {
		t.Errorf("after more was wanted: %v", s)
	}
}

// TestSilence: a viewer that says nothing any more gets less and less, and all of it soon after it is back.
func TestSilence(t *testing.T) {
	t.Parallel()
	s := simulate(t, clean, three()...).run(10 * time.Second)
	s.way.lossBack = 1
	s.run(10 * time.Second)
	if s.current == 2 || s.c.stats.Silences < 3 || s.c.Rate() > 500_000 {
		t.Errorf("after silence: %v", s)
	}
	s.way = clean
	if s.run(9 * time.Second); s.current != 2 {
		t.Errorf("after it came back: %v", s)
	}
}

// TestReports has a viewer that sends receiver reports and nothing else, and one that has no retransmissions to probe
// with: both are tried instead of probed.
func TestReports(t *testing.T) {
	t.Parallel()
	now, c := 1000*second, New(1000*second, false)
	if c.Heard() {
		t.Fatal("heard something")
	}
	d := Demand{Sent: 540_000, Next: 4_950_000, Goal: 4_950_000}
	// step sends for a second what the budget allows, and reports a loss.
	step := func(loss uint8) (best bool) {
		for range 50 {
			now += 20 * millisecond
			rate := 540_000
			if best {
				rate = 4_500_000
			}
			c.SentPlain(now, rate/8/50-ipUDP)
			if c.Heard() {
				best = c.Tick(now, d).Budget >= d.Next
			}
		}
		c.Report(now, loss)
		return best
	}
	best := false
	for range 10 {
		best = best || step(0)
	}
	if !best || c.stats.Passed > 0 {
		t.Errorf("never tried: %v %+v", c.Rate(), c.stats)
	}
	d = Demand{Sent: 4_500_000}
	step(100)
	step(100)
	if got := c.Tick(now, d).Budget; got >= 4_500_000 {
		t.Errorf("the budget is %d with 40%% lost", got)
	}
}

// TestREMB goes by the viewer's estimate until there is better.
func TestREMB(t *testing.T) {
	t.Parallel()
	now, c := 1000*second, New(1000*second, true)
	c.SentPlain(now, 1000)
	c.REMB(now, 200_000)
	if got := c.Tick(now+20*millisecond, Demand{Sent: 540_000, Next: 5e6, Goal: 5e6}).Budget; got != 200_000 {
		t.Errorf("the budget is %d", got)
	}
	for range 1000 {
		c.REMB(now, 1<<63)
	}
	if c.Rate() > int(ceiling*5e6) {
		t.Errorf("believed %d", c.Rate())
	}
	raw := []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0}
	c.Sent(now, 1000)
	c.Feedback(now, raw)
	c.REMB(now, 1)
	if c.Rate() < 30_000 || c.source != arrivals {
		t.Errorf("REMB counts beside transport-wide feedback: %d", c.Rate())
	}
}

// forge makes a feedback: base, count and the rest as chosen.
func forge(t *rapid.T, base uint16) []byte {
	b := []byte{0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2}
	b = binary.BigEndian.AppendUint16(b, base)
	b = binary.BigEndian.AppendUint16(b, rapid.Uint16Range(0, 300).Draw(t, "count"))
	b = append(b, rapid.SliceOfN(rapid.Byte(), 4, 64).Draw(t, "rest")...)
	return b
}

// TestForged: whatever feedback claims, the estimate stays in its bounds, probes stay as large as what is wanted, and
// what was never sent is counted.
func TestForged(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := 1000 * second
		c := New(now, true)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, second).Draw(t, "time")
			for range rapid.IntRange(0, 20).Draw(t, "packets") {
				c.Sent(now, rapid.IntRange(0, 1500).Draw(t, "size"))
			}
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0:
				c.Feedback(now, forge(t, c.Seq()-rapid.Uint16().Draw(t, "back")))
			case 1:
				c.Feedback(now, forge(t, c.Seq()-rapid.Uint16Range(0, 60).Draw(t, "back")))
			case 2:
				c.REMB(now, rapid.Uint64().Draw(t, "estimate"))
			case 3:
				c.Report(now, rapid.Byte().Draw(t, "lost"))
			}
			d := Demand{Sent: rapid.IntRange(0, 6e6).Draw(t, "sent")}
			if rapid.Bool().Draw(t, "more") {
				d.Next = d.Sent + rapid.IntRange(1, 6e6).Draw(t, "next")
				d.Goal = d.Next + rapid.IntRange(0, 6e6).Draw(t, "goal")
			}
			got := c.Tick(now, d)
			most := max(ceiling*float64(max(d.Goal, d.Sent)), leastCeiling)
			if r := float64(c.Rate()); r < leastRate-1 || r > most || c.RTT() < 0 {
				t.Fatalf("rate %v of %v, round trip %v", r, most, c.RTT())
			}
			if got.Budget < 0 || float64(got.Budget) > max(most, 1.5*float64(d.Sent)+1) || got.Padding < 0 ||
				float64(got.Padding) > 2*most/8*float64(probeTime+20*millisecond)/float64(second) {
				t.Fatalf("%+v for %+v", got, d)
			}
		}
	})
	c := New(second, true)
	c.Feedback(second, []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0})
	c.Feedback(second, []byte{1, 2, 3})
	if c.stats.Unknown != 1 || c.stats.Malformed != 1 {
		t.Errorf("counted %+v", c.stats)
	}
}

// TestRecovers: whatever the ways were, a clean one is used in full in the end.
func TestRecovers(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := simulate(t, clean, three()...)
		for range 1 + rng.IntN(4) {
			s.way = way{
				rate: rng.IntN(40) * 200_000, queue: 3000 + rng.IntN(200_000), delay: rng.Int64N(200) * millisecond,
				jitter: rng.Int64N(50) * millisecond, loss: 0.3 * rng.Float64(), lossBack: 0.3 * rng.Float64(),
			}
			s.run(time.Duration(1+rng.IntN(10)) * time.Second)
		}
		s.way = clean
		if s.run(20 * time.Second); s.current != 2 {
			t.Errorf("seed %d: %v", seed, s)
		}
	}
}

// TestClockJump: a receiver whose clock jumps, or wraps, harms nobody.
func TestClockJump(t *testing.T) {
	t.Parallel()
	s := simulate(t, clean, three()...).run(10 * time.Second)
	for _, jump := range []int64{3600 * second, -3000 * second, 7 * 24 * 3600 * second} {
		s.skew += jump
		s.run(10 * time.Second)
		if s.current != 2 || len(s.switches) > 3 {
			t.Errorf("after a jump of %v: %v", time.Duration(jump), s)
		}
	}
	if strings.Contains(s.String(), "NaN") {
		t.Errorf("%v", s)
	}
}

func TestAllocates(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	raw := []byte{0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 1, 0, 0x20, 1, 4, 0}
	now, c := second, New(second, true)
	if n := testing.AllocsPerRun(1000, func() {
		now += 20 * millisecond
		c.Sent(now, 1200)
		binary.BigEndian.PutUint16(raw[12:], c.Seq()-1)
		c.Feedback(now, raw)
		c.Tick(now, Demand{Sent: 1, Next: 1e6, Goal: 2e6})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSent(b *testing.B) {
	c := New(second, true)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		c.Sent(second+i*2*millisecond, 1200)
	}
}

// BenchmarkFeedback is one of a viewer at 5 Mbit/s: 54 packets of 100 ms.
func BenchmarkFeedback(b *testing.B) {
	raw := append([]byte{0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 54, 0, 0, 1, 0, 0x20, 54}, make([]byte, 54)...)
	for i := range 54 {
		raw[22+i] = 7
	}
	now, c := second, New(second, true)
	b.ReportAllocs()
	for b.Loop() {
		binary.BigEndian.PutUint16(raw[12:], c.Seq())
		now += 100 * millisecond
		for i := range int64(54) {
			c.Sent(now+i*1750*1000, 1200)
		}
		c.Feedback(now, raw)
		c.Tick(now, Demand{Sent: 4_500_000})
	}
}
