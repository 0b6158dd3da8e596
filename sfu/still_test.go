package sfu

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/codec"
)

// numberedCamera sends frames of three packets to a bench, 30 a second. Each packet ends with the number of its frame.
type numberedCamera struct {
	*bench
	t         rapid.TB
	seq       uint16
	timestamp uint32
	frames    uint32
	came      []uint32 // frames of which not all was lost
}

func (c *numberedCamera) frame(key bool, lost func() bool) {
	c.now += int64(time.Second) / 30
	c.timestamp += 3000
	for n := range 3 {
		p := payload(c.layer.track.codec, key, n, uint16(c.frames)&0x7fff)
		p = binary.BigEndian.AppendUint32(append(p, 0, 5, 0x0c), c.frames) // to H.264 one unit more
		raw, err := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: c.seq, Timestamp: c.timestamp, Marker: n == 2},
			Payload: p,
		}).Marshal()
		if err != nil {
			c.t.Fatal(err)
		}
		c.seq++
		if !lost() {
			c.layer.receive(raw, c.now)
			if len(c.came) == 0 || c.came[len(c.came)-1] != c.frames {
				c.came = append(c.came, c.frames)
			}
		}
		for len(c.shard.queue) > 0 {
			c.shard.collect(<-c.shard.queue, nil)
		}
	}
	if c.frames++; c.frames%3 == 0 { // the informer's tick
		c.layer.track.keepStills()
	}
}

func never() bool { return false }

// frameOf returns the number of a packet's frame, and whether that is a keyframe's first packet.
func frameOf(c codec.Codec, p *rtp.Packet) (number uint32, key bool) {
	return binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:]), codec.Inspect(c, p.Payload).Keyframe
}

// TestStill joins when the group is too old: the viewer sees the keyframe at once and alone, and goes on with the next
// one, which the camera is asked for. Nobody else gets it: not a recording, not who has seen something.
func TestStill(t *testing.T) {
	t.Parallel()
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeH264, webrtc.MimeTypeAV1} {
		seen, tap, sink := &keepingSink{}, &keepingSink{}, &keepingSink{}
		b := newBench(mime)
		c := &numberedCamera{bench: b, t: t, seq: 65530, timestamp: 1<<32 - 90_000}
		had := joining(b, seen)
		b.shard.add(b.fan, had)
		c.frame(true, never)
		for range 150 { // 5 s
			c.frame(false, never)
		}
		if _, _, ok := b.layer.cached(groupBytes); ok || b.layer.lastStill() == nil {
			t.Fatalf("%s: the group is cached: %t, the keyframe: %t", mime, ok, b.layer.lastStill() != nil)
		}
		b.layer.keys.wanted.Store(false)
		had.layer = nil
		had.choose()
		b.shard.add(b.fan, newDownTrack(b.layer.track, stream{ssrc: 9, payloadType: 96}, tap, newSeat()))
		if len(seen.packets) != 3*151 || len(tap.packets) != 0 {
			t.Fatalf("%s: somebody else is shown the keyframe", mime)
		}
		b.layer.keys.wanted.Store(false)
		b.shard.add(b.fan, joining(b, sink))
		if len(sink.packets) != 3 || !b.layer.keys.wanted.Load() {
			t.Fatalf("%s: %d packets at once, the camera is asked: %t", mime, len(sink.packets), b.layer.keys.wanted.Load())
		}
		c.frame(false, never)
		c.frame(false, never)
		c.frame(true, never)
		c.frame(false, never)
		continuous(t, sink.packets)
		frames := strictlyRising(t, sink.packets)
		if len(frames) != 3 || frames[1]-frames[0] != 3*3000 || frames[2]-frames[1] != 3000 {
			t.Errorf("%s: frames at %v", mime, frames)
		}
		for i, want := range []uint32{0, 153, 154} {
			if got, key := frameOf(b.layer.track.codec, sink.packets[3*i]); got != want || key != (i < 2) {
				t.Errorf("%s: frame %d is number %d, a keyframe: %t", mime, i, got, key)
			}
		}
		if st := b.layer.track.counters.load(); st.Stills != 1 {
			t.Errorf("%s: %d stills", mime, st.Stills)
		}
	}
}

// TestStillBounds holds what is no picture to begin with.
func TestStillBounds(t *testing.T) {
	t.Parallel()
	lostAt := func(n int) func() bool {
		return func() bool { n--; return n == -1 }
	}
	tests := []struct {
		name   string
		frames int
		lost   func() bool // of the keyframe
		budget int
		want   bool
	}{
		{name: "ten seconds old", frames: 300, lost: never, want: true},
		{name: "over the bound", frames: 950, lost: never},
		{name: "not whole", frames: 300, lost: lostAt(1)},
		{name: "without its end", frames: 300, lost: lostAt(2)},
		{name: "a narrow way", frames: 300, lost: never, budget: 8000},
		{name: "a wide way", frames: 300, lost: never, budget: 1_000_000, want: true},
	}
	for _, tt := range tests {
		sink := &keepingSink{}
		b := newBench(webrtc.MimeTypeVP8)
		c := &numberedCamera{bench: b, t: t}
		c.frame(true, tt.lost)
		for range tt.frames {
			c.frame(false, never)
		}
		d := joining(b, sink)
		d.seat.limit(tt.budget, bandwidth.Decision{})
		b.shard.add(b.fan, d)
		if got := len(sink.packets) > 0; got != tt.want || !b.layer.keys.wanted.Load() {
			t.Errorf("%s: shown %t, want %t; the camera is asked: %t", tt.name, got, tt.want, b.layer.keys.wanted.Load())
		}
	}
	b := newBench(webrtc.MimeTypeVP8)
	for i := range uint16(300) { // a keyframe over the bound
		raw, _ := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: i, Marker: i == 299},
			Payload: append(payload(codec.VP8, true, int(i), 1), make([]byte, 1000)...),
		}).Marshal()
		b.layer.receive(raw, 1)
		<-b.shard.queue
	}
	if b.layer.lastStill() != nil || len(b.layer.still.Load().packets) > 0 {
		t.Error("a keyframe of 350 KB is kept")
	}
}

