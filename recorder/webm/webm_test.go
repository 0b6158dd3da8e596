package webm

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWholeFile(t *testing.T) {
	t.Parallel()
	d := newDisk(math.MaxInt)
	if err := write(d, Options{Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, 7); err != nil {
		t.Fatal(err)
	}
	p := check(t, d.data)
	if got := p.Segment.Info.Duration; got != 7000 {
		t.Errorf("duration %v, want 7000", got)
	}
	if got := len(p.Segment.Cues.CuePoint); got != 4 {
		t.Errorf("%d cues, want one for each keyframe: 4", got)
	}
	if got := p.Segment.Info.DateUTC; !got.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("date %v", got)
	}
	audio := p.Segment.Tracks.TrackEntry[1]
	if audio.CodecDelay != 6_500_000 || audio.SeekPreRoll != 80_000_000 || len(audio.CodecPrivate) != 19 {
		t.Errorf("opus: delay %d, pre-roll %d, head %x", audio.CodecDelay, audio.SeekPreRoll, audio.CodecPrivate)
	}
}

// A process may be killed before, after and in the middle of every write. Whatever there is then must become a
// whole file that misses the last cluster at most.
func TestRepairAfterKill(t *testing.T) {
	t.Parallel()
	const cues = 4 // so that they are thinned out several times
	whole := newDisk(math.MaxInt)
	if err := write(whole, Options{Cues: cues}, 40); err != nil {
		t.Fatal(err)
	}
	var points []int
	for _, before := range whole.writes {
		points = append(points, before, before+1, before+8, before+20, before+33, before+120, before+180, before+300)
	}
	points = append(points, whole.total)
	slices.Sort(points)
	var longest time.Duration
	for _, left := range slices.Compact(points) {
		d := newDisk(left)
		if err := write(d, Options{Cues: cues}, 40); err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		r := repaired(t, d)
		if r.Duration < longest {
			t.Fatalf("killed after %d bytes: %v, but %v were there before", left, r.Duration, longest)
		}
		longest = r.Duration
	}
	if longest != 40*time.Second {
		t.Errorf("longest file lasts %v", longest)
	}
}

// repaired repairs a file twice, as after a second kill, and checks it.
func repaired(t *testing.T, d *disk) Repaired {
	t.Helper()
	d.left = math.MaxInt
	r, err := Repair(d)
	if err != nil {
		t.Fatalf("repair: %v", err)
	}
	if r.Empty {
		if len(d.data) > 0 && d.Size() > 1000+MaxHead {
			t.Fatalf("%d bytes said to be empty", len(d.data))
		}
		return r
	}
	again, err := Repair(d)
	if err != nil || again != r {
		t.Fatalf("second repair: %+v, %v; first %+v", again, err, r)
	}
	if r.Size != d.Size() {
		t.Fatalf("size %d, is %d", r.Size, d.Size())
	}
	p := check(t, d.data)
	if got := time.Duration(p.Segment.Info.Duration) * time.Millisecond; got != r.Duration {
		t.Fatalf("duration %v, file says %v", r.Duration, got)
	}
	if len(p.Segment.Cues.CuePoint) == 0 {
		t.Fatal("no cues")
	}
	return r
}

// A kill in the middle of repairing must not do harm either.
func TestRepairKilled(t *testing.T) {
	t.Parallel()
	broken := newDisk(100_000)
	if err := write(broken, Options{Cues: 4}, 40); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	for left := range 400 {
		d := &disk{data: bytes.Clone(broken.data), last: broken.last, left: left}
		if _, err := Repair(d); err != nil && !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		repaired(t, d)
	}
}

func TestRepairRefuses(t *testing.T) {
	t.Parallel()
	good := newDisk(math.MaxInt)
	if err := write(good, Options{}, 3); err != nil {
		t.Fatal(err)
	}
	lost := bytes.Clone(good.data)
	l, _ := readLayout(lost)
	clear(lost[l.journal:l.journalEnd])
	for name, data := range map[string][]byte{
		"text":          bytes.Repeat([]byte("not a recording "), 10),
		"large garbage": bytes.Repeat([]byte{0x1A}, MaxHead+10),
		"no journal":    lost,
		"other webm":    appendBytes(appendBytes(nil, idEBML, nil), idSegment, bytes.Repeat([]byte{0xEC, 0x80}, 9000)),
	} {
		d := &disk{data: bytes.Clone(data), left: math.MaxInt}
		if r, err := Repair(d); !errors.Is(err, ErrDamaged) || !bytes.Equal(d.data, data) {
			t.Errorf("%s: %+v, %v; changed: %t", name, r, err, !bytes.Equal(d.data, data))
		}
	}
}

