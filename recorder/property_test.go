package recorder

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/at-wat/ebml-go"
	"pgregory.net/rapid"
)

// Whatever the network does, the file parses, its timestamps grow, and after every gap it goes on with a
// keyframe. Pictures are whole or not there.
func TestAnyNetwork(t *testing.T) {
	t.Parallel()
	for _, mime := range []string{"video/VP8", "video/VP9"} { // their frames are the same in RTP and in files
		src := media(t, mime, "320x180")
		order := map[string]int{}
		for i, f := range src.frames {
			order[string(f.data)] = i
		}
		packets := src.packets()
		rapid.Check(t, func(rt *rapid.T) {
			bad := impair(rt, packets)
			var data []byte
			synctest.Test(t, func(t *testing.T) {
				g := start(t, mime, Config{}).withAudio(t)
				g.send(bad)
				if r := mustClose(t, g.Recording); !r.Empty {
					data = g.data(t)
				}
			})
			if data == nil {
				return
			}
			var p parsed
			if err := ebml.Unmarshal(bytes.NewReader(data), &p); err != nil {
				rt.Fatal(err)
			}
			if err := p.rules(); err != nil {
				rt.Fatal(err)
			}
			if err := p.continuous(order); err != nil {
				rt.Fatal(err)
			}
		})
	}
}

// impair drops, delays and doubles packets.
func impair(t *rapid.T, packets []sent) []sent {
	loss := rapid.IntRange(0, 60).Draw(t, "loss")
	var out []sent
	for i := 0; i < len(packets); i++ {
		p := packets[i]
		switch n := rapid.IntRange(0, 2000).Draw(t, "n"); {
		case n < loss:
			continue
		case n < 2*loss:
			p.at += time.Duration(rapid.IntRange(1, 500).Draw(t, "ms")) * time.Millisecond
		case n < 3*loss:
			out = append(out, p)
		case n == 2000:
			i += rapid.IntRange(0, 300).Draw(t, "burst")
		}
		out = append(out, p)
	}
	slices.SortStableFunc(out, func(a, b sent) int { return int(a.at - b.at) })
	return out
}

// continuous reports where pictures are missing in front of one that needs them.
func (p parsed) continuous(order map[string]int) error {
	last := -1
	for _, c := range p.Segment.Cluster {
		for _, b := range c.SimpleBlock {
			if b.TrackNumber != 1 {
				continue
			}
			i, ok := order[string(b.Data[0])]
			if !ok {
				return fmt.Errorf("picture at %d%+d ms is not whole", c.Timecode, b.Timecode)
			}
			if i != last+1 && !b.Keyframe {
				return fmt.Errorf("picture %d after %d", i, last)
			}
			last = i
		}
	}
	return nil
}

// Retransmissions that come within the wait leave no trace.
func TestRetransmission(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	packets := src.packets()
	for i := range packets {
		if i > 0 && i%11 == 0 {
			packets[i].at += 150 * time.Millisecond
		}
	}
	slices.SortStableFunc(packets, func(a, b sent) int { return int(a.at - b.at) })
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		g = start(t, src.mime, Config{}).withAudio(t)
		g.send(packets)
		mustClose(t, g.Recording)
	})
	if got := validate(t, g.data(t)); !slices.Equal(got.md5, src.md5) {
		t.Errorf("%d pictures differ from the %d of the source", len(got.md5), len(src.md5))
	}
}

// Padding has sequence numbers but no media.
func TestPadding(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP8", "320x180")
	var packets []sent
	var shift uint16
	for i, p := range src.packets() {
		if p.audio {
			continue
		}
		p.SequenceNumber += shift
		packets = append(packets, p)
		if i%3 == 0 {
			shift++
			p.SequenceNumber++
			p.payload, p.Padding, p.Marker = nil, true, false
			packets = append(packets, p)
		}
	}
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		g = start(t, src.mime, Config{})
		g.send(packets)
		mustClose(t, g.Recording)
	})
	if got := validate(t, g.data(t)); len(got.md5) != len(src.frames) {
		t.Errorf("%d pictures of %d", len(got.md5), len(src.frames))
	}
}

// Spatial layers of VP9 come in packets of their own and share a block, of which the highest alone is shown.
func TestSpatialLayers(t *testing.T) {
	t.Parallel()
	src := media(t, "video/VP9", "320x180")
	var packets []sent
	for i, f := range src.frames {
		layer := byte(i % 2)
		inter := byte(0x40)
		if f.key && layer == 0 {
			inter = 0
		}
		descriptor := []byte{0x20 | 0x08 | 0x04 | inter, layer << 1, 0} // L, B, E; the frame as it is
		p := sent{at: src.frames[i-i%2].at, payload: append(descriptor, f.data...)}
		p.SequenceNumber, p.Timestamp = uint16(i), uint32(p.at/time.Millisecond*90)
		p.Marker = layer == 1
		packets = append(packets, p)
	}
	var g *rig
	synctest.Test(t, func(t *testing.T) {
		g = start(t, src.mime, Config{})
		g.send(packets)
		mustClose(t, g.Recording)
	})
	data := g.data(t)
	if n := len(parse(t, data).blocks(1)); n != len(src.frames)/2 {
		t.Errorf("%d blocks of %d", n, len(src.frames)/2)
	}
	path := filepath.Join(t.TempDir(), "recording.webm")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out := run(t, "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path)
	if want := strconv.Itoa(len(src.frames) / 2); strings.TrimSpace(out) != want {
		t.Errorf("%s pictures shown, want %s", out, want)
	}
}
