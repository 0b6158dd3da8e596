package depacket

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ivfFrames returns the frames of an IVF file.
func ivfFrames(t *testing.T, file []byte) (frames [][]byte) {
	t.Helper()
	for rest := file[32:]; len(rest) > 12; {
		n := 12 + int(binary.LittleEndian.Uint32(rest))
		frames = append(frames, rest[12:n])
		rest = rest[n:]
	}
	return frames
}

// ivfFile makes a file of frames, with the head of another.
func ivfFile(head []byte, frames [][]byte) []byte {
	out := bytes.Clone(head[:32])
	for i, f := range frames {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(f)))
		out = binary.LittleEndian.AppendUint64(out, uint64(i))
		out = append(out, f...)
	}
	return out
}

// decoded returns a sum of each picture that ffmpeg makes of a file.
func decoded(t *testing.T, path string) (sums []string) {
	t.Helper()
	for line := range strings.Lines(ffmpeg(t, "-i", path, "-fps_mode", "passthrough", "-f", "framemd5", "-")) {
		if f := strings.Split(line, ","); len(f) == 6 && !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return sums
}

func ffmpeg(t *testing.T, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

// TestLowerLayersAreHidden sends pairs of pictures as two spatial layers of one, in what encoders do with and without
// segmentation and tiles: a player shows each second one, the same as when it is shown all of them.
func TestLowerLayersAreHidden(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"small":    {"testsrc2=size=320x180:rate=25", "-aq-mode", "0"},
		"segments": {"testsrc2=size=640x360:rate=25", "-aq-mode", "3"},
		"tiles":    {"testsrc2=size=1280x720:rate=25", "-tile-columns", "2", "-tile-rows", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plain := filepath.Join(t.TempDir(), "plain.ivf")
			encode := append([]string{"-f", "lavfi", "-i"}, args...)
			encode = append(encode, "-frames:v", "21", "-pix_fmt", "yuv420p", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8",
				"-b:v", "400k", "-lag-in-frames", "0", "-error-resilient", "1", "-g", "1000", plain)
			ffmpeg(t, encode...)
			file, err := os.ReadFile(plain)
			if err != nil {
				t.Fatal(err)
			}
			d, frames := &vp9{}, ivfFrames(t, file)
			layered := [][]byte{frames[0]}
			for i := 1; i+1 < len(frames); i += 2 {
				d.Reset()
				var frame []byte
				for spatial, f := range frames[i : i+2] {
					// Inter-picture predicted, layered, flexible, begin and end of a layer's frame; one reference.
					if frame, err = d.Push(frame, append([]byte{0x7c, byte(spatial << 1), 1 << 1}, f...)); err != nil {
						t.Fatal(err)
					}
				}
				d.widths[0] = map[string]int{"small": 320, "segments": 640, "tiles": 1280}[name]
				got, err := d.Finish(frame)
				if err != nil {
					t.Fatal(err)
				}
				layered = append(layered, got.Data)
			}
			path := filepath.Join(t.TempDir(), "layered.ivf")
			if err := os.WriteFile(path, ivfFile(file, layered), 0o600); err != nil {
				t.Fatal(err)
			}
			all, got := decoded(t, plain), decoded(t, path)
			if len(all) != 21 || len(got) != 11 {
				t.Fatalf("%d and %d pictures", len(all), len(got))
			}
			for i, sum := range got {
				if sum != all[2*i] {
					t.Errorf("picture %d is not picture %d of the stream", i, 2*i)
				}
			}
		})
	}
}

// TestHideInserts moves what follows by one bit, and nothing else, for headers of any length.
func TestHideInserts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		frame := rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "frame")
		if rapid.Bool().Draw(t, "plausible") {
			frame = append([]byte{0x86}, frame...) // a predicted frame that is shown
		}
		width := rapid.IntRange(0, 8000).Draw(t, "width")
		h, ok := shown(frame, width)
		got, _ := hide(bytes.Clone(frame), width)
		if !ok {
			if !bytes.Equal(got, frame) {
				t.Fatal("what cannot be read was changed")
			}
			return
		}
		bit := func(b []byte, i int) byte { return b[i/8] >> (7 - i%8) & 1 }
		if bit(got, h.show) != 0 || len(got)-len(frame) > 1 {
			t.Fatalf("% x of % x", got, frame)
		}
		if h.end == 0 {
			return
		}
		for i := range h.end {
			j := i
			if i >= h.after {
				j++
			}
			if i != h.show && bit(got, j) != bit(frame, i) {
				t.Fatalf("bit %d of % x is not bit %d of % x", j, got, i, frame)
			}
		}
		if was, is := (h.end+7)/8, (h.end+8)/8; bit(got, h.after) != 0 || !bytes.Equal(got[is:], frame[was:]) {
			t.Fatalf("% x of % x", got, frame)
		}
	})
}

func FuzzHide(f *testing.F) {
	f.Add([]byte{0x86, 0, 0x40, 0x92, 0x80, 0, 0, 1, 0, 1}, uint16(640))
	f.Fuzz(func(t *testing.T, frame []byte, width uint16) {
		if got, w := hide(bytes.Clone(frame), int(width)); len(got)-len(frame) > 1 || w < 0 || w > 1<<16 {
			t.Fatalf("%d bytes of %d, width %d", len(got), len(frame), w)
		}
	})
}
