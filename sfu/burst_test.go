package sfu

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/udp"
)

// burstPacket is a packet of a burst that is put together by hand.
type burstPacket struct {
	fan    *fan
	layer  *layer
	size   int
	marker bool
}

func newBurst(packets ...burstPacket) *burst {
	b := &burst{}
	for i, p := range packets {
		b.jobs[i] = job{fan: p.fan, layer: p.layer}
		b.packets[i] = ring.Packet{Marker: p.marker, Payload: b.buffers[i][:p.size]}
		b.n++
	}
	return b
}

func layerOf(k kind) *layer { return &layer{track: &upTrack{spec: spec{kind: k}}} }

// TestPad holds which packets of one layer's burst become how much longer.
func TestPad(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		sizes, pad []int
	}{
		{"one", []int{100}, []int{0}},
		{"equal", []int{1000, 1000, 1000}, []int{0, 0, 0}},
		{"the last may be shorter", []int{1000, 1000, 3}, []int{0, 0, 0}},
		{"some are a little shorter", []int{990, 1000, 995, 100}, []int{10, 0, 5, 0}},
		{"the last is the longest", []int{990, 990, 1000}, []int{10, 10, 0}},
		{"a twentieth", []int{700, 600, 700}, []int{0, 100, 0}},
		{"more than a twentieth", []int{700, 599, 700}, []int{0, 0, 0}},
		{"what one byte can say", []int{1400, 1400, 1145, 1400, 1400, 1400}, []int{0, 0, 255, 0, 0, 0}},
		{"more than one byte can say", []int{1400, 1400, 1144, 1390, 1400, 1400}, []int{0, 0, 0, 10, 0, 0}},
		{"nothing to pad", []int{1000, 0, 1000}, []int{0, 0, 0}},
		{"an empty one is no media", append([]int{200, 0}, slices.Repeat([]int{200}, 20)...), make([]int, 22)},
	} {
		f, l := &fan{}, layerOf(video)
		var packets []burstPacket
		for _, n := range tt.sizes {
			packets = append(packets, burstPacket{fan: f, layer: l, size: n})
		}
		b := newBurst(packets...)
		b.pad(0)
		for i, want := range tt.pad {
			if got := int(b.padding[i]); got != want {
				t.Errorf("%s: packet %d got %d bytes, want %d", tt.name, i, got, want)
			}
		}
	}
}

// TestPadApart holds that neither another layer's packets nor another fan's make one longer.
func TestPadApart(t *testing.T) {
	t.Parallel()
	here, there, low, high := &fan{}, &fan{}, layerOf(video), layerOf(video)
	b := newBurst(
		burstPacket{fan: here, layer: low, size: 490}, burstPacket{fan: here, layer: high, size: 990},
		burstPacket{fan: there, layer: low, size: 1200}, burstPacket{fan: here, layer: low, size: 500},
		burstPacket{fan: here, layer: high, size: 1000}, burstPacket{fan: here, layer: low, size: 20},
		burstPacket{fan: there, layer: low, size: 1210}, burstPacket{fan: here, layer: high, size: 20},
	)
	if got := slices.Collect(b.fans()); !slices.Equal(got, []int{0, 2}) {
		t.Fatalf("fans begin at %v", got)
	}
	if got := slices.Collect(b.of(2)); !slices.Equal(got, []int{2, 6}) {
		t.Fatalf("the second one has %v", got)
	}
	b.pad(0)
	if got, want := b.padding[:8], []uint8{10, 10, 0, 0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("the first fan got %v, want %v", got, want)
	}
	b.pad(2)
	if got, want := b.padding[:8], []uint8{10, 10, 10, 0, 0, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("both got %v, want %v", got, want)
	}
}

