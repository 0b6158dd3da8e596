package impair

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const packetSize = 1200

// fate is what became of one datagram.
type fate struct {
	at     time.Duration
	copies int
}

// drive sends n datagrams, one every gap.
func drive(l *lane, n int, gap time.Duration) []fate {
	fates := make([]fate, n)
	for i := range fates {
		fates[i].at, fates[i].copies = l.plan(time.Duration(i)*gap, packetSize)
	}
	return fates
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within {
		t.Errorf("%s is %v, not %v within %v", what, got, want, within)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for i, f := range drive(newLane(Link{}, 1, 0), 1000, time.Millisecond) {
		if f.copies != 1 || f.at != time.Duration(i)*time.Millisecond {
			t.Fatalf("datagram %d: %+v", i, f)
		}
	}
}

func TestLoss(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for _, burst := range []float64{0, 1, 4, 20} {
		l := newLane(Link{Loss: 0.05, Burst: burst}, 7, 0)
		runs, lost, before := 0, 0, 1
		for _, f := range drive(l, n, time.Millisecond) {
			if f.copies == 0 {
				lost++
				if before > 0 {
					runs++
				}
			}
			before = f.copies
		}
		mean := max(burst, 1/0.95)
		near(t, "loss", float64(lost)/n, 0.05, 0.012)
		near(t, "length of a burst", float64(lost)/float64(runs), mean, 0.1*mean)
		if l.counts.Lost != uint64(lost) || l.counts.In != n || l.counts.Out != uint64(n-lost) {
			t.Errorf("counted %+v, lost %d", l.counts, lost)
		}
	}
}

func TestRateAndQueue(t *testing.T) {
	t.Parallel()
	// 9.6 Mbit/s into 2: a fifth gets through, each after at most the queue's 50 ms.
	const n = 20_000
	l := newLane(Link{Rate: 2_000_000, Queue: 12_500}, 1, 0)
	fates := drive(l, n, time.Millisecond)
	var passed int
	var last time.Duration
	for i, f := range fates {
		if f.copies == 0 {
			continue
		}
		passed++
		if wait := f.at - time.Duration(i)*time.Millisecond; wait > 55*time.Millisecond || f.at < last {
			t.Fatalf("datagram %d waited %v, came at %v after %v", i, wait, f.at, last)
		}
		last = f.at
	}
	near(t, "rate", float64(passed)*packetSize*8/last.Seconds(), 2_000_000, 20_000)
	if l.counts.Overflowed != uint64(n-passed) || l.counts.Lost != 0 {
		t.Errorf("counted %+v", l.counts)
	}
}

func TestDelayAndJitter(t *testing.T) {
	t.Parallel()
	const n = 20_000
	least, most, last := time.Hour, time.Duration(0), time.Duration(0)
	for i, f := range drive(newLane(Link{Delay: 50 * time.Millisecond, Jitter: 30 * time.Millisecond}, 3, 0), n, time.Millisecond) {
		d := f.at - time.Duration(i)*time.Millisecond
		least, most = min(least, d), max(most, d)
		if f.at < last {
			t.Fatalf("datagram %d overtook another", i)
		}
		last = f.at
	}
	if least < 50*time.Millisecond || least > 53*time.Millisecond || most > 80*time.Millisecond || most < 75*time.Millisecond {
		t.Errorf("delays from %v to %v", least, most)
	}
}

func TestReorderAndDuplicate(t *testing.T) {
	t.Parallel()
	const n = 50_000
	l := newLane(Link{Reorder: 0.03, Duplicate: 0.02, Delay: 5 * time.Millisecond}, 3, 0)
	overtaken, copies, newest := 0, 0, time.Duration(0)
	for _, f := range drive(l, n, time.Millisecond) {
		copies += f.copies
		if f.at-newest > time.Millisecond+DefaultHeld-time.Millisecond {
			overtaken++ // held: comes that much later than what was next in order
			continue
		}
		newest = max(newest, f.at)
	}
	near(t, "reordered", float64(overtaken)/n, 0.03, 0.003)
	near(t, "copies", float64(copies)/n, 1.02, 0.003)
	if l.counts.Reordered != uint64(overtaken) {
		t.Errorf("counted %d, saw %d", l.counts.Reordered, overtaken)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	l := newLane(Link{Delay: time.Second}, 1, 0)
	first, _ := l.plan(0, packetSize)
	l.change(Link{Loss: 1})
	if _, copies := l.plan(time.Millisecond, packetSize); copies != 0 {
		t.Error("nothing was lost")
	}
	l.change(Link{})
	if at, _ := l.plan(2*time.Millisecond, packetSize); at < first {
		t.Error("overtook what was on its way")
	}
}

// TestSeed: the same seed, the same fate; another one, another.
func TestSeed(t *testing.T) {
	t.Parallel()
	link := Link{Loss: 0.1, Burst: 2, Duplicate: 0.1, Jitter: time.Millisecond, Reorder: 0.1, Rate: 5e6}
	one := drive(newLane(link, 5, 1), 1000, time.Millisecond)
	if !slices.Equal(one, drive(newLane(link, 5, 1), 1000, time.Millisecond)) {
		t.Error("not the same under one seed")
	}
	if slices.Equal(one, drive(newLane(link, 6, 1), 1000, time.Millisecond)) ||
		slices.Equal(one, drive(newLane(link, 5, 0), 1000, time.Millisecond)) {
		t.Error("the same under another seed or in the other direction")
	}
}

// TestLane: whatever the link, nothing arrives before it could, and every datagram is counted once.
func TestLane(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func() Link {
			return Link{
				Rate: rapid.IntRange(0, 10e6).Draw(t, "rate"), Queue: rapid.IntRange(0, 1e5).Draw(t, "queue"),
				Loss: rapid.Float64Range(0, 0.4).Draw(t, "loss"), Burst: float64(rapid.IntRange(0, 9).Draw(t, "burst")),
				Duplicate: rapid.Float64Range(0, 1).Draw(t, "duplicate"), Reorder: rapid.Float64Range(0, 1).Draw(t, "reorder"),
				Delay:  time.Duration(rapid.IntRange(0, 1e9).Draw(t, "delay")),
				Jitter: time.Duration(rapid.IntRange(0, 1e9).Draw(t, "jitter")),
			}
		}
		l := newLane(draw(), rapid.Uint64().Draw(t, "seed"), 0)
		now := time.Duration(0)
		for range rapid.IntRange(1, 200).Draw(t, "datagrams") {
			if rapid.IntRange(0, 20).Draw(t, "change") == 0 {
				l.change(draw())
			}
			now += time.Duration(rapid.IntRange(0, 1e7).Draw(t, "gap"))
			if at, copies := l.plan(now, rapid.IntRange(1, 1500).Draw(t, "size")); copies > 0 && at < now+l.link.Delay {
				t.Fatalf("sent at %v, there at %v with a delay of %v", now, at, l.link.Delay)
			}
		}
		if c := l.counts; c.In != c.Out-c.Duplicated+c.Lost+c.Overflowed {
			t.Fatalf("counted %+v", c)
		}
	})
}

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Link{
		"clean":                          {},
		"rate=1M queue=32k":              {Rate: 1e6, Queue: 32e3},
		"loss=5% burst=4":                {Loss: 0.05, Burst: 4},
		"loss=0.05 duplicate=1%":         {Loss: 0.05, Duplicate: 0.01},
		"delay=50ms jitter=30ms":         {Delay: 50 * time.Millisecond, Jitter: 30 * time.Millisecond},
		" reorder=3%   held=20ms rate=9": {Reorder: 0.03, Held: 20 * time.Millisecond, Rate: 9},
	} {
		var got, again Link
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != want {
			t.Errorf("%q became %q and that %+v, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"loss", "loss=101%", "loss=x", "loss=NaN", "rate=-1", "rate=1e99M", "delay=5", "delay=1h", "speed=3", "loss=90% burst=2", "burst=-1",
		"queue=-2k", "jitter=-1ms", "burst=NaN",
	} {
		var l Link
		if err := l.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, l)
		}
	}
}
