package load

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"github.com/pion/rtp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/bench/rtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// payload is what a camera puts into one packet.
func payload(c Codec, p place, s stamp, size int) []byte {
	b := make([]byte, size)
	s.write(b[c.prefix(b, p):])
	return b
}

func TestStampSurvivesCodecs(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]Codec{VP8, H264, Opus}).Draw(t, "codec")
		p := place{
			first: rapid.Bool().Draw(t, "first"), last: rapid.Bool().Draw(t, "last"), key: rapid.Bool().Draw(t, "key"),
			frame: rapid.Uint16().Draw(t, "frame"),
		}
		want := stamp{
			source: rapid.Uint32().Draw(t, "source"), counter: rapid.Uint64().Draw(t, "counter"), sent: rapid.Int64().Draw(t, "sent"),
		}
		b := payload(c, p, want, rapid.IntRange(minPayload, maxPayload).Draw(t, "size"))
		got, found, intact := readStamp(c.stamped(b))
		if !found || !intact || got != want {
			t.Fatalf("read %+v, found %v, intact %v, want %+v", got, found, intact, want)
		}
		b[len(b)-1] ^= 0x40
		if _, _, intact := readStamp(c.stamped(b)); intact {
			t.Fatal("a changed packet is intact")
		}
	})
}

func TestStampInParameterSets(t *testing.T) {
	t.Parallel()
	want := stamp{source: 7, counter: 8, sent: 9}
	if got, found, intact := readStamp(H264.stamped(parameterPacket(want))); !found || !intact || got != want {
		t.Errorf("read %+v, found %v, intact %v, want %+v", got, found, intact, want)
	}
}

// TestRewrittenDescriptor has a server take the picture id of 15 bits for one
// of 7, add a layer index, or leave it out.
func TestRewrittenDescriptor(t *testing.T) {
	t.Parallel()
	want := stamp{source: 1, counter: 2, sent: 3}
	original := payload(VP8, place{first: true, key: true}, want, 200)
	for _, descriptor := range [][]byte{{0x10}, {0x90, 0x80, 0x05}, {0x90, 0xe0, 0x80, 0x05, 0x01, 0x20}} {
		b := append(bytes.Clone(descriptor), original[4:]...)
		if got, found, intact := readStamp(VP8.stamped(b)); !found || !intact || got != want {
			t.Errorf("%x: read %+v, found %v, intact %v", descriptor, got, found, intact)
		}
	}
}

// TestCutAnew has a server cut frames into packets of its own: what begins with a stamp is then not corrupt, but no
// longer a packet of the camera's.
func TestCutAnew(t *testing.T) {
	t.Parallel()
	for _, c := range []Codec{VP8, H264} {
		b := payload(c, place{first: true, key: true}, stamp{source: 1, counter: 2, sent: 3}, 200)
		for name, cut := range map[string][]byte{"shorter": b[:150], "longer": append(bytes.Clone(b), 1, 2, 3)} {
			if _, found, _ := readStamp(c.stamped(cut)); found {
				t.Errorf("%s, %s: the stamp counts", c, name)
			}
		}
	}
}