// TestComplete holds when there is nothing to wait for.
func TestComplete(t *testing.T) {
	t.Parallel()
	here, there, a, b, sound := &fan{}, &fan{}, layerOf(video), layerOf(video), layerOf(audio)
	for _, tt := range []struct {
		name    string
		packets []burstPacket
		want    bool
	}{
		{"a frame's beginning", []burstPacket{{fan: here, layer: a}}, false},
		{"a frame", []burstPacket{{fan: here, layer: a}, {fan: here, layer: a, marker: true}}, true},
		{"the next one's beginning", []burstPacket{{fan: here, layer: a, marker: true}, {fan: here, layer: a}}, false},
		{"half of two layers", []burstPacket{{fan: here, layer: a}, {fan: here, layer: b}, {fan: here, layer: a, marker: true}}, false},
		{
			"two layers",
			[]burstPacket{{fan: here, layer: a}, {fan: here, layer: b, marker: true}, {fan: here, layer: a, marker: true}},
			true,
		},
		{"audio", []burstPacket{{fan: here, layer: sound}}, true},
		{"audio in a frame", []burstPacket{{fan: here, layer: a}, {fan: here, layer: sound}}, false},
		{"audio behind a frame", []burstPacket{{fan: here, layer: a, marker: true}, {fan: here, layer: sound}}, true},
		{"another fan's frame", []burstPacket{{fan: here, layer: a}, {fan: there, layer: a, marker: true}}, false},
	} {
		if got := newBurst(tt.packets...).complete(); got != tt.want {
			t.Errorf("%s: complete %t", tt.name, got)
		}
	}
}

// TestPaddingIsForThoseWhoTakeIt holds that only viewers who tell padding from loss, since they have retransmissions of
// their own, get it; and that what has no payload gets none.
func TestPaddingIsForThoseWhoTakeIt(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	var sinks [2]keepingSink
	for i, pads := range []bool{true, false} {
		d := newDownTrack(b.layer.track, stream{ssrc: uint32(i + 1), payloadType: 96}, &sinks[i], newSeat())
		d.pads = pads
		b.shard.add(b.fan, d)
	}
	for i, size := range []int{1000, 990, 0, 10} {
		p := rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: 7, Marker: i == 3}}
		if size > 0 {
			p.Payload = append(payload(codec.VP8, i == 0, i, 1), make([]byte, size)...)
		}
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b.layer.receive(raw, 0)
	}
	b.shard.collect(<-b.shard.queue, nil)
	for i, want := range [][]byte{{0, 10, 0}, {0, 0, 0}} {
		var got []byte
		for _, p := range sinks[i].packets {
			if p.Padding != (p.Header.PaddingSize > 0) {
				t.Errorf("viewer %d: header %+v", i, p.Header)
			}
			got = append(got, p.Header.PaddingSize)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("viewer %d: padding %v, want %v", i, got, want)
		}
	}
}

// collecting is a bench whose shard may wait for an hour, and whose camera sends one packet after the other.
func collecting(share float64) (b *bench, sink *keepingSink, send func(end bool), hold *time.Timer) {
	sink = &keepingSink{}
	b = newBench(webrtc.MimeTypeVP8, sink)
	b.shard.pace = pace{window: time.Hour, share: share}
	b.shard.clock = monotonic() // the shard waits while the camera goes on
	hold = time.NewTimer(time.Hour)
	hold.Stop()
	return b, sink, func(end bool) { (&egressBench{bench: b}).arrive(end) }, hold
}

// collects has the shard collect what waits, and closes done when that is sent.
func (b *bench) collects(hold *time.Timer) (done chan struct{}) {
	first := <-b.shard.queue
	done = make(chan struct{})
	go func() {
		defer close(done)
		b.shard.collect(first, hold)
	}()
	return done
}

