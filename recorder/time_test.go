package recorder

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// ntp is when a source says that it captured its first frames.
const ntp = uint64(3_900_000_000) << 32

// Sender reports undo what the network did to sound and picture: before the file begins at once, later step by
// step. Without them the arrival counts.
func TestLipSync(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	const late = 120 * time.Millisecond
	packets := src.packets()
	for i := range packets {
		if packets[i].audio {
			packets[i].at += late
		}
	}
	slices.SortStableFunc(packets, func(a, b sent) int { return int(a.at - b.at) })
	for _, test := range []struct {
		name        string
		after       time.Duration // when the reports come; 0: never
		audioNTP    uint64
		first, last time.Duration // how late sound is in the file
	}{
		{"never", 0, ntp, late, late},
		{"early", 200 * time.Millisecond, ntp, 0, 0},
		{"later", 2 * time.Second, ntp, late, 0},
		{"wrong clock", 200 * time.Millisecond, ntp + 3600<<32, late, late},
	} {
		t.Run(test.name, func(t *testing.T) {
			var g *rig
			synctest.Test(t, func(t *testing.T) {
				g = start(t, src.mime, Config{Tracks: 3, TrackWait: time.Second}).withAudio(t)
				go func() {
					if pause(test.after); test.after > 0 {
						g.audio.WriteSenderReport(test.audioNTP, uint32(firstTimestamp))
						g.video.WriteSenderReport(ntp, uint32(firstTimestamp))
					}
				}()
				g.send(packets)
				mustClose(t, g.Recording)
			})
			audio := validate(t, g.data(t)).blocks(2)
			near(t, "first", audio[0], test.first, 5*time.Millisecond)
			near(t, "last", audio[len(audio)-1], time.Duration(len(src.audio)-1)*20*time.Millisecond+test.last, 5*time.Millisecond)
		})
	}
}

// again returns packets that go on after a source has begun anew.
func again(packets []sent, at time.Duration, sequence uint16, timestamp uint32) []sent {
	out := slices.Clone(packets)
	for i := range out {
		out[i].at += at
		out[i].SequenceNumber += sequence
		out[i].Timestamp += timestamp
	}
	return out
}

// A source that begins anew, pauses, or changes its resolution goes on in the same file.
func TestSourceChanges(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	packets := src.packets()
	var pictures uint16
	for _, p := range packets {
		if !p.audio {
			pictures++
		}
	}
	larger := media(t, "video/VP8", "640x360").packets()
	for _, test := range []struct {
		name     string
		packets  []sent
		duration time.Duration
		pictures int
	}{
		{"forward", again(packets, mediaLength, 20000, 1<<30), 2 * mediaLength, 300},
		// The first packet of a sequence behind cannot be told from a late one: the next keyframe counts.
		{"backward", again(packets, mediaLength, 40000, 3<<30), 2 * mediaLength, 250},
		{"pause", again(packets, mediaLength+40*time.Second, 5000, 46*90000), 2*mediaLength + 40*time.Second, 300},
		{"resolution", again(larger, mediaLength, pictures, 6*90000), 2 * mediaLength, 300},
	} {
		t.Run(test.name, func(t *testing.T) {
			var g *rig
			synctest.Test(t, func(t *testing.T) {
				g = start(t, src.mime, Config{})
				g.send(slices.DeleteFunc(append(slices.Clone(packets), test.packets...), func(p sent) bool { return p.audio }))
				mustClose(t, g.Recording)
			})
			got := validate(t, g.data(t))
			near(t, "duration", got.duration, test.duration, 2*frameLength)
			if len(got.md5) != test.pictures {
				t.Errorf("%d pictures, want %d", len(got.md5), test.pictures)
			}
		})
	}
}

// A camera that sends a keyframe only when asked is asked, so that its recording can be sought in.
func TestAsksForKeyframes(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	packets := slices.DeleteFunc(src.packets(), func(p sent) bool { return p.audio || p.at >= 1800*time.Millisecond })
	synctest.Test(t, func(t *testing.T) {
		g := start(t, src.mime, Config{KeyframeInterval: time.Second, ReorderWait: time.Minute})
		g.send(packets)
		if n := g.asked.Load(); n != 1 {
			t.Errorf("asked %d times in 1.8 s", n)
		}
		mustClose(t, g.Recording)
	})
}

func TestClock(t *testing.T) {
	t.Parallel()
	c := clock{rate: 90000}
	arrived := 5 * time.Second
	ts := uint32(1<<32 - 45000)
	at := func(step int32, wait time.Duration) time.Duration {
		ts += uint32(step)
		arrived += wait
		return c.at(ts, arrived)
	}
	for i, test := range []struct {
		step int32
		wait time.Duration
		want time.Duration
	}{
		{0, 0, 5 * time.Second},
		{90000, time.Second, 6 * time.Second},                        // across the wrap
		{90000, 0, 7 * time.Second},                                  // a burst
		{0, 0, 7*time.Second + time.Millisecond},                     // the same again
		{-9000, 0, 7*time.Second + 2*time.Millisecond},               // back a little
		{18000, 2 * time.Second, 7100 * time.Millisecond},            // forth again
		{1 << 30, time.Second, 8100 * time.Millisecond},              // a new beginning
		{-1 << 30, time.Second, 9100 * time.Millisecond},             // another one
		{-180000, 500 * time.Millisecond, 9600 * time.Millisecond},   // and one not far back
		{90000 * 3600, time.Hour, time.Hour + 9600*time.Millisecond}, // a long pause
		{1000, 24 * time.Hour, 25*time.Hour + 9600*time.Millisecond}, // one that its timestamps know nothing of
		{90000, time.Second, 25*time.Hour + 10600*time.Millisecond},
	} {
		if got := at(test.step, test.wait); got != test.want {
			t.Errorf("%d: %v, want %v", i, got, test.want)
		}
	}
}
