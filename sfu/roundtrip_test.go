package sfu

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/feedback"
)

// TestRoundTrip has a viewer answer sender reports of two tracks over a way that queues now and then.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, rtt := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond} {
		var r roundTrip
		at := time.Now()
		r.begin(at, 0)
		if r.time() != assumedRTT {
			t.Errorf("before any report %s", r.time())
		}
		at = at.Add(18*time.Hour + 12*time.Minute) // where the remembered times go round
		for i := range 20 {
			ntp := uint64(1)<<63 + uint64(i)<<32
			r.reported(ntp, at)
			r.reported(ntp+1<<20, at)
			queued := time.Duration(i%5) * 20 * time.Millisecond
			at = at.Add(time.Second)
			r.heard(feedback.Block{LastSR: uint32(ntp >> 16), Delay: uint32((time.Second - rtt - queued) / rttTick)}, at)
		}
		if got := r.time(); got < rtt-time.Millisecond || got > rtt+10*time.Millisecond {
			t.Errorf("measured %s, want %s", got, rtt)
		}
	}
}

// TestRoundTripGrows has a way become longer, and shorter again: a few reports later that is known.
func TestRoundTripGrows(t *testing.T) {
	t.Parallel()
	var r roundTrip
	at := time.Now()
	r.begin(at, 0)
	for i, rtt := range []time.Duration{10 * time.Millisecond, 100 * time.Millisecond, 20 * time.Millisecond} {
		for n := range samplesKept {
			ntp := uint64(1)<<63 + uint64(i*samplesKept+n)<<32
			r.reported(ntp, at)
			at = at.Add(time.Second)
			r.heard(feedback.Block{LastSR: uint32(ntp >> 16), Delay: uint32((time.Second - rtt) / rttTick)}, at)
		}
		if got := r.time(); got < rtt-time.Millisecond || got > rtt+time.Millisecond {
			t.Errorf("measured %s, want %s", got, rtt)
		}
	}
}

// TestRoundTripLies holds that no report moves the round-trip time out of its bounds.
func TestRoundTripLies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r roundTrip
		at := time.Now()
		r.begin(at, time.Duration(rapid.Int64().Draw(t, "ice")))
		for range rapid.IntRange(0, 20).Draw(t, "n") {
			ntp := rapid.Uint64().Draw(t, "ntp")
			r.reported(ntp, at)
			at = at.Add(time.Duration(rapid.Int64Range(0, 1<<34).Draw(t, "later")))
			last := rapid.SampledFrom([]uint32{uint32(ntp >> 16), 0, 7}).Draw(t, "last")
			r.heard(feedback.Block{LastSR: last, Delay: rapid.Uint32().Draw(t, "delay")}, at)
		}
		if got := r.time(); got < leastRTT || got > mostRTT {
			t.Fatalf("%s", got)
		}
	})
}
