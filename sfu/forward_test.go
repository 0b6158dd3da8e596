package sfu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// countingSink is the cheapest Sink.
type countingSink struct{ packets, bytes int }

func (c *countingSink) WriteRTP(_ *rtp.Header, payload []byte) (int, error) {
	c.packets++
	c.bytes += len(payload)
	return len(payload), nil
}

// keepingSink keeps copies.
type keepingSink struct {
	packets []*rtp.Packet
	err     error
}

func (k *keepingSink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	if k.err != nil {
		return 0, k.err
	}
	k.packets = append(k.packets, &rtp.Packet{Header: h.Clone(), Payload: append([]byte(nil), payload...)})
	return len(payload), nil
}

// bench is a layer with one shard that the caller drives by hand.
type bench struct {
	layer *layer
	shard *shard
	fan   *fan
	raw   []byte
	now   int64
}

func newBench(mime string, sinks ...Sink) *bench {
	t := newUpTrack(spec{kind: video, mimeType: mime, clockRate: 90000}, &counters{})
	b := &bench{layer: newLayer(t, 1, 1024)}
	b.shard = newShard(nil, 16, 0, func() int64 { return b.now })
	b.layer.keys = newKeyframes(defaultKeyframeInterval, func(bool) {})
	t.join(b.layer)
	b.fan = &fan{shard: b.shard}
	t.fans.Store(&[]*fan{b.fan})
	for i, s := range sinks {
		b.shard.add(b.fan, newDownTrack(t, stream{ssrc: uint32(i), payloadType: 96}, s, newSeat()))
	}
	p := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 100, SSRC: 1, SequenceNumber: 65000},
		Payload: append(payload(t.codec, true, 0, 5), make([]byte, 1160)...),
	}
	_ = p.SetExtension(3, []byte{1, 2}) // a transport-wide sequence number
	b.raw, _ = p.Marshal()
	return b
}

// receive takes a packet, as the reader does.
func (l *layer) receive(b []byte, now int64) {
	if l.read(b, now) {
		l.keep()
	}
}

// packet takes the next packet through all six steps.
func (b *bench) packet() {
	seq := binary.BigEndian.Uint16(b.raw[2:]) + 1
	binary.BigEndian.PutUint16(b.raw[2:], seq)
	if seq%9 == 0 {
		binary.BigEndian.PutUint32(b.raw[4:], binary.BigEndian.Uint32(b.raw[4:])+3000)
	}
	b.now += 3_000_000
	b.layer.receive(b.raw, b.now)
	b.shard.collect(<-b.shard.queue, nil)
}

func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("%d", n), func(b *testing.B) {
			sinks := make([]Sink, n)
			for i := range sinks {
				sinks[i] = &countingSink{}
			}
			bench := newBench(webrtc.MimeTypeVP8, sinks...)
			b.ReportAllocs()
			b.SetBytes(int64(n * len(bench.raw)))
			for b.Loop() {
				bench.packet()
			}
		})
	}
}

// feed sends one packet through to the sinks.
func (b *bench) feed(t *testing.T, seq uint16, p []byte, padding int) {
	t.Helper()
	pkt := rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 100, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true},
		Payload: p, PaddingSize: byte(padding),
	}
	pkt.Padding = padding > 0
	raw, err := pkt.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	b.now += 33_000_000
	b.layer.receive(raw, b.now)
	for len(b.shard.queue) > 0 {
		b.shard.collect(<-b.shard.queue, nil)
	}
}

func TestForwardStartsOnKeyframeAndClosesPadding(t *testing.T) {
	t.Parallel()
	sink := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8, sink)
	b.feed(t, 65533, payload(codec.VP8, false, 0, 1), 0) // before the keyframe: not sent
	b.feed(t, 65534, payload(codec.VP8, true, 0, 2), 0)
	b.feed(t, 65535, nil, 200) // probing
	b.feed(t, 0, nil, 10)
	b.feed(t, 1, payload(codec.VP8, false, 0, 3), 4)
	b.feed(t, 3, payload(codec.VP8, false, 0, 5), 0)
	b.feed(t, 2, payload(codec.VP8, false, 0, 4), 0) // late
	b.feed(t, 2, payload(codec.VP8, false, 0, 4), 0) // twice
	b.feed(t, 65533, payload(codec.VP8, false, 0, 1), 0)
	want := []uint16{0, 1, 3, 2}
	if len(sink.packets) != len(want) {
		t.Fatalf("%d packets sent, want %d", len(sink.packets), len(want))
	}
	first := sink.packets[0]
	for i, w := range want {
		p := sink.packets[i]
		if got := p.SequenceNumber - first.SequenceNumber; got != w {
			t.Errorf("packet %d has number %d, want %d", i, got, w)
		}
		if p.Padding || len(p.Extensions) != 0 || p.PayloadType != 96 {
			t.Errorf("packet %d header %+v", i, p.Header)
		}
	}
	if !codec.Inspect(codec.VP8, first.Payload).Keyframe {
		t.Error("first packet is no keyframe")
	}
}