// TestStillModel joins at any moment, whatever was lost before: what goes out begins with a keyframe, and each frame is
// the one that came after the frame before, or a keyframe; a keyframe shown alone is whole; time goes on no faster than
// it passes.
func TestStillModel(t *testing.T) {
	t.Parallel()
	mimes := []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeH264, webrtc.MimeTypeAV1}
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(rapid.SampledFrom(mimes).Draw(t, "codec"))
		c := &numberedCamera{bench: b, t: t, seq: rapid.Uint16().Draw(t, "seq"), timestamp: rapid.Uint32().Draw(t, "timestamp")}
		c.frame(true, never)
		losing := func() bool { return rapid.IntRange(0, 300).Draw(t, "lost") == 0 }
		for range rapid.IntRange(0, 250).Draw(t, "before") {
			c.frame(rapid.IntRange(0, 99).Draw(t, "key") == 0, losing)
		}
		b.layer.keys.wanted.Store(false)
		joined, sink := b.now, &keepingSink{}
		d := joining(b, sink)
		b.shard.add(b.fan, d)
		delay := rapid.IntRange(0, 5).Draw(t, "delay")
		for range rapid.IntRange(0, 20).Draw(t, "after") {
			key := false
			if b.layer.keys.wanted.Load() {
				if delay--; delay < 0 {
					b.layer.keys.wanted.Store(false)
					key = true
				}
			}
			c.frame(key, never)
			for b.shard.pacer != nil && rapid.Bool().Draw(t, "tick") {
				b.shard.catchUp()
			}
		}
		for b.shard.pacer != nil {
			b.shard.catchUp()
		}
		checkBeginning(t, sink.packets, c, ticks(time.Duration(b.now-joined), 90000))
	})
}

func checkBeginning(t *rapid.T, got []*rtp.Packet, b *numberedCamera, passed int64) {
	if len(got) == 0 {
		return
	}
	first := got[0]
	if _, key := frameOf(b.layer.track.codec, first); !key {
		t.Fatal("the first packet begins no keyframe")
	}
	shown, whole := 0, b.layer.track.counters.stills.Load() == 1
	for i, p := range got[1:] {
		last := got[i]
		was, _ := frameOf(b.layer.track.codec, last)
		is, key := frameOf(b.layer.track.codec, p)
		rise := int32(p.Timestamp - last.Timestamp)
		if is == was && rise != 0 || is != was && rise <= 0 {
			t.Fatalf("frame %d is %d after frame %d", is, rise, was)
		}
		if after := b.came[slices.Index(b.came, was)+1:]; is != was && !key && (len(after) == 0 || is != after[0]) {
			t.Fatalf("frame %d after frame %d", is, was)
		}
		if shown++; is != was && whole {
			if whole = false; shown != 3 && !key {
				t.Fatalf("%d packets of a still", shown)
			}
		}
	}
	// What catches up may be ahead of its time for a moment.
	if last := got[len(got)-1]; int64(last.Timestamp-first.Timestamp) > passed+90*200 {
		t.Fatal(fmt.Sprintf("%d units of time went out in %d", last.Timestamp-first.Timestamp, passed))
	}
}

// TestStillAtOnce joins a camera whose last keyframe is far back and that is slow to send another: the viewer gets the
// keyframe from then at once, and sees the picture go on from the new one.
func TestStillAtOnce(t *testing.T) {
	t.Parallel()
	for _, f := range []webrtc.RTPCodecParameters{vp8, format(webrtc.MimeTypeH264, 100, h264Fmtp)} {
		s := newSFU(t)
		c := publishCamera(t, s, "m", f)
		came := arrivals(s, "m")
		c.frame(true)
		sent := 1
		frames := func(n int) {
			for range n {
				c.frame(false)
			}
			sent += n
			eventually(t, "all is there", func() bool { return came() == uint64(3*sent) })
		}
		for range 5 {
			frames(25)
		}
		eventually(t, "the keyframe is kept", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return (*s.media["m"].tracks[video].layers.Load())[0].still.Load() != nil
		})
		for range 15 {
			frames(25)
		}
		w := watch(t, s, "m", "v")
		w.await(video, 3)
		frames(5)
		eventually(t, "the camera is asked", func() bool { return c.pliCount() > 0 })
		c.frame(true)
		c.frame(false)
		got := w.await(video, 9)[:9]
		continuous(t, got)
		if times := strictlyRising(t, got); len(times) != 3 {
			t.Errorf("%s: %d frames", f.MimeType, len(times))
		}
		for i, p := range []*rtp.Packet{got[0], got[3]} {
			if !codec.Inspect(c.codec, p.Payload).Keyframe {
				t.Errorf("%s: frame %d is no keyframe", f.MimeType, i)
			}
		}
		if st, _ := s.Status("m"); st.Stills != 1 || st.CachedStarts > 1 {
			t.Errorf("%s: %+v", f.MimeType, st.Counters)
		}
	}
}
