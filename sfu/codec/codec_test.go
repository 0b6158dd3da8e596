package codec

import (
	"bytes"
	"encoding/hex"
	"slices"
	"testing"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	start, key := Info{Start: true}, Info{Start: true, Keyframe: true}
	tests := []struct {
		name    string
		codec   Codec
		payload []byte
		want    Info
	}{
		{"empty", VP8, nil, Info{}},
		{"opus", Opus, []byte{0x78}, key},
		{"unknown", Unknown, []byte{1}, key},

		{"vp8 plain keyframe", VP8, []byte{0x10, 0x00}, key},
		{"vp8 plain delta", VP8, []byte{0x10, 0x01}, start},
		{"vp8 second packet", VP8, []byte{0x00, 0x00}, Info{}},
		{"vp8 second partition", VP8, []byte{0x11, 0x00}, Info{}},
		{"vp8 short id", VP8, []byte{0x90, 0x80, 0x05, 0x00}, Info{Start: true, Keyframe: true, Picture: Picture{ID: 5, IDAt: 2}}},
		{
			"vp8 long id, tl0, tid", VP8,
			[]byte{0x90, 0xe0, 0xff, 0xfe, 0x07, 0x20, 0x01},
			Info{Start: true, Sync: true, Picture: Picture{ID: 0x7ffe, IDAt: 2, Long: true, TL0: 7, TL0At: 4}},
		},
		{"vp8 tl0 without id", VP8, []byte{0x90, 0x40, 0x07, 0x00}, Info{Start: true, Keyframe: true, Picture: Picture{TL0: 7, TL0At: 2}}},
		{"vp8 key index only", VP8, []byte{0x90, 0x10, 0x07, 0x00}, key},
		{"vp8 cut after flags", VP8, []byte{0x90}, Info{}},
		{"vp8 cut in id", VP8, []byte{0x90, 0x80}, Info{}},
		{"vp8 cut in long id", VP8, []byte{0x90, 0x80, 0x81}, Info{}},
		{"vp8 cut before tl0", VP8, []byte{0x90, 0x40}, Info{}},
		{"vp8 no frame", VP8, []byte{0x90, 0xc0, 0x05, 0x07}, Info{}},

		{"vp9 keyframe", VP9, []byte{0x88, 0x05, 0}, Info{Start: true, Keyframe: true, Picture: Picture{ID: 5, IDAt: 1}}},
		{"vp9 keyframe without id", VP9, []byte{0x08, 0}, key},
		{"vp9 long id, delta", VP9, []byte{0xc8, 0x85, 0x01, 0}, Info{Start: true, Picture: Picture{ID: 0x501, IDAt: 1, Long: true}}},
		{"vp9 keyframe, not first", VP9, []byte{0x80, 0x05, 0}, Info{Picture: Picture{ID: 5, IDAt: 1}}},
		{
			"vp9 lowest spatial layer", VP9,
			[]byte{0xa8, 0x85, 0x01, 0x00, 0x09, 0},
			Info{Start: true, Keyframe: true, Picture: Picture{ID: 0x501, IDAt: 1, Long: true, TL0: 9, TL0At: 4}},
		},
		{
			"vp9 upper layers, last packet", VP9,
			[]byte{0xac, 0x05, 0x53, 9, 0},
			Info{End: true, Spatial: 1, Temporal: 2, Up: highestTemporal, Picture: Picture{ID: 5, IDAt: 1, TL0: 9, TL0At: 3}},
		},
		{"vp9 flexible", VP9, []byte{0xf8, 0x05, 0x40, 0x03, 0x04, 0}, Info{Start: true, Temporal: 2, Picture: Picture{ID: 5, IDAt: 1}}},
		{"vp9 endless references", VP9, []byte{0x58, 0x03, 0x05, 0x07}, Info{}},
		{"vp9 cut before tl0", VP9, []byte{0xa8, 0x05, 0x00}, Info{}},
		{"vp8 temporal layer", VP8, []byte{0x90, 0x20, 0x80, 0x01}, Info{Start: true, Temporal: 2}},
		{"vp9 cut in id", VP9, []byte{0x88}, Info{}},
		{"vp9 cut before layers", VP9, []byte{0x28}, Info{}},

		{"h264 sps", H264, []byte{0x67, 0x42}, Info{Start: true, Keyframe: true, Parameters: true}},
		{"h264 pps", H264, []byte{0x68, 0x42}, Info{}},
		{"h264 idr", H264, []byte{0x65, 0x42}, Info{Keyframe: true}},
		{"h264 delta", H264, []byte{0x41, 0x42}, Info{}},
		{"h264 delimiter", H264, []byte{0x09, 0x10}, start},
		{
			"h264 stap-a", H264,
			[]byte{0x18, 0, 2, 0x67, 0x42, 0, 1, 0x68},
			Info{Start: true, Keyframe: true, Parameters: true},
		},
		{"h264 stap-a of deltas", H264, []byte{0x18, 0, 2, 0x41, 0x42, 0, 1, 0x41}, Info{}},
		{"h264 stap-b", H264, []byte{0x19, 0, 0, 0, 1, 0x65}, Info{Keyframe: true}},
		{"h264 stap-a of size 0", H264, []byte{0x18, 0, 0, 0x67}, Info{}},
		{"h264 stap-a cut", H264, []byte{0x18, 0, 9, 0x67}, Info{}},
		{"h264 fu-a idr", H264, []byte{0x7c, 0x85, 1}, Info{Keyframe: true}},
		{"h264 fu-a idr, later part", H264, []byte{0x7c, 0x05, 1}, Info{}},
		{"h264 fu-a cut", H264, []byte{0x7c}, Info{}},
		{"h264 fu-b idr", H264, []byte{0x7d, 0x85, 0, 0, 1}, Info{Keyframe: true}},

		{"av1 new sequence", AV1, []byte{0x18, 0x0a, 1}, key},
		{"av1 delta", AV1, []byte{0x10, 0x32, 1}, Info{}},
		{"av1 continuation", AV1, []byte{0x98, 0x0a}, Info{}},
		{"av1 sequence header with length", AV1, []byte{0x20, 0x02, 0x0a, 1}, key},
		{"av1 sequence header with long length", AV1, []byte{0x00, 0x82, 0x01, 0x0a, 1}, key},
		{"av1 endless length", AV1, []byte{0x00, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80}, Info{}},
		{"av1 cut", AV1, []byte{0x00}, Info{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Inspect(tt.codec, tt.payload); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestRewrite(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, in, want string }{
		{"long", "\x90\xe0\xff\xfe\x07\x20\x01", "\x90\xe0\x92\x34\x56\x20\x01"},
		{"short", "\x90\x80\x05\x00", "\x90\x80\x34\x00"},
		{"tl0 only", "\x90\x40\x07\x00", "\x90\x40\x56\x00"},
		{"nothing", "\x10\x00", "\x10\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := []byte(tt.in)
			Inspect(VP8, b).Picture.Rewrite(b, 0x1234, 0x56)
			if !bytes.Equal(b, []byte(tt.want)) {
				t.Errorf("got % x, want % x", b, tt.want)
			}
		})
	}
}

func TestByMimeType(t *testing.T) {
	t.Parallel()
	for mime, want := range map[string]Codec{
		"audio/opus": Opus, "video/VP8": VP8, "VIDEO/vp9": VP9, "video/H264": H264, "video/AV1": AV1, "video/H265": Unknown,
	} {
		if got := ByMimeType(mime); got != want {
			t.Errorf("%s: %d, want %d", mime, got, want)
		}
	}
}

// TestBidirectional reads slices that x264 made.
func TestBidirectional(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, packet string
		b, known     bool
	}{
		{"P of high", "419a236c437ffea78405920b6c00", false, true},
		{"B that is referred to", "419e4178857f020ad41a2e8f2fcc", true, true},
		{"B that is not", "019e626a427f0004092af62cd620", true, true},
		{"P of baseline", "419a3817e0b3b0b0023fd5817d67", false, true},
		{"IDR", "6588840037fffef6f0fe05365604", false, false},
		{"parameters", "6764000dacd94141fb0110000003", false, false},
		{"first fragment", "5c819e4178857f", true, true},
		{"later fragment", "5c019e4178857f", false, false},
		{"aggregate", "180006419a236c437f0006019e626a427f", true, true},
		{"cut", "41", false, false},
		{"endless number", "4100000000", false, false},
		{"nothing", "", false, false},
	} {
		raw, err := hex.DecodeString(tt.packet)
		if err != nil {
			t.Fatal(err)
		}
		if b, known := Bidirectional(raw); b != tt.b || known != tt.known {
			t.Errorf("%s: %t, known %t", tt.name, b, known)
		}
	}
}

func TestProfile(t *testing.T) {
	t.Parallel()
	for packet, want := range map[string]string{
		"6764000dacd94141fb0110": "High 1.3", "6742c00dd90141fb011000": "Constrained Baseline 1.3", "674d0028": "Main 4.0",
		"6742100b": "Baseline 1b", "67580028": "Extended 4.0", "676e0028": "High 10 4.0",
		"677a0033": "High 4:2:2 5.1", "67f40033": "High 4:4:4 5.1",
		"672c0033": "profile 44 5.1", "180004674d0028000168": "Main 4.0",
	} {
		raw, err := hex.DecodeString(packet)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := ReadProfile(raw)
		if got := p.Name() + " " + p.LevelName(); !ok || got != want {
			t.Errorf("%s is %s, want %s", packet, got, want)
		}
	}
	if p, ok := ReadProfile([]byte{0x67, 0x64}); ok || p.Name()+p.LevelName() != "" {
		t.Errorf("%+v of half a parameter set", p)
	}
	high, least := ProfileOf("640028"), ProfileOf("42e01f")
	if high.Within(least) || !least.Within(high) || !high.Within(high) || ProfileOf("f40033").Within(high) || ProfileOf("x") != (Profile{}) {
		t.Error("profiles contain each other wrongly")
	}
}

// FuzzInspect holds that no payload makes Inspect or Rewrite fail, and that rewriting changes what was read and
// nothing else.
func FuzzInspect(f *testing.F) {
	for c := range AV1 + 1 {
		f.Add(uint8(c), []byte{0x90, 0xe0, 0xff, 0xfe, 0x07, 0x20, 0x01})
		f.Add(uint8(c), []byte{0x18, 0, 2, 0x67, 0x42, 0, 1, 0x68})
		f.Add(uint8(c), []byte{0x18, 0, 4, 0x67, 0x64, 0, 0x28, 0, 2, 0x41, 0x9e})
		f.Add(uint8(c), []byte{0x7c, 0x81, 0x9e, 0, 0, 3, 1})
	}
	f.Fuzz(func(t *testing.T, c uint8, b []byte) {
		info := Inspect(Codec(c), b)
		if Codec(c) != VP8 && Codec(c) != VP9 && info.Picture != (Picture{}) {
			t.Fatal("picture ids outside VP8 and VP9")
		}
		if p, ok := ReadProfile(b); ok && (!info.Parameters || p.IDC != 0 && (p.Name() == "" || p.LevelName() == "")) && Codec(c) == H264 {
			t.Fatalf("%+v of a packet without parameters, or without a name", p)
		}
		if bi, known := Bidirectional(b); bi && !known {
			t.Fatal("a B slice that is not known")
		}
		var sizes [4]Size
		if n := Sizes(Codec(c), b, sizes[:]); n > 0 && (sizes[0].Width <= 0 || sizes[n-1].Height <= 0) {
			t.Fatalf("sizes %v", sizes[:n])
		}
		out := bytes.Clone(b)
		info.Picture.Rewrite(out, 0x2aaa, 0x55)
		if len(b) == 0 || info.Picture.IDAt == 0 && info.Picture.TL0At == 0 {
			if !bytes.Equal(b, out) {
				t.Fatal("rewrote nothing to something")
			}
			return
		}
		again := Inspect(Codec(c), out)
		if again.Start != info.Start || again.Keyframe != info.Keyframe || again.Picture.IDAt != info.Picture.IDAt ||
			again.Picture.Long != info.Picture.Long || again.Picture.TL0At != info.Picture.TL0At {
			t.Fatalf("%+v became %+v", info, again)
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	p := append([]byte{0x90, 0xe0, 0xff, 0xfe, 0x07, 0x20}, make([]byte, 1100)...)
	b.ReportAllocs()
	for b.Loop() {
		Inspect(VP8, p)
	}
}

// TestSizes reads the pictures of real encoders: libvpx, x264, libaom.
func TestSizes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		codec   Codec
		payload string
		want    []Size
	}{
		{"vp8 keyframe", VP8, "9080801050f3009d012a0005d002", []Size{{1280, 720}}},
		{"vp8 delta", VP8, "9080801051f3009d012a0005d002", nil},
		{"vp8 cut", VP8, "9080801050f3009d012a0005d0", nil},
		{"vp9 structure", VP9, "aa85010009500140" + "00b402800168" + "05" + "0002d0", []Size{{320, 180}, {640, 360}, {1280, 720}}},
		{"vp9 no structure", VP9, "a88501000900", nil},
		{"vp9 cut structure", VP9, "aa850100095001400", nil},
		{"h264 sps", H264, "6742c00cda05067e7c0440000003004000000c83c50aa8", []Size{{320, 180}}},
		{"h264 stap-a", H264, "180017" + "6742c00cda05067e7c0440000003004000000c83c50aa8" + "000468ce0fc8", []Size{{320, 180}}},
		{"h264 pps", H264, "68ce0fc8", nil},
		{"h264 cut", H264, "6742c0", nil},
		{"av1", AV1, "180a0b000000043cfeccdaf90040", []Size{{320, 180}}},
		{"av1 length first", AV1, "280d0a0b000000043cfeccdaf9004032", []Size{{320, 180}}},
		{"av1 frame", AV1, "183200", nil},
		{"av1 cut", AV1, "180a0b0000", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			raw, _ := hex.DecodeString(tt.payload[:len(tt.payload)&^1])
			var sizes [4]Size
			n := Sizes(tt.codec, raw, sizes[:])
			if !slices.Equal(sizes[:n], tt.want) {
				t.Errorf("got %v, want %v", sizes[:n], tt.want)
			}
		})
	}
}
