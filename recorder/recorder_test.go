package recorder

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "recordings/camera/1.webm"

// rig is a recording with one track of each kind, in a synctest bubble.
type rig struct {
	*Recording
	store        *memory
	video, audio *TrackWriter
	asked        atomic.Int64 // for keyframes
}

func start(tb testing.TB, mime string, cfg Config) *rig {
	tb.Helper()
	g := &rig{store: newMemory()}
	if cfg.Objects == nil {
		cfg.Objects = g.store
	}
	cfg.Key = key
	var err error
	if g.Recording, err = Start(tb.Context(), cfg); err != nil {
		tb.Fatal(err)
	}
	if mime != "" {
		g.video = g.track(tb, Track{ID: "v", MimeType: mime, RequestKeyframe: func() { g.asked.Add(1) }})
	}
	return g
}

func (g *rig) track(tb testing.TB, tr Track) *TrackWriter {
	tb.Helper()
	w, err := g.AddTrack(tr)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func (g *rig) withAudio(t *testing.T) *rig {
	t.Helper()
	g.audio = g.track(t, Track{ID: "a", MimeType: "audio/opus"})
	return g
}

// send sends packets at their times.
func (g *rig) send(packets []sent) {
	var now time.Duration
	for _, p := range packets {
		if p.at > now {
			pause(p.at - now)
			now = p.at
		}
		w := g.video
		if p.audio {
			w = g.audio
		}
		if w != nil {
			_, _ = w.WriteRTP(&p.Header, p.payload)
		}
	}
	pause(frameLength)
}

func (g *rig) data(t *testing.T) []byte {
	t.Helper()
	o := g.store.get(key)
	if o == nil || !o.committed {
		t.Fatal("no committed object")
	}
	return o.data
}

func near(t *testing.T, what string, got, want, off time.Duration) {
	t.Helper()
	if (got - want).Abs() > off {
		t.Errorf("%s: %v, want %v ± %v", what, got, want, off)
	}
}

// TestLargestPicture has a picture become larger, and smaller again: the head says how large it was at most.
func TestLargestPicture(t *testing.T) {
	small, large := media(t, "video/VP8", "320x180"), media(t, "video/VP8", "640x360")
	var packets []sent
	for i, src := range []*source{small, large, small} {
		for _, p := range src.packets() {
			if p.audio {
				continue
			}
			p.at += time.Duration(i) * mediaLength
			p.SequenceNumber += uint16(len(packets)) - p.SequenceNumber + firstSequence
			p.Timestamp += uint32(i) * uint32(mediaLength/time.Second) * 90000
			packets = append(packets, p)
		}
	}
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		g = start(t, "video/VP8", Config{})
		g.send(packets)
		mustClose(t, g.Recording)
	})
	got := validate(t, g.data(t))
	if v := got.Segment.Tracks.TrackEntry[0].Video; v.PixelWidth != 640 || v.PixelHeight != 360 {
		t.Errorf("the head says %dx%d", v.PixelWidth, v.PixelHeight)
	}
}

// What comes out is what went in, picture for picture, for every codec, across the wraps of sequence numbers
// and timestamps, with packets out of order and twice.
func TestLossless(t *testing.T) {
	for mime := range encoders {
		for _, shuffled := range []bool{false, true} {
			src := media(t, mime, "320x180")
			packets := src.packets()
			if shuffled {
				packets = shuffle(packets)
			}
			var result Result
			var g *rig
			synctest.Test(t, func(t *testing.T) {
				g = start(t, mime, Config{}).withAudio(t)
				g.send(packets)
				result = mustClose(t, g.Recording)
			})
			got := validate(t, g.data(t))
			if !slices.Equal(got.md5, src.md5) {
				t.Errorf("%s, shuffled %t: %d pictures differ from the %d of the source", mime, shuffled, len(got.md5), len(src.md5))
			}
			near(t, mime+" duration", got.duration, mediaLength, frameLength)
			near(t, mime+" result", result.Duration, got.duration, time.Millisecond)
			if got.cues != keyframes || result.Size != int64(len(g.data(t))) {
				t.Errorf("%s: %d cues, size %d of %d", mime, got.cues, result.Size, len(g.data(t)))
			}
			contentType, docType := "video/webm", "webm"
			if mime == "video/H264" {
				contentType, docType = "video/x-matroska", "matroska"
			}
			if ct := g.store.get(key).contentType; ct != contentType || got.Header.DocType != docType {
				t.Errorf("%s: content type %s, doc type %s", mime, ct, got.Header.DocType)
			}
			if v := got.Segment.Tracks.TrackEntry[0].Video; v.PixelWidth != 320 || v.PixelHeight != 180 {
				t.Errorf("%s: %dx%d", mime, v.PixelWidth, v.PixelHeight)
			}
			if n := len(got.blocks(2)); n < len(src.audio)-3 {
				t.Errorf("%s: %d packets of sound of %d", mime, n, len(src.audio))
			}
			if s := g.Stats(); s.LostPackets != 0 || s.OverflowPackets != 0 || g.asked.Load() != 0 {
				t.Errorf("%s: %+v, asked for %d keyframes", mime, s, g.asked.Load())
			}
		}
	}
}

// shuffle delays every seventh packet by 60 ms and sends every fifth twice.
func shuffle(packets []sent) []sent {
	var out []sent
	for i, p := range packets {
		if i%5 == 0 {
			out = append(out, p)
		}
		if i%7 == 3 {
			p.at += 60 * time.Millisecond
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b sent) int { return int(a.at - b.at) })
	return out
}

