package diagnosis

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestReportsAddUp(t *testing.T) {
	t.Parallel()
	r := newReports()
	at := moment
	next := func() time.Time { at = at.Add(2 * time.Second); return at }
	r.keep("s", Report{
		FramesDecoded: 10, FreezeCount: 1, FreezesDuration: 0.5, FirstFrame: 120,
		PacketsReceived: 90, PacketsLost: 10, RTTMillis: 30,
	}, next())
	r.keep("s", Report{
		FramesDecoded: 40, FreezeCount: 2, FreezesDuration: 0.75, FirstFrame: 120,
		PacketsReceived: 190, PacketsLost: 10, JitterMillis: 4, Bitrate: 3e5,
	}, next())
	if r.keep("s", Report{FramesDecoded: 41}, at.Add(time.Millisecond)) {
		t.Error("a report came too soon")
	}
	r.keep("s", Report{FramesDecoded: 5, FirstFrame: 90, PacketsReceived: 50}, next()) // connected anew
	s := r.stats()
	if s.Reports != 3 || s.FramesDecoded != 45 || s.Freezes != 2 || s.FreezeSeconds != 0.75 {
		t.Errorf("%+v", s)
	}
	if _, counts, sum := s.FirstFrame.Histogram(); counts[1] != 1 || counts[2] != 1 || sum != 0.21 {
		t.Errorf("first frames: %v, %v", counts, sum)
	}
	if _, counts, _ := s.Loss.Histogram(); counts[6] != 1 || counts[0] != 2 {
		t.Errorf("loss: %v", counts)
	}
	if _, counts, sum := s.Jitter.Histogram(); counts[2] != 1 || sum != 0.004 {
		t.Errorf("jitter: %v, %v", counts, sum)
	}
	if _, counts, sum := s.Bitrate.Histogram(); counts[3] != 1 || sum != 3e5 {
		t.Errorf("bitrate: %v, %v", counts, sum)
	}
	if _, counts, sum := s.Frozen.Histogram(); counts[5] != 1 || sum != 0.125 { // 0.25 s of 2 s
		t.Errorf("frozen: %v, %v", counts, sum)
	}
}

// TestReportsTellStuckDecoders: what counts is not whether a decoder ever made a picture, but what has come since it did.
func TestReportsTellStuckDecoders(t *testing.T) {
	t.Parallel()
	r := newReports()
	for i, step := range []struct {
		decoded, packets uint64
		undecoded        uint64
		stuck            time.Duration
	}{
		{0, 300, 300, 0}, // since the beginning, which was at no moment that is known
		{0, 600, 600, 4 * time.Second},
		{90, 900, 0, 0},
		{180, 1200, 0, 0},
		{180, 1500, 300, 4 * time.Second},
		{180, 1800, 600, 8 * time.Second},
		{181, 2100, 0, 0},
		{181, 2100, 0, 4 * time.Second}, // nothing comes, which is not the decoder's doing
		{0, 50, 50, 0},                  // connected anew
	} {
		r.keep("s", Report{FramesDecoded: step.decoded, PacketsReceived: step.packets}, moment.Add(time.Duration(i)*4*time.Second))
		var f Facts
		r.tell("s", &f)
		if f.Undecoded != step.undecoded || f.StuckFor != step.stuck {
			t.Errorf("report %d: %d packets undecoded for %v, want %d for %v", i, f.Undecoded, f.StuckFor, step.undecoded, step.stuck)
		}
	}
}

// TestReportsForgetFreezes: what was, long ago, explains nothing.
func TestReportsForgetFreezes(t *testing.T) {
	t.Parallel()
	r := newReports()
	for _, step := range []struct {
		second   int
		count    uint64
		duration float64
		freezes  uint64
		frozen   time.Duration
	}{
		{0, 1, 0.5, 1, 500 * time.Millisecond}, // since the beginning
		{4, 4, 2, 4, 2 * time.Second},
		{34, 5, 2.5, 5, 2500 * time.Millisecond},
		{68, 5, 2.5, 1, 500 * time.Millisecond},
		{102, 5, 2.5, 0, 0},
		{106, 6, 3, 1, 500 * time.Millisecond},
		{400, 6, 3, 0, 0}, // after a pause nobody knows when it was
		{404, 0, 0, 0, 0}, // connected anew
		{408, 2, 1, 2, time.Second},
	} {
		report := Report{FramesDecoded: uint64(step.second), FreezeCount: step.count, FreezesDuration: step.duration}
		if step.second >= 404 {
			report.FramesDecoded -= 404
		}
		r.keep("s", report, moment.Add(time.Duration(step.second)*time.Second))
		var f Facts
		if r.tell("s", &f); f.Freezes != step.freezes || f.Frozen != step.frozen {
			t.Errorf("second %d: %d freezes of %v, want %d of %v", step.second, f.Freezes, f.Frozen, step.freezes, step.frozen)
		}
	}
}

// TestReportsAreBounded: whatever comes, no number falls, and not more is kept than may be.
func TestReportsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := newReports()
		at := moment
		var before Stats
		for range rapid.IntRange(1, 30).Draw(t, "reports") {
			at = at.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			r.keep(fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "stream")), Report{
				FramesDecoded: rapid.Uint64().Draw(t, "decoded"), FramesDropped: rapid.Uint64Range(0, 1<<40).Draw(t, "dropped"),
				FreezeCount: rapid.Uint64Range(0, 1<<40).Draw(t, "freezes"), FreezesDuration: rapid.Float64Range(0, 1e9).Draw(t, "frozen"),
				PacketsReceived: rapid.Uint64Range(0, 1<<40).Draw(t, "packets"), PacketsLost: rapid.Int64().Draw(t, "lost"),
			}, at)
			s := r.stats()
			if s.Reports < before.Reports || s.Freezes < before.Freezes || s.FreezeSeconds < before.FreezeSeconds {
				t.Fatalf("%+v after %+v", s, before)
			}
			before = s
		}
	})
	r := newReports()
	for i := range maxReports + 50 {
		r.keep(fmt.Sprint(i), Report{}, moment.Add(time.Duration(i)))
	}
	if len(r.of) != maxReports {
		t.Errorf("%d are kept", len(r.of))
	}
	var f Facts
	if r.tell(fmt.Sprint(maxReports+49), &f); f.Report == nil {
		t.Error("the newest is gone")
	}
}