// TestCollect holds what ends a shard's wait for the rest of a frame.
func TestCollect(t *testing.T) {
	t.Parallel()
	t.Run("an idle shard does not wait", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(0)
		for i := range 3 {
			send(false)
			b.shard.collect(<-b.shard.queue, hold)
			if len(sink.packets) != i+1 {
				t.Fatalf("%d packets went out", len(sink.packets))
			}
		}
		for range 3 { // what waits already goes along
			send(false)
		}
		b.shard.collect(<-b.shard.queue, hold)
		if len(sink.packets) != 6 {
			t.Fatalf("%d packets went out", len(sink.packets))
		}
	})
	t.Run("the end of the frame", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(1)
		send(false)
		done := b.collects(hold)
		for range 3 {
			send(false)
			eventually(t, "the shard takes it", func() bool { return len(b.shard.queue) == 0 })
		}
		select {
		case <-done:
			t.Fatal("half a frame was sent")
		default:
		}
		send(true)
		<-done
		if n := len(sink.packets); n != 5 || !sink.packets[4].Marker {
			t.Fatalf("%d packets went out", n)
		}
	})
	t.Run("a second packet", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(pairFrom)
		send(false)
		done := b.collects(hold)
		send(false)
		<-done
		if n := len(sink.packets); n != 2 {
			t.Fatalf("%d packets went out", n)
		}
	})
	t.Run("the window", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(1)
		b.shard.pace.window = 2 * time.Millisecond
		send(false)
		b.shard.collect(<-b.shard.queue, hold)
		if len(sink.packets) != 1 {
			t.Fatalf("%d packets went out", len(sink.packets))
		}
	})
	t.Run("as many as go at once", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(1)
		b.shard.queue = make(chan job, maxBurst+1)
		for range maxBurst + 1 {
			send(false)
		}
		b.shard.collect(<-b.shard.queue, hold)
		if len(sink.packets) != maxBurst {
			t.Fatalf("%d packets went out", len(sink.packets))
		}
	})
	t.Run("the end of the shard", func(t *testing.T) {
		t.Parallel()
		b, sink, send, hold := collecting(1)
		send(false)
		close(b.shard.stop)
		b.shard.collect(<-b.shard.queue, hold)
		if len(sink.packets) != 1 {
			t.Fatalf("%d packets went out", len(sink.packets))
		}
	})
}

// TestPaddedBurst has pion open what a burst of uneven packets becomes: one message where the kernel splits it, and the
// same payloads.
func TestPaddedBurst(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cfg   udp.Config
		sends uint64
	}{{udp.Config{}, 1}, {udp.Config{NoOffload: true}, 1}, {udp.Config{Portable: true}, 5}} {
		e := newEgressBench(t, tt.cfg, seal.GCM128, 0)
		viewer := open(t, udp.Config{})
		d := e.join(t, seal.GCM128, viewer.LocalAddr())
		keys, err := srtp.CreateContext(make([]byte, 16), make([]byte, 12), srtp.ProtectionProfileAeadAes128Gcm)
		if err != nil {
			t.Fatal(err)
		}
		want := make([][]byte, 5)
		for i, size := range []int{980, 1000, 960, 1000, 10} {
			want[i] = append(payload(codec.VP8, i == 0, i, 1), bytes.Repeat([]byte{byte(i)}, size)...)
			raw, err := (&rtp.Packet{
				Header: rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: 7, Marker: i == 4}, Payload: slices.Clone(want[i]),
			}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			e.layer.receive(raw, 0)
		}
		e.shard.collect(<-e.shard.queue, e.hold)
		if st := e.shard.conn.Stats(); st.Sent != 5 || st.SendCalls != tt.sends {
			t.Errorf("%+v: %d datagrams by %d calls", tt.cfg, st.Sent, st.SendCalls)
		}
		lengths, reader := make([]int, 5), viewer.NewReader()
		for i := range want {
			b, _, err := reader.Next()
			if err != nil {
				t.Fatal(err)
			}
			lengths[i] = len(b)
			plain, err := keys.DecryptRTP(nil, b, nil)
			if err != nil {
				t.Fatalf("packet %d: %v", i, err)
			}
			var p rtp.Packet
			if err := p.Unmarshal(plain); err != nil || !bytes.Equal(p.Payload, want[i]) || p.SequenceNumber != d.newest-4+uint16(i) {
				t.Errorf("packet %d is %v with %d bytes, want %d (%v)", i, p.Header, len(p.Payload), len(want[i]), err)
			}
		}
		if slices.Min(lengths[:4]) != slices.Max(lengths[:4]) || lengths[4] >= lengths[0] {
			t.Errorf("%+v: datagrams of %v bytes", tt.cfg, lengths)
		}
	}
}
