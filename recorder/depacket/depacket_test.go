package depacket

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"
)

var all = []string{"V_VP8", "V_VP9", "V_AV1", "V_MPEG4/ISO/AVC", "A_OPUS"}

// put puts payloads together to one frame.
func put(d Depacketizer, payloads ...[]byte) (Frame, error) {
	d.Reset()
	var frame []byte
	for _, p := range payloads {
		var err error
		if frame, err = d.Push(frame, p); err != nil {
			return Frame{}, err
		}
	}
	return d.Finish(frame)
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, codec := range all {
		if New(codec) == nil {
			t.Errorf("%s: none", codec)
		}
	}
	if New("V_THEORA") != nil {
		t.Error("V_THEORA: one")
	}
}

func TestVP8(t *testing.T) {
	t.Parallel()
	key := append([]byte{0x10, 0, 0, 0x9D, 0x01, 0x2A, 0x40, 0x41, 0xF0, 0x80}, make([]byte, 3000)...)
	for name, pay := range map[string]*codecs.VP8Payloader{"plain": {}, "picture id": {EnablePictureID: true}} {
		d := New("V_VP8")
		for range 200 { // picture ids of one and two bytes
			payloads := pay.Payload(1000, key)
			f, err := put(d, payloads...)
			if err != nil || !f.Keyframe || f.Width != 320 || f.Height != 240 || !bytes.Equal(f.Data, key) {
				t.Fatalf("%s: %v, keyframe %t, %dx%d", name, err, f.Keyframe, f.Width, f.Height)
			}
			if !d.Begins(payloads[0]) || d.Begins(payloads[1]) {
				t.Fatalf("%s: begins", name)
			}
			if _, err := put(d, payloads[1:]...); !errors.Is(err, ErrInvalid) {
				t.Fatalf("%s: without its beginning: %v", name, err)
			}
		}
	}
	if f, err := put(New("V_VP8"), []byte{0x90, 0xF0, 0x81, 2, 3, 4, 0x11, 9}); err != nil || f.Keyframe || len(f.Data) != 2 {
		t.Errorf("all extensions: %+v, %v", f, err)
	}
}

func TestVP9Header(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		frame         string
		width, height int
		err           error
	}{
		"profile 0":     {"82498342" + "0013f00b30" + "00", 320, 180, nil},
		"not key":       {"8600400000", 0, 0, nil},
		"show existing": {"88", 0, 0, nil},
		"bad sync":      {"82498343001380000000", 0, 0, ErrInvalid},
		"bad marker":    {"42498342001380000000", 0, 0, ErrInvalid},
		"cut":           {"82498342", 0, 0, ErrInvalid},
	} {
		f, err := vp9Header(unhex(t, test.frame))
		if !errors.Is(err, test.err) || err == nil && (f.Width != test.width || f.Height != test.height) {
			t.Errorf("%s: %dx%d, %v", name, f.Width, f.Height, err)
		}
	}
}

func TestVP9Descriptor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		payload string
		media   int
		want    vp9Descriptor
	}{
		"plain":               {"0c" + "aabb", 2, vp9Descriptor{begin: true}},
		"short picture id":    {"8c7f" + "aabb", 2, vp9Descriptor{begin: true}},
		"long picture id":     {"8cffff" + "aabb", 2, vp9Descriptor{begin: true}},
		"layers":              {"2c0405" + "aabb", 2, vp9Descriptor{begin: true, spatial: 2}},
		"flexible references": {"5c030302" + "aa", 1, vp9Descriptor{begin: true, inter: true}},
		"structure": {
			"0a" + "38" + "0140" + "00b4" + "0280" + "0168" + "01" + "04" + "07" + "aa", 1,
			vp9Descriptor{begin: true, width: 640, height: 360},
		},
	} {
		got, ok := (&vp9{}).descriptor(unhex(t, test.payload))
		media := got.media
		if got.media = nil; !ok || len(media) != test.media || got.inter != test.want.inter || got.begin != test.want.begin ||
			got.spatial != test.want.spatial || got.width != test.want.width || got.height != test.want.height {
			t.Errorf("%s: %+v, media %x, %t", name, got, media, ok)
		}
	}
	for _, cut := range []string{"", "0c", "8c", "8cff", "2c04", "5c03030303aa", "0a38", "0affff"} {
		if _, ok := (&vp9{}).descriptor(unhex(t, cut)); ok {
			t.Errorf("%s: taken", cut)
		}
	}
}