// A picture that is lost takes those after it along, up to the next keyframe; sound goes on.
func TestLoss(t *testing.T) {
	for mime := range encoders {
		src := media(t, mime, "320x180")
		packets := src.packets()
		lost := slices.IndexFunc(packets, func(p sent) bool { return !p.audio && p.at >= 2600*time.Millisecond })
		packets = slices.Delete(packets, lost, lost+1)
		var g *rig
		synctest.Test(t, func(t *testing.T) {
			g = start(t, mime, Config{}).withAudio(t)
			g.send(packets)
			mustClose(t, g.Recording)
		})
		got := validate(t, g.data(t))
		intact := append(slices.Clone(src.md5[:65]), src.md5[100:]...) // 2.6 s to 4 s are gone
		if !slices.Equal(got.md5, intact) {
			t.Errorf("%s: %d pictures, want %d, all intact", mime, len(got.md5), len(intact))
		}
		if s := g.Stats(); s.LostPackets != 1 || g.asked.Load() != 2 {
			t.Errorf("%s: %+v; asked for %d keyframes, want one a second", mime, s, g.asked.Load())
		}
		if n := len(got.blocks(2)); n < len(src.audio)-3 {
			t.Errorf("%s: %d packets of sound of %d", mime, n, len(src.audio))
		}
	}
}

func TestOneKindOnly(t *testing.T) {
	src := media(t, "video/VP8", "320x180")
	for _, audio := range []bool{false, true} {
		var g *rig
		synctest.Test(t, func(t *testing.T) {
			if audio {
				g = start(t, "", Config{}).withAudio(t)
				g.send(slices.DeleteFunc(src.packets(), func(p sent) bool { return !p.audio }))
			} else {
				g = start(t, src.mime, Config{})
				g.send(src.packets())
			}
			mustClose(t, g.Recording)
		})
		got := validate(t, g.data(t))
		near(t, "duration", got.duration, mediaLength, frameLength)
		if n := len(got.Segment.Tracks.TrackEntry); n != 1 || got.cues < keyframes {
			t.Errorf("audio %t: %d tracks, %d cues", audio, n, got.cues)
		}
		if ct := g.store.get(key).contentType; audio && ct != "audio/webm" {
			t.Errorf("content type %s", ct)
		}
	}
}

// Sound that is announced a second late is in the file; sound before the first picture is not.
func TestLateTracks(t *testing.T) {
	src := media(t, "video/VP8", "320x180")
	packets := src.packets()
	t.Run("audio", func(t *testing.T) {
		var g *rig
		synctest.Test(t, func(t *testing.T) {
			g = start(t, src.mime, Config{Tracks: 2, TrackWait: 2 * time.Second})
			at := slices.IndexFunc(packets, func(p sent) bool { return p.at >= time.Second })
			g.send(packets[:at])
			g.withAudio(t)
			rest := slices.Clone(packets[at:])
			for i := range rest {
				rest[i].at -= time.Second
			}
			g.send(rest)
			mustClose(t, g.Recording)
		})
		got := validate(t, g.data(t))
		near(t, "first sound", got.blocks(2)[0], time.Second, 2*frameLength)
		near(t, "first picture", got.blocks(1)[0], 0, 0)
	})
	t.Run("video", func(t *testing.T) {
		var g *rig
		synctest.Test(t, func(t *testing.T) {
			g = start(t, src.mime, Config{}).withAudio(t)
			g.send(slices.DeleteFunc(slices.Clone(packets), func(p sent) bool { return !p.audio && p.at < 700*time.Millisecond }))
			if _, err := g.AddTrack(Track{MimeType: "audio/opus"}); !errors.Is(err, ErrStarted) {
				t.Errorf("track after the start: %v", err)
			}
			mustClose(t, g.Recording)
		})
		got := validate(t, g.data(t))
		if g.asked.Load() == 0 {
			t.Error("no keyframe was asked for")
		}
		near(t, "duration", got.duration, 4*time.Second, frameLength) // from the second keyframe on
		near(t, "first sound", got.blocks(2)[0], 0, 20*time.Millisecond)
	})
}

func TestEmpty(t *testing.T) {
	src := media(t, "video/VP8", "320x180")
	synctest.Test(t, func(t *testing.T) {
		g := start(t, src.mime, Config{}).withAudio(t)
		first := slices.IndexFunc(src.packets(), func(p sent) bool { return !p.audio })
		g.send(src.packets()[first+1 : 20]) // the rest of the keyframe, and pictures that need it
		if r := mustClose(t, g.Recording); !r.Empty || r.Size != 0 || g.store.get(key) != nil {
			t.Errorf("%+v, object %v", r, g.store.get(key))
		}
		if _, err := g.video.WriteRTP(&rtp.Header{}, []byte{1}); !errors.Is(err, ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if _, err := g.AddTrack(Track{MimeType: src.mime}); !errors.Is(err, ErrClosed) {
			t.Errorf("track after close: %v", err)
		}
	})
}

func TestAddTrackRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, "", Config{})
		for _, tr := range []Track{
			{MimeType: "video/H265"},
			{MimeType: "audio/PCMU"},
			{MimeType: "audio/opus", ClockRate: 44100},
			{MimeType: "audio/opus", Channels: 6},
		} {
			if _, err := g.AddTrack(tr); !errors.Is(err, ErrTrack) {
				t.Errorf("%+v: %v", tr, err)
			}
		}
		for range 8 {
			g.track(t, Track{MimeType: "video/vp8"})
		}
		if _, err := g.AddTrack(Track{MimeType: "video/vp8"}); !errors.Is(err, ErrTrack) {
			t.Errorf("ninth track: %v", err)
		}
		mustClose(t, g.Recording)
	})
	if _, err := Start(context.Background(), Config{}); err == nil {
		t.Error("no objects: no error")
	}
}