func TestReceiveIgnoresMalformed(t *testing.T) {
	t.Parallel()
	sink := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8, sink)
	for _, raw := range [][]byte{
		nil,
		{0x80},
		make([]byte, 11),
		{0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0xff, 0xff},              // extension longer than the packet
		{0x8f, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},                                      // CSRCs that are not there
		{0xa0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0},                             // padding of 0
		{0xa0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 9},                             // padding longer than the payload
		append([]byte{0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 2000)...), // too large
	} {
		b.layer.receive(raw, 0)
	}
	if n := b.layer.track.counters.packetsIn.Load(); n != 0 || len(b.shard.queue) != 0 {
		t.Errorf("%d packets taken", n)
	}
}

func TestFullShardDropsToEndOfFrame(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	send := func(seq uint16, start, marker bool) {
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: seq, Marker: marker},
			Payload: payload(codec.VP8, false, map[bool]int{true: 0, false: 1}[start], seq),
		}
		raw, _ := p.Marshal()
		b.layer.receive(raw, 0)
	}
	dropped := func() uint64 { return b.layer.track.counters.dropped.Load() }
	for i := range uint16(16) {
		send(i, true, true)
	}
	send(16, true, false) // full
	<-b.shard.queue
	send(17, false, false) // there is room, but the frame is broken
	send(18, false, true)
	if len(b.shard.queue) != 15 || dropped() != 3 {
		t.Fatalf("%d queued, %d dropped", len(b.shard.queue), dropped())
	}
	send(19, true, false)
	if len(b.shard.queue) != 16 || dropped() != 3 {
		t.Errorf("next frame: %d queued, %d dropped", len(b.shard.queue), dropped())
	}
	send(20, false, false)
	<-b.shard.queue
	send(22, true, true) // the marker of the broken frame was lost: a new frame begins all the same
	if len(b.shard.queue) != 16 || dropped() != 4 {
		t.Errorf("after a lost marker: %d queued, %d dropped", len(b.shard.queue), dropped())
	}
}

func TestSinkErrorsAreCounted(t *testing.T) {
	t.Parallel()
	good := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8, &keepingSink{err: errors.New("gone")}, good)
	b.feed(t, 1, payload(codec.VP8, true, 0, 2), 0)
	c := b.layer.track.counters.load()
	if c.WriteErrors != 1 || c.PacketsOut != 1 || len(good.packets) != 1 {
		t.Errorf("counters %+v, %d sent", c, len(good.packets))
	}
}

// TestH264StartsWithParameters holds that an IDR slice is a beginning only without parameter sets before it.
func TestH264StartsWithParameters(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		payloads [][]byte // one frame
		want     []bool
	}{
		{"sps, pps, idr", [][]byte{{0x67, 1}, {0x68, 1}, {0x65, 1}}, []bool{true, false, false}},
		{"idr alone", [][]byte{{0x65, 1}, {0x65, 2}}, []bool{true, false}},
		{"stap-a and fu-a", [][]byte{{0x18, 0, 1, 0x67, 0, 1, 0x68}, {0x7c, 0x85, 1}}, []bool{true, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(webrtc.MimeTypeH264)
			for i, p := range tt.payloads {
				pkt := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: 7}, Payload: p}
				raw, _ := pkt.Marshal()
				b.layer.receive(raw, 0)
				if j := <-b.shard.queue; j.info.Keyframe != tt.want[i] {
					t.Errorf("packet %d: keyframe %t", i, j.info.Keyframe)
				}
			}
			if n := b.layer.track.counters.keyframes.Load(); n != 1 {
				t.Errorf("%d keyframes counted", n)
			}
		})
	}
}
