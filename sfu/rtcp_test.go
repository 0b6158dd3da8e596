package sfu

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/feedback"
)

// TestCameraClock follows a camera for a day whose clock is off by years, runs fast, and is set in the middle: its time
// stays ours, and never moves by more than lip sync bears.
func TestCameraClock(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, drift := range []float64{0, 200e-6, -200e-6} {
		var c ntpClock
		start := time.Unix(1_800_000_000, 0)
		last, set := time.Duration(0), false
		for s := range 24 * 3600 {
			passed := time.Duration(s) * time.Second
			camera := start.AddDate(-20, 0, 0).Add(passed + time.Duration(float64(passed)*drift))
			if passed > 12*time.Hour {
				camera = camera.AddDate(19, 0, 0)
			}
			arrival := start.Add(passed + 20*time.Millisecond + time.Duration(rng.IntN(30))*time.Millisecond)
			local := c.local(ntpTime(camera), arrival)
			off := time.Duration(int64(local-ntpTime(start.Add(passed))) * int64(time.Second) >> 32)
			if off < -200*time.Millisecond || off > 200*time.Millisecond {
				t.Fatalf("drift %g: after %s the camera's time is off by %s", drift, passed, off)
			}
			if step := off - last; s > 0 && (step < -time.Millisecond || step > time.Millisecond) {
				if set {
					t.Fatalf("drift %g: after %s it moves by %s", drift, passed, step)
				}
				set = true
			}
			last = off
		}
	}
}

// reportingSink keeps sender reports.
type reportingSink struct {
	countingSink
	ntp []uint64
	rtp []uint32
}

func (r *reportingSink) WriteSenderReport(ntp uint64, rtp uint32) {
	r.ntp, r.rtp = append(r.ntp, ntp), append(r.rtp, rtp)
}

// TestReportsOverTheWrap holds that what is reported is on the line of what is sent, where the camera's timestamps go
// round.
func TestReportsOverTheWrap(t *testing.T) {
	t.Parallel()
	sink := &reportingSink{}
	b := newBench(webrtc.MimeTypeVP8, sink)
	b.packet()
	d := b.shard.downs[0]
	const second = uint64(1) << 32
	for i := range uint64(5) {
		b.layer.report.Store(&senderReport{ntp: i * second, rtp: uint32(1<<32 - 2*90000 + i*90000), at: time.Now()})
		d.sendReport(time.Now())
		d.sendReport(time.Now()) // the same: not again
	}
	if len(sink.rtp) != 5 {
		t.Fatalf("%d reports, want 5", len(sink.rtp))
	}
	for i := 1; i < 5; i++ {
		if sink.rtp[i]-sink.rtp[i-1] != 90000 || sink.ntp[i]-sink.ntp[i-1] != second {
			t.Errorf("report %d: %d ticks in %d", i, sink.rtp[i]-sink.rtp[i-1], sink.ntp[i]-sink.ntp[i-1])
		}
	}
}

// TestReportsTookTheirTime: what a camera far away captures now is not what its report says that arrives now.
func TestReportsTookTheirTime(t *testing.T) {
	t.Parallel()
	const way = time.Hour // longer than any machine takes
	b := newBench(webrtc.MimeTypeVP8)
	sess := &session{}
	b.layer.reception.ssrc = 7
	sess.uplink.layers, sess.uplink.way = []*layer{b.layer}, way
	report := feedback.AppendSenderReport(nil, 7, feedback.SenderInfo{NTP: 1 << 40, RTP: 9})
	before := time.Now()
	(&SFU{}).readReports(sess, report, 1)
	got, after := b.layer.report.Load(), time.Now()
	if got == nil || got.rtp != 9 || got.at.Before(before.Add(-way)) || got.at.After(after.Add(-way)) || got.ntp != ntpTime(got.at) {
		t.Errorf("%+v", got)
	}
}