func TestAV1(t *testing.T) {
	t.Parallel()
	// A sequence header of 320x180, main profile, and a keyframe, as an encoder makes them, with their sizes.
	sequence := unhex(t, "0a0b000000043cfeccdaf90040")
	frame := append([]byte{0x32, 0x03}, 0x10, 1, 2)
	whole := append(bytes.Clone(sequence), frame...)
	noSize := func(obu []byte) []byte { return append([]byte{obu[0] &^ 2}, obu[2:]...) }
	s, f := noSize(sequence), noSize(frame)
	lengths := func(obus ...[]byte) []byte {
		var b []byte
		for _, o := range obus {
			b = append(append(b, byte(len(o))), o...)
		}
		return b
	}
	for name, payloads := range map[string][][]byte{
		"two in one":     {append(append([]byte{0x28}, lengths(s)...), f...)},
		"with lengths":   {append([]byte{0x08}, lengths(s, f)...)},
		"with sizes":     {append([]byte{0x08}, lengths(sequence, frame)...)},
		"with delimiter": {append([]byte{0x08}, lengths([]byte{0x12, 0}, s, f)...)},
		"with padding":   {append([]byte{0x08}, lengths(s, f, []byte{0x78, 1, 2})...)},
		"one each":       {append([]byte{0x18}, s...), append([]byte{0x10}, f...)},
		"in fragments": {
			append([]byte{0x68}, append(lengths(s), f[:1]...)...), append([]byte{0xD0}, f[1:2]...), append([]byte{0x90}, f[2:]...),
		},
		"fragment, length": {append([]byte{0x48}, lengths(s, f[:2])...), append([]byte{0x80}, lengths(f[2:])...)},
	} {
		d := New("V_AV1")
		got, err := put(d, payloads...)
		if err != nil || !got.Keyframe || !bytes.Equal(got.Data, whole) || !d.Begins(payloads[0]) {
			t.Errorf("%s: %v, keyframe %t, %x", name, err, got.Keyframe, got.Data)
			continue
		}
		if want := append(unhex(t, "81000c00"), sequence...); !bytes.Equal(got.Private, want) || got.Width != 320 || got.Height != 180 {
			t.Errorf("%s: %dx%d, private %x", name, got.Width, got.Height, got.Private)
		}
	}
	for name, payloads := range map[string][][]byte{
		"empty":                 {{0x10}},
		"tail without its head": {append([]byte{0x90}, f...)},
		"never ends":            {append([]byte{0x58}, f...)},
		"length beyond":         {{0x08, 9, 1}},
		"size beyond":           {{0x18, 0x32, 0x09, 1}},
		"forbidden bit":         {{0x18, 0xB0, 1}},
	} {
		if got, err := put(New("V_AV1"), payloads...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %x, %v", name, got.Data, err)
		}
	}
}

func TestOpus(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]time.Duration{
		"\x00": 10 * time.Millisecond, "\x18": 60 * time.Millisecond, "\x19": 120 * time.Millisecond,
		"\x60": 10 * time.Millisecond, "\x78": 20 * time.Millisecond, "\x80": 2500 * time.Microsecond,
		"\xFC": 20 * time.Millisecond, "\xFE": 40 * time.Millisecond, "\xFB\x06": 120 * time.Millisecond,
	} {
		f, err := put(New("A_OPUS"), []byte(packet))
		if err != nil || f.Duration != want || !f.Keyframe {
			t.Errorf("%x: %v, %v; want %v", packet, f.Duration, err, want)
		}
	}
	for _, packet := range []string{"", "\x03", "\xFB\x00", "\xFB\x3F", "\x1B\x03"} {
		if _, err := put(New("A_OPUS"), []byte(packet)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%x: %v", packet, err)
		}
	}
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	payload := make([]byte, 60000)
	for codec, heads := range map[string][2][]byte{
		"V_VP8":           {{0x10}, {0x00}},
		"V_VP9":           {{0x08}, {0x00}},
		"V_AV1":           {{0x50}, {0xD0}},
		"V_MPEG4/ISO/AVC": {{0x7C, 0x85}, {0x7C, 0x05}},
	} {
		d := New(codec)
		d.Reset()
		frame, err := d.Push(nil, append(heads[0], payload...))
		for i := 0; i < 100 && err == nil; i++ {
			frame, err = d.Push(frame, append(heads[1], payload...))
		}
		if !errors.Is(err, ErrLarge) || len(frame) > MaxFrame {
			t.Errorf("%s: %d bytes, %v", codec, len(frame), err)
		}
	}
}

// FuzzDepacketizers gives each of them any payloads, several frames in a row.
func FuzzDepacketizers(f *testing.F) {
	f.Add([]byte{3, 0x10, 0x10, 0, 4, 0x90, 0xF0, 0x81, 2})
	f.Add([]byte{5, 0x7C, 0x85, 1, 2, 3, 4, 0x7C, 0x45, 1, 2})
	f.Add([]byte{9, 0x0A, 0x38, 1, 64, 0, 180, 2, 128, 1})
	f.Add([]byte{14, 0x18, 0x0a, 0x0b, 0, 0, 0, 4, 0x47, 0x1b, 0x3d, 0x6c, 0xc0, 0x80, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, codec := range all {
			d := New(codec)
			for rest := data; len(rest) > 0; {
				d.Reset()
				var frame []byte
				for i := 0; i < 3 && len(rest) > 0; i++ {
					n := min(int(rest[0]), len(rest)-1)
					payload := rest[1 : 1+n]
					rest = rest[1+n:]
					d.Begins(payload)
					var err error
					if frame, err = d.Push(frame, payload); err != nil {
						break
					}
				}
				got, err := d.Finish(frame)
				if err == nil && len(got.Data) > MaxFrame {
					t.Fatalf("%s: %d bytes", codec, len(got.Data))
				}
				if err == nil && got.Keyframe && codec != "A_OPUS" && (got.Width <= 0 || got.Height <= 0) {
					t.Fatalf("%s: keyframe of %dx%d", codec, got.Width, got.Height)
				}
			}
		}
	})
}

func BenchmarkPush(b *testing.B) {
	payload := append([]byte{0x10, 0x10}, make([]byte, 1100)...)
	d, frame := New("V_VP8"), make([]byte, 0, 2000)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if frame, err = d.Push(frame[:0], payload); err != nil {
			b.Fatal(err)
		}
	}
}
