package sfu

import (
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// assumedRTT is the round-trip time of a viewer that has not reported yet.
	assumedRTT = 50 * time.Millisecond
	// leastRTT and mostRTT bound what a viewer's reports are believed.
	leastRTT, mostRTT = 5 * time.Millisecond, 2 * time.Second
	// reportsKept is how many sender reports are remembered: those of two tracks and two seconds.
	reportsKept = 4
	// samplesKept is of how many samples the shortest counts: some seconds of two tracks' reports.
	samplesKept = 8
	// rttTick is the unit of the times remembered; they go round after 18 hours.
	rttTick = time.Second >> 16
)

// roundTrip measures the way to a viewer and back by its answers to sender reports: RFC 3550, section 6.4.1. It holds
// the shortest of the last seconds, since waiting in queues comes and goes: nothing was answered sooner. A way that
// has become longer, as when a telephone leaves the house, is known soon.
type roundTrip struct {
	began   time.Time
	sent    [reportsKept]atomic.Uint64 // middle of the NTP time of a report << 32 | when it was sent
	turn    int                        // owned by the shard
	samples [samplesKept]time.Duration // owned by heard; 0 for none
	at      int                        // of the oldest sample
	least   atomic.Int64               // time.Duration; 0 if not known
}

func (r *roundTrip) begin(now time.Time, measured time.Duration) {
	r.began = now
	if measured > 0 {
		r.keep(measured)
	}
}

// keep takes a sample into account.
func (r *roundTrip) keep(sample time.Duration) {
	r.samples[r.at] = clampRTT(sample)
	r.at = (r.at + 1) % samplesKept
	least := mostRTT
	for _, d := range r.samples {
		if d > 0 {
			least = min(least, d)
		}
	}
	r.least.Store(int64(least))
}

// reported notes that a sender report goes out. Runs on the shard.
func (r *roundTrip) reported(ntp uint64, now time.Time) {
	r.sent[r.turn].Store(uint64(uint32(ntp>>16))<<32 | uint64(uint32(now.Sub(r.began)/rttTick)))
	r.turn = (r.turn + 1) % reportsKept
}

// heard takes a report block of the viewer into account. It may run beside reported, not beside itself.
func (r *roundTrip) heard(b feedback.Block, now time.Time) {
	if b.LastSR == 0 {
		return
	}
	for i := range r.sent {
		v := r.sent[i].Load()
		if uint32(v>>32) != b.LastSR {
			continue
		}
		took := int32(uint32(now.Sub(r.began)/rttTick) - uint32(v) - b.Delay)
		if took < 0 {
			return // a lie, or a clock that jumped
		}
		r.keep(time.Duration(took) * rttTick)
		return
	}
}

func clampRTT(d time.Duration) time.Duration { return max(leastRTT, min(d, mostRTT)) }

// known returns the round-trip time, 0 as long as nothing is known.
func (r *roundTrip) known() time.Duration { return time.Duration(r.least.Load()) }

// time returns the round-trip time, a guess as long as nothing is known.
func (r *roundTrip) time() time.Duration {
	if d := r.least.Load(); d != 0 {
		return time.Duration(d)
	}
	return assumedRTT
}
