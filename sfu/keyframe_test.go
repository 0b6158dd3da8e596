package sfu

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// asker is a keyframes whose requests are counted.
type asker struct {
	*keyframes
	t             *testing.T
	sent, unheard atomic.Int32
}

func newAsker(t *testing.T) *asker {
	t.Helper()
	a := &asker{t: t}
	a.keyframes = newKeyframes(100*time.Millisecond, func(unheard bool) {
		a.sent.Add(1)
		if unheard {
			a.unheard.Add(1)
		}
	})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { a.run(done, nil) })
	t.Cleanup(func() { close(done); wg.Wait() })
	return a
}

func (a *asker) after(d time.Duration, want int32, what string) {
	a.t.Helper()
	<-time.After(d)
	synctest.Wait()
	if got := a.sent.Load(); got != want {
		a.t.Errorf("%s: %d requests, want %d", what, got, want)
	}
}

func TestKeyframesCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.after(time.Second, 0, "nobody asks")
		for range 100 {
			a.request()
		}
		a.after(0, 1, "all ask at once")
		a.arrived()
		a.request()
		a.after(90*time.Millisecond, 1, "asked again during the rest")
		a.after(20*time.Millisecond, 2, "asked again after it") // at 100 ms
		a.after(240*time.Millisecond, 3, "no answer")           // after 250 ms
		a.after(500*time.Millisecond, 4, "still no answer")
		if n := a.unheard.Load(); n != 1 {
			t.Errorf("%d requests went another way, want the third in vain", n)
		}
		a.arrived()
		a.after(10*time.Second, 4, "answered")
		a.request()
		a.after(0, 5, "asked anew")
		a.after(11750*time.Millisecond, 11, "never answered: every four seconds") // 0.25, 0.75, 1.75, 3.75, 7.75, 11.75
	})
}

// TestKeyframesCost holds that keyframes are asked for no more often than their share of the bytes allows, but within
// two seconds in any case.
func TestKeyframesCost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		keyframe, perSecond float64
		want                time.Duration
	}{
		{"cheap ones", 1000, 1_000_000, 100 * time.Millisecond},
		{"60 kB in 2.5 Mbit/s", 62_500, 312_500, 800 * time.Millisecond},
		{"a still picture", 40_000, 5_000, maxRest},
		{"not measured", 0, 0, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			a := newAsker(t)
			a.weigh(tt.keyframe, tt.perSecond)
			a.request()
			a.after(0, 1, tt.name)
			a.arrived()
			a.request() // a flood asks for no more
			a.after(tt.want-time.Millisecond, 1, tt.name+", before")
			a.after(time.Millisecond, 2, tt.name)
		})
	}
}

// TestAnsweredKeyframesAreAskedForAgain holds that requests slow down only while the camera ignores them.
func TestAnsweredKeyframesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		for range 200 { // 2 s
			a.request()
			<-time.After(5 * time.Millisecond) // of the bubble's clock
			a.arrived()
			<-time.After(5 * time.Millisecond)
		}
		if sent := a.sent.Load(); sent < 17 || sent > 22 {
			t.Errorf("a camera that always answers was asked %d times in 2 s, want once an interval of 100 ms", sent)
		}
	})
}

// TestKeyframesFlood asks ten thousand times a second of a camera that answers after 50 ms.
func TestKeyframesFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsker(t)
		a.weigh(62_500, 312_500)
		for i := range 50_000 {
			a.request()
			if sent := a.sent.Load(); i%500 == 499 && sent > 0 {
				a.arrived()
			}
			<-time.After(100 * time.Microsecond)
		}
		if n := a.sent.Load(); n > 8 {
			t.Errorf("%d keyframes were asked for in five seconds, want one in 800 ms", n)
		}
	})
}

func TestCost(t *testing.T) {
	t.Parallel()
	var c cost
	now, weighed := int64(1), 0
	for frame := range uint32(300) {
		packets := 4
		if frame%100 == 0 {
			c.begins(frame * 3000)
			packets = 40
		}
		for range packets {
			if c.count(frame*3000, 1000, now) {
				weighed++
			}
		}
		now += int64(time.Second) / 30
	}
	if c.keyframe != 40_000 || c.rate < 100_000 || c.rate > 170_000 {
		t.Errorf("a keyframe costs %.0f bytes at %.0f a second, want 40000 at some 130000", c.keyframe, c.rate)
	}
	if weighed > 15 {
		t.Errorf("averages were new %d times in ten seconds", weighed)
	}
}
