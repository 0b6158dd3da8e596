package measure

import (
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h Histogram
		for _, v := range values {
			h.Add(time.Duration(v))
		}
		slices.Sort(values)
		rank := max(int(q*float64(len(values))+0.5), 1)
		want := values[rank-1]
		if got := int64(h.Quantile(q)); got < want || float64(got) > float64(want)*1.04+1 {
			t.Fatalf("quantile %v of %v is %d, want %d", q, values, got, want)
		}
		if curve := h.Curve(); curve[len(curve)-1].Part != 1 {
			t.Fatalf("the curve ends at %v", curve[len(curve)-1])
		}
		if int64(h.Max()) != values[len(values)-1] || h.Count() != uint64(len(values)) {
			t.Fatalf("max %v, count %d", h.Max(), h.Count())
		}
	})
}

func TestProcess(t *testing.T) {
	t.Parallel()
	before, err := Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := OwnTime()
	for OwnTime() < own+50*time.Millisecond {
		_ = make([]byte, 1<<10)
	}
	after, err := Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if used := after.Sub(before).CPU; used < 40*time.Millisecond {
		t.Errorf("50 ms of work are accounted as %v", used)
	}
	if after.RSS < 1<<20 || after.Threads < 2 || after.SystemShare() < 0 || after.SystemShare() > 1 {
		t.Errorf("usage is %+v", after)
	}
	if _, err := Process(1 << 30); err == nil {
		t.Error("a process that does not exist has a usage")
	}
}

func TestFloor(t *testing.T) {
	t.Parallel()
	for _, read := range []bool{false, true} {
		steps, err := Floor(t.Context(), []int{1, 9}, 20*time.Millisecond, read)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if s.Micros <= 0 {
				t.Errorf("a packet in messages of %d costs %v µs (read: %v)", s.Segments, s.Micros, read)
			}
		}
	}
}

// TestDirect holds that a load without a server arrives, and when its packets go.
func TestDirect(t *testing.T) {
	t.Parallel()
	for _, l := range []DirectLoad{
		{Cameras: 1, Viewers: 5, Packets: 9, Interval: 20 * time.Millisecond, Poll: time.Millisecond},
		{Cameras: 3, Viewers: 7, Packets: 4, Interval: 20 * time.Millisecond, Spread: 8 * time.Millisecond, Poll: time.Millisecond},
		{Cameras: 9, Viewers: 2, Packets: 2, Poll: time.Millisecond},
	} {
		var h Histogram
		if err := Direct(t.Context(), l, 100*time.Millisecond, &h); err != nil {
			t.Fatal(err)
		}
		if h.Count() == 0 {
			t.Errorf("%+v: no packet came", l)
		}
		if p50, p99 := h.Quantile(0.5), h.Quantile(0.99); p50 <= 0 || p99 < p50 {
			t.Errorf("%+v: p50 %v, p99 %v", l, p50, p99)
		}
	}
	if err := Direct(t.Context(), DirectLoad{}, time.Millisecond, new(Histogram)); err == nil {
		t.Error("a load of nothing was measured")
	}
	got := DirectLoad{Cameras: 2, Packets: 2, Interval: 40, Spread: 10}.steps()
	if want := []step{{0, 0, 1}, {5, 0, 1}, {20, 1, 1}, {25, 1, 1}}; !slices.Equal(got, want) {
		t.Errorf("steps are %v, want %v", got, want)
	}
}

func TestNoise(t *testing.T) {
	t.Parallel()
	var h Histogram
	if err := Noise(t.Context(), 20*time.Millisecond, &h); err != nil || h.Count() == 0 || h.Quantile(0.5) <= 0 {
		t.Errorf("%d pieces of %v, %v", h.Count(), h.Quantile(0.5), err)
	}
}