func FuzzStamped(f *testing.F) {
	f.Add(payload(VP8, place{first: true, key: true}, stamp{}, 100))
	f.Add(payload(H264, place{}, stamp{}, 100))
	f.Add(parameterPacket(stamp{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []Codec{VP8, VP9, AV1, H264, Opus} {
			if len(c.stamped(b)) > len(b) {
				t.Error("the body is longer than the payload")
			}
		}
		if len(b) >= 12 {
			if body, ok := payloadOf(b); ok && len(body) > len(b)-12 {
				t.Error("the payload is longer than the packet")
			}
		}
	})
}

func TestFrameSizes(t *testing.T) {
	t.Parallel()
	const seconds = 200
	for name, p := range map[string]Picture{
		"encoder": {Codec: VP8, Bitrate: 2_500_000, FPS: 30, GOP: 300},
		"short":   {Codec: VP8, Bitrate: 1_000_000, FPS: 25, GOP: 25},
		"even":    {Codec: VP8, Bitrate: 2_484_000, FPS: 30, Even: true, GOP: 300},
		"tiny":    {Codec: H264, Bitrate: 200_000, FPS: 10, GOP: 10},
		"large":   {Codec: H264, Bitrate: 20_000_000, FPS: 60},
	} {
		f := newFrames(p, 1)
		total, keys := 0, 0
		for range int(seconds * p.FPS) {
			size, key := f.next(false)
			sum := 0
			for _, part := range split(size, nil) {
				if part > maxPayload || part < minPayload {
					t.Fatalf("%s: a packet of %d bytes", name, part)
				}
				sum += part
			}
			if sum < size {
				t.Fatalf("%s: a frame of %d bytes became %d", name, size, sum)
			}
			total += size
			if key {
				keys++
			}
		}
		if rate := float64(total) * 8 / seconds; math.Abs(rate/float64(p.Bitrate)-1) > 0.03 {
			t.Errorf("%s: %.0f bit/s, want %d", name, rate, p.Bitrate)
		}
		want := 1
		if p.GOP > 0 {
			want = int(seconds*p.FPS) / p.GOP
		}
		if keys != want {
			t.Errorf("%s: %d keyframes, want %d", name, keys, want)
		}
	}
	f := newFrames(Picture{Codec: VP8, Bitrate: 1_000_000, FPS: 25}, 1)
	f.next(false)
	ordinary, _ := f.next(false)
	if size, key := f.next(true); !key || size < 3*ordinary {
		t.Errorf("a keyframe that was asked for has %d bytes (%v), an ordinary frame %d", size, key, ordinary)
	}
}

// TestTrackCounts plays any order of packets with losses and repetitions to a
// track between two marks, and knows what it must find.
func TestTrackCounts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		source := newSource(5, Opus)
		meter := &Meter{}
		tr := &track{source: source, meter: meter, every: rapid.Uint64Range(1, 9).Draw(t, "every")}
		tr.open = func(b []byte) ([]byte, error) { return b, nil }
		first := rapid.Uint16().Draw(t, "first")
		begin, end := rapid.IntRange(0, 40).Draw(t, "begin"), rapid.IntRange(60, 100).Draw(t, "end")
		want, repeated := uint64(0), uint64(0)
		for i := range 140 {
			if i == begin {
				source.Begin()
			}
			if i == end {
				source.End()
			}
			source.sent.Add(1)
			if rapid.IntRange(0, 9).Draw(t, "fate") == 0 {
				continue
			}
			seq := first + uint16(i)
			packet := append(make([]byte, 12), payload(Opus, place{}, stamp{source: 5, counter: uint64(i)}, 80)...)
			packet[0] = 0x80
			tr.receive(packet, seq, 1, 10)
			if i >= begin && i < end {
				want++
			}
			if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
				tr.receive(packet, seq, 1, 10)
				repeated++
			}
		}
		if got := tr.counted.Load(); got != want || meter.Received.Load() != want {
			t.Fatalf("counted %d, want %d", got, want)
		}
		if meter.Duplicates.Load() != repeated {
			t.Fatalf("%d duplicates, want %d", meter.Duplicates.Load(), repeated)
		}
		if tr.expected() != uint64(end-begin) {
			t.Fatalf("expected %d, want %d", tr.expected(), end-begin)
		}
	})
}

// TestTransportNumber reads what pion writes, in both forms of extensions, and nothing beyond the end.
func TestTransportNumber(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := rtp.Header{Version: 2, CSRC: make([]uint32, rapid.IntRange(0, 3).Draw(t, "csrcs"))}
		want := rapid.Uint16().Draw(t, "number")
		there := rapid.Bool().Draw(t, "there")
		for id := range uint8(5) {
			if id == rtc.NumberExtension && there {
				if err := h.SetExtension(id, binary.BigEndian.AppendUint16(nil, want)); err != nil {
					t.Fatal(err)
				}
			} else if id > 0 && id != rtc.NumberExtension && rapid.Bool().Draw(t, "other") {
				if err := h.SetExtension(id, make([]byte, rapid.SampledFrom([]int{1, 2, 3, 16, 40}).Draw(t, "size"))); err != nil {
					t.Skip("pion decides on a form by the first")
				}
			}
		}
		raw, err := (&rtp.Packet{Header: h, Payload: []byte{1, 2, 3}}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := transportNumber(raw, rtc.NumberExtension); ok != there || ok && got != want {
			t.Fatalf("%d, %t; want %d, %t in %x", got, ok, want, there, raw)
		}
		for n := 12; n < len(raw); n++ {
			transportNumber(raw[:n], rtc.NumberExtension)
		}
	})
}
