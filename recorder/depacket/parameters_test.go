package depacket

import (
	"bytes"
	"errors"
	"testing"
)

func TestH264(t *testing.T) {
	t.Parallel()
	sps := unhex(t, "6742c00cda05067e7c0440000003004000000c83c50aa8")
	pps := unhex(t, "68ce0fc8")
	idr := append([]byte{0x65, 0x88}, make([]byte, 4000)...)
	stap := append(append([]byte{0x18, 0, byte(len(sps))}, sps...), append([]byte{0, byte(len(pps))}, pps...)...)
	fragments := [][]byte{append([]byte{0x7C, 0x85}, idr[1:2000]...), append([]byte{0x7C, 0x45}, idr[2000:]...)}
	d := New("V_MPEG4/ISO/AVC")
	f, err := put(d, append([][]byte{stap}, fragments...)...)
	want := len(sps) + len(pps) + len(idr) + 12
	if err != nil || !f.Keyframe || len(f.Data) != want || f.Width != 320 || f.Height != 180 {
		t.Fatalf("%v, keyframe %t, %d bytes of %d, %dx%d", err, f.Keyframe, len(f.Data), want, f.Width, f.Height)
	}
	if !d.Begins(stap) || !d.Begins(fragments[0]) || d.Begins(fragments[1]) || d.Begins([]byte{0x65, 0x08}) {
		t.Error("begins")
	}
	// Parameters may come under a timestamp of their own.
	d = New("V_MPEG4/ISO/AVC")
	if f, err := put(d, sps, pps); err != nil || len(f.Data) != 0 {
		t.Errorf("parameters: %+v, %v", f, err)
	}
	if f, err := put(d, idr); err != nil || !f.Keyframe || len(f.Data) != want {
		t.Errorf("without own parameters: %v, %d bytes of %d", err, len(f.Data), want)
	}
	for name, payloads := range map[string][][]byte{
		"no parameters":         {idr},
		"fragment without head": fragments[1:],
		"fragment without end":  fragments[:1],
		"fragment interrupted":  {fragments[0], idr},
		"aggregate beyond":      {{0x18, 0, 9, 1}},
		"empty aggregate":       {{0x18, 0, 0, 1}},
		"interleaved":           {{25, 1, 2, 3}},
		"empty":                 {{}},
	} {
		if f, err := put(New("V_MPEG4/ISO/AVC"), payloads...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %d bytes, %v", name, len(f.Data), err)
		}
	}
}

// The configurations are what ffmpeg writes for the same parameters.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		avcC          string
		width, height int
	}{
		"baseline": {"0142c00cffe100176742c00cda05067e7c0440000003004000000c83c50aa801000468ce0fc8", 320, 180},
		"high with scaling lists": {
			"0164000dffe1001a6764000dacd941519e226c04400000030040" + "00000c83c50a6580" + "01000768ebe3cb3002c0fdf8f800", 322, 182,
		},
		"4:4:4, 10 bit, interlaced": {
			"01f40015ffe1001b67f4001590d9b282a678f9b01100000300010000030032" + "1f14299601000668fba3c44844fffafa00", 322, 182,
		},
	} {
		want := unhex(t, test.avcC)
		n := 8 + int(want[7])
		sps, m := want[8:n], int(want[n+2])
		f, err := put(New("V_MPEG4/ISO/AVC"), sps, want[n+3:n+3+m], []byte{0x65, 0x88, 0x80})
		if err != nil || !bytes.Equal(f.Private, want) || f.Width != test.width || f.Height != test.height {
			t.Errorf("%s: %dx%d, %v\n%x", name, f.Width, f.Height, err, f.Private)
		}
	}
	for name, test := range map[string]struct{ av1C string }{
		"main":          {"81000c000a0b000000043cfeccdaf90040"},
		"4:4:4, 10 bit": {"812040000a0a200000043cfeccdaf942"},
	} {
		want := unhex(t, test.av1C)
		s, ok := parseSequenceHeader(want[4:])
		if !ok || !bytes.Equal(s.av1C, want) || s.width != 320 || s.height != 180 {
			t.Errorf("%s: %dx%d, %t\n%x", name, s.width, s.height, ok, s.av1C)
		}
	}
}