func TestAudioOnly(t *testing.T) {
	t.Parallel()
	d := newDisk(math.MaxInt)
	w, err := NewWriter(d, both[1:], Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		err := w.WriteFrame(Frame{
			Time: time.Duration(i) * 20 * time.Millisecond, Duration: 20 * time.Millisecond, Keyframe: true, Data: []byte{1},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	p := check(t, d.data)
	if got := len(p.Segment.Cues.CuePoint); got != 10 {
		t.Errorf("%d cues in 10 s, want 10", got)
	}
}

func TestWriterRefuses(t *testing.T) {
	t.Parallel()
	for name, tracks := range map[string][]Track{
		"none":        nil,
		"many":        make([]Track, MaxTracks+1),
		"no size":     {{Codec: VP8}},
		"no channels": {{Codec: Opus}},
		"unknown":     {{Codec: "V_THEORA", Width: 1, Height: 1}},
		"private":     {{Codec: AV1, Width: 1, Height: 1, Private: make([]byte, maxPrivate+1)}},
	} {
		if _, err := NewWriter(newDisk(math.MaxInt), tracks, Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	w, err := NewWriter(newDisk(math.MaxInt), both, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteFrame(Frame{Time: time.Second}); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Frame{
		"earlier": {Time: time.Second - 1},
		"track":   {Track: 2, Time: time.Second},
		"large":   {Time: time.Second, Data: make([]byte, MaxFrame+1)},
	} {
		if err := w.WriteFrame(f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Whatever frames come, the file parses after every flush.
func TestAnyFrames(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := newDisk(math.MaxInt)
		w, err := NewWriter(d, both, Options{Cues: rapid.IntRange(2, 9).Draw(t, "cues")})
		if err != nil {
			t.Fatal(err)
		}
		var at [2]time.Duration
		for i := range rapid.IntRange(1, 60).Draw(t, "frames") {
			track := rapid.IntRange(0, 1).Draw(t, "track")
			if i > 0 {
				at[track] += time.Duration(rapid.IntRange(0, 90_000).Draw(t, "step")) * time.Millisecond
			}
			if err := w.WriteFrame(Frame{
				Track: track, Time: at[track], Duration: time.Millisecond,
				Keyframe: track == 1 || rapid.Bool().Draw(t, "key"), Data: make([]byte, rapid.IntRange(0, 999).Draw(t, "size")),
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var p parsed
		if err := parse(d.data, &p); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNoAllocations(t *testing.T) {
	d := newDisk(math.MaxInt)
	d.data = make([]byte, 0, 64<<20)
	d.writes = make([]int, 0, 1<<16)
	w, err := NewWriter(d, both, Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, at := make([]byte, 2000), time.Duration(0)
	frame := func() {
		at += 20 * time.Millisecond
		if w.WriteFrame(Frame{Time: at, Duration: 1, Keyframe: at%time.Second == 0, Data: data}) != nil {
			t.Fatal("write failed")
		}
	}
	for range 200 {
		frame()
	}
	if n := testing.AllocsPerRun(5000, frame); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

func FuzzRepair(f *testing.F) {
	for _, left := range []int{100, 1000, 70_000, 90_000} {
		d := newDisk(left)
		_ = write(d, Options{Cues: 20}, 10)
		f.Add(d.data[:min(len(d.data), 4000)], int64(len(d.data)))
	}
	f.Fuzz(func(t *testing.T, head []byte, size int64) {
		if len(head) > MaxHead {
			return
		}
		l, s, err := inspect(head, max(size, int64(len(head))))
		if err == nil && s.end > int64(l.end) {
			l.patch(head[:l.journalEnd], s)
			d := &disk{data: make([]byte, l.end), left: math.MaxInt}
			if err := l.fill(d, s, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// nowhere is a file that costs nothing.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error)            { return len(p), nil }
func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func BenchmarkWriteFrame(b *testing.B) {
	w, err := NewWriter(nowhere{}, both, Options{})
	if err != nil {
		b.Fatal(err)
	}
	data, at := make([]byte, 8000), time.Duration(0)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		at += 33 * time.Millisecond
		if err := w.WriteFrame(Frame{Time: at, Duration: 1, Keyframe: at%(990*time.Millisecond) == 0, Data: data}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestEnlarge has the head name the largest picture, whatever comes before and after.
func TestEnlarge(t *testing.T) {
	t.Parallel()
	d := newDisk(math.MaxInt)
	w, err := NewWriter(d, both, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range [][2]int{{160, 120}, {1 << 16, 1 << 16}, {640, 480}} {
		if err := w.Enlarge(0, size[0], size[1]); err != nil {
			t.Fatal(err)
		}
		if err := w.WriteFrame(Frame{
			Time: time.Duration(i) * 3 * time.Second, Duration: 40 * time.Millisecond, Keyframe: true, Data: []byte{1},
		}); err != nil {
			t.Fatal(err)
		}
		want := max(320, min(w.sides[0].width, maxSide))
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if v := check(t, d.data).Segment.Tracks.TrackEntry[0].Video; v.PixelWidth != uint64(want) {
			t.Errorf("after %v the head says %dx%d, want a width of %d", size, v.PixelWidth, v.PixelHeight, want)
		}
	}
	for _, bad := range []int{-1, 1, 2} {
		if err := w.Enlarge(bad, 9000, 9000); !errors.Is(err, errFrame) {
			t.Errorf("track %d: %v", bad, err)
		}
	}
	if err := w.Enlarge(0, 0, 9); !errors.Is(err, errFrame) {
		t.Errorf("no width: %v", err)
	}
}
