package sfu

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKeyframesCoalesced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int32
		k := newKeyframes(100*time.Millisecond, func() { sent.Add(1) })
		done := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { k.run(done) })
		after := func(d time.Duration, want int32, what string) {
			t.Helper()
			<-time.After(d)
			synctest.Wait()
			if got := sent.Load(); got != want {
				t.Errorf("%s: %d requests, want %d", what, got, want)
			}
		}
		after(time.Second, 0, "nobody asks")
		for range 100 {
			k.request()
		}
		after(0, 1, "all ask at once")
		k.arrived()
		k.request()
		after(90*time.Millisecond, 1, "asked again within the interval")
		after(20*time.Millisecond, 2, "asked again after it") // at 100 ms
		after(200*time.Millisecond, 3, "no answer")           // 200 ms later
		after(400*time.Millisecond, 4, "still no answer")
		k.arrived()
		after(10*time.Second, 4, "answered")
		k.request()
		after(0, 5, "asked anew")
		after(8*time.Second, 17, "never answered: every eighth interval")
		close(done)
		wg.Wait()
	})
}
