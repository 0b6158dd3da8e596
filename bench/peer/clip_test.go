package peer

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ivf makes a file of frames with these times.
func ivf(fourCC string, denominator, numerator uint32, times []uint64, frames ...[]byte) []byte {
	b := append([]byte("DKIF\x00\x00\x20\x00"), fourCC...)
	b = append(b, 0x80, 2, 0x68, 1)
	b = binary.LittleEndian.AppendUint32(b, denominator)
	b = binary.LittleEndian.AppendUint32(b, numerator)
	b = append(b, make([]byte, 8)...)
	for i, at := range times {
		f := frames[i%len(frames)]
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = binary.LittleEndian.AppendUint64(b, at)
		b = append(b, f...)
	}
	return b
}

// TestIVF holds that frames last as long as the file says, whatever it counts in.
func TestIVF(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for name, tt := range map[string]struct {
		file []byte
		want []time.Duration
	}{
		"milliseconds":       {ivf("VP80", 1000, 1, []uint64{0, 33, 67, 100}, []byte{0}), []time.Duration{33 * ms, 34 * ms, 33 * ms, 33 * ms}},
		"frames":             {ivf("VP80", 25, 1, []uint64{0, 1, 2, 4}, []byte{0}), []time.Duration{40 * ms, 40 * ms, 80 * ms, 80 * ms}},
		"the RTP clock":      {ivf("VP80", 90000, 1, []uint64{9000, 10800, 13500}, []byte{0}), []time.Duration{20 * ms, 30 * ms, 30 * ms}},
		"ticks of several":   {ivf("VP80", 1000, 40, []uint64{0, 1, 3}, []byte{0}), []time.Duration{40 * ms, 80 * ms, 80 * ms}},
		"the same time":      {ivf("VP80", 50, 1, []uint64{0, 0, 0}, []byte{0}), []time.Duration{20 * ms, 20 * ms, 20 * ms}},
		"one frame":          {ivf("VP80", 50, 1, []uint64{7}, []byte{0}), []time.Duration{20 * ms}},
		"time goes backward": {ivf("VP80", 1000, 1, []uint64{0, 50, 20, 60}, []byte{0}), []time.Duration{50 * ms, 50 * ms, 40 * ms, 40 * ms}},
	} {
		c, err := readVideo(write(t, "v.ivf", tt.file), 0)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []time.Duration
		for _, s := range c.samples {
			got = append(got, s.took.Round(10*time.Microsecond))
		}
		if !slices.Equal(got, tt.want) || c.mime != webrtc.MimeTypeVP8 {
			t.Errorf("%s: %s, %v, want %v", name, c.mime, got, tt.want)
		}
	}
	for name, file := range map[string][]byte{
		"empty": nil, "no frame": ivf("VP80", 30, 1, nil), "no time": ivf("VP80", 0, 1, nil), "codec": ivf("H263", 30, 1, nil),
		"cut": ivf("VP80", 30, 1, []uint64{0}, []byte{1, 2, 3})[:46], "text": []byte("this is no video"),
	} {
		if c, err := readVideo(write(t, "v", file), 0); err == nil {
			t.Errorf("%s: no error, but %+v", name, c)
		}
	}
}

// TestKeyframes holds what a decoder can begin with, and that a camera that is asked for it finds it.
func TestKeyframes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fourCC     string
		key, other []byte
	}{
		{"VP80", []byte{0x10, 2}, []byte{0x11, 2}},
		{"VP90", []byte{0x82, 0x49}, []byte{0x86, 0}},
		{"VP90", []byte{0xb0, 0x49}, []byte{0xb2, 0}}, // profile 3
		{"VP90", []byte{0x82, 0x49}, []byte{0x8a, 0}}, // shows another frame
		{"AV01", []byte{0x12, 0, 0x0a, 1, 0}, []byte{0x12, 0, 0x32, 1, 0}},
		{"AV01", []byte{0x0a, 1, 0}, []byte{0x32, 1, 0}},
	} {
		c, err := readVideo(write(t, "v.ivf", ivf(tt.fourCC, 30, 1, []uint64{0, 1, 2, 3, 4, 5}, tt.key, tt.other, tt.other)), 0)
		if err != nil {
			t.Fatal(err)
		}
		for from, want := range []int{0, 3, 3, 3, 0, 0} {
			if got := c.from(from); got != want {
				t.Errorf("%s, %x: from %d the next keyframe is %d, want %d", tt.fourCC, tt.key, from, got, want)
			}
		}
	}
	if c := (&clip{samples: make([]sample, 3)}); c.from(5) != 2 {
		t.Error("without a keyframe the camera does not go on")
	}
}

// TestH264 holds where pictures of an Annex B file end.
func TestH264(t *testing.T) {
	t.Parallel()
	var file []byte
	nal := func(b ...byte) []byte {
		file = append(file, 0, 0, 0, 1)
		file = append(file, b...)
		return append([]byte{0, 0, 0, 1}, b...)
	}
	want := [][]byte{
		bytes.Join([][]byte{nal(9, 0x10), nal(0x67, 1, 2), nal(0x68, 3), nal(0x65, 0x88, 4), nal(0x65, 0x40, 5)}, nil), // two slices
		nal(0x41, 0x9a, 6),
		bytes.Join([][]byte{nal(9, 0x30), nal(0x41, 0x9a, 7)}, nil),
		bytes.Join([][]byte{nal(0x67, 1, 2), nal(0x68, 3), nal(0x65, 0x88, 8)}, nil),
	}
	c, err := readVideo(write(t, "v.h264", file), 25)
	if err != nil || c.mime != webrtc.MimeTypeH264 || len(c.samples) != len(want) {
		t.Fatalf("%d pictures of %s, %v", len(c.samples), c.mime, err)
	}
	for i, s := range c.samples {
		if !bytes.Equal(s.data, want[i]) || s.key != (i%3 == 0) || s.took != 40*time.Millisecond {
			t.Errorf("picture %d is %x, key %t, for %v", i, s.data, s.key, s.took)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add(ivf("VP90", 30, 1, []uint64{0, 1}, []byte{0x82}))
	f.Add(ivf("AV01", 1<<31, 1<<31, []uint64{0, 1 << 63}, []byte{0x12, 0, 0x0a}))
	f.Add([]byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 || bytes.HasPrefix(b, []byte("DKIF")) && len(b) > 36 && sizes(b) > 1<<20 {
			return // pion makes room for what a frame says that it has
		}
		c := &clip{}
		if c.readVideo(b, 0) != nil {
			return
		}
		for i, s := range c.samples {
			if s.took < minTook || s.took > maxTook {
				t.Fatalf("sample %d lasts %v", i, s.took)
			}
		}
	})
}

// sizes is the longest frame that an IVF file claims to have.
func sizes(b []byte) (most uint32) {
	for at := 32; at+12 <= len(b); {
		n := binary.LittleEndian.Uint32(b[at:])
		most = max(most, n)
		if at += 12 + int(n); at < 0 {
			break
		}
	}
	return most
}
