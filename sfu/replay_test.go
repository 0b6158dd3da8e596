package sfu

import (
	"fmt"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
)

// TestJoinAtOnce joins twice while the camera sends nothing: both viewers get what came since its keyframe, and then
// what comes, and the camera hears of neither.
func TestJoinAtOnce(t *testing.T) {
	t.Parallel()
	for _, f := range []webrtc.RTPCodecParameters{vp8, format(webrtc.MimeTypeH264, 100, h264Fmtp)} {
		s := newSFU(t)
		c := publishCamera(t, s, "m", f, opus)
		came := arrivals(s, "m")
		c.frame(true)
		for range 20 {
			c.frame(false)
		}
		eventually(t, "all is there", func() bool { return came() == 63 })
		for _, name := range []string{"first", "second"} {
			w := watch(t, s, "m", name)
			w.await(video, 63)
			for range 3 {
				c.frame(false)
			}
			got := w.await(video, 72)[:72]
			continuous(t, got)
			if !codec.Inspect(c.codec, got[0].Payload).Keyframe {
				t.Errorf("%s %s: the first packet is no keyframe", f.MimeType, name)
			}
			frames := strictlyRising(t, got)
			if len(frames) != 24 {
				t.Errorf("%s %s: %d frames", f.MimeType, name, len(frames))
			}
			if past := frames[20] - frames[0]; past > 90*200 {
				t.Errorf("%s %s: what was past takes %d ms", f.MimeType, name, past/90)
			}
			if live := frames[23] - frames[22]; live != 3000 {
				t.Errorf("%s %s: live frames are %d apart", f.MimeType, name, live)
			}
			c.frame(true)
			for range 20 {
				c.frame(false)
			}
			eventually(t, "all is there", func() bool { return came() >= 135 })
		}
		if n := c.pliCount(); n != 0 {
			t.Errorf("%s: the camera was asked for %d keyframes", f.MimeType, n)
		}
		if st, _ := s.Status("m"); st.CachedStarts != 2 {
			t.Errorf("%s: %d viewers began with the cached keyframe", f.MimeType, st.CachedStarts)
		}
	}
}

// strictlyRising returns the timestamps of the frames in packets, and fails unless each is later than the one before.
func strictlyRising(t *testing.T, packets []*rtp.Packet) []uint32 {
	t.Helper()
	frames := []uint32{packets[0].Timestamp}
	for _, p := range packets[1:] {
		last := frames[len(frames)-1]
		if p.Timestamp == last {
			continue
		}
		if int32(p.Timestamp-last) < 0 {
			t.Fatalf("timestamp %d after %d", p.Timestamp, last)
		}
		frames = append(frames, p.Timestamp)
	}
	return frames
}

// joining is a viewer's down track that begins with what is cached.
func joining(b *bench, sink Sink) *downTrack {
	d := newDownTrack(b.layer.track, stream{ssrc: 1, payloadType: 96, rtxSSRC: 2, rtxPayloadType: 97}, sink, newSeat())
	d.instant = true
	return d
}

// TestCached holds what a viewer can begin with.
func TestCached(t *testing.T) {
	t.Parallel()
	feed := func(b *bench, n int, octets int, skip int) {
		for i := range n {
			if i != skip || i == 0 {
				b.feed(t, uint16(65500+i), append(payload(codec.VP8, i == 0, 0, uint16(i)), make([]byte, octets)...), 0)
			}
		}
	}
	tests := []struct {
		name                 string
		frames, octets, skip int
		want                 bool
	}{
		{name: "nothing came"},
		{name: "a keyframe", frames: 1, want: true},
		{name: "a second", frames: 30, want: true},
		{name: "four seconds", frames: 120},
		{name: "a gap that will be filled", frames: 30, skip: 25, want: true},
		{name: "a gap that was not", frames: 30, skip: 5},
		{name: "the newest is missing, which nobody knows", frames: 30, skip: 29, want: true},
	}
	for _, tt := range tests {
		b := newBench(webrtc.MimeTypeVP8)
		feed(b, tt.frames, tt.octets, tt.skip)
		if _, span, ok := b.layer.cached(groupBytes); ok != tt.want {
			t.Errorf("%s: cached %t (%+v), want %t", tt.name, ok, span, tt.want)
		}
	}
	b := newBench(webrtc.MimeTypeVP8)
	feed(b, 80, 1200, 0)
	if _, span, ok := b.layer.cached(50_000); ok {
		t.Errorf("%d bytes are cached, over the bound", span.Bytes)
	}
}

// TestPleaAnswered has a viewer ask for a keyframe: the one that is cached answers it once, then the camera has to.
func TestPleaAnswered(t *testing.T) {
	t.Parallel()
	sink := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8)
	d := joining(b, sink)
	b.shard.add(b.fan, d)
	b.layer.keys.wanted.Store(false)
	b.feed(t, 1, payload(codec.VP8, true, 0, 1), 0)
	for i := range uint16(39) { // 1.3 s
		b.feed(t, 2+i, payload(codec.VP8, false, 0, 2+i), 0)
	}
	if len(sink.packets) != 40 {
		t.Fatalf("%d packets, want 40", len(sink.packets))
	}
	d.plead()
	for d.replay.active {
		b.shard.catchUp()
	}
	if len(sink.packets) != 80 || b.layer.keys.wanted.Load() {
		t.Fatalf("%d packets, want all again; the camera is asked: %t", len(sink.packets), b.layer.keys.wanted.Load())
	}
	continuous(t, sink.packets)
	strictlyRising(t, sink.packets)
	d.plead()
	if len(sink.packets) != 80 || !b.layer.keys.wanted.Load() {
		t.Errorf("%d packets, want no more; the camera is asked: %t", len(sink.packets), b.layer.keys.wanted.Load())
	}
}

// TestReplayFair has a crowd join at one moment: what each tick sends is bounded, each gets its turn and sees the
// keyframe until then, who was there before gets its frames without a wait, and the camera hears of nobody.
func TestReplayFair(t *testing.T) {
	t.Parallel()
	before := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8, before)
	crowd := make([]*countingSink, 60)
	for i := range uint16(50) {
		b.feed(t, i, append(payload(codec.VP8, i == 0, 0, i), make([]byte, 900)...), 0)
	}
	for i := range crowd {
		crowd[i] = &countingSink{}
		b.shard.add(b.fan, joining(b, crowd[i]))
	}
	// More of them would never be through: the others wait in line.
	if n := len(b.shard.line); n != len(crowd)-maxReplaying {
		t.Fatalf("%d wait in line, want %d", n, len(crowd)-maxReplaying)
	}
	for _, s := range crowd[maxReplaying:] {
		if s.packets != 1 {
			t.Fatalf("one who waits is shown %d packets, want the keyframe", s.packets)
		}
	}
	total := func() (n, least int) {
		least = 1 << 30
		for _, s := range crowd {
			n, least = n+s.packets, min(least, s.packets)
		}
		return n, least
	}
	seq := uint16(50)
	for ticks := 0; b.shard.pacer != nil; ticks++ {
		sent, _ := total()
		b.shard.catchUp()
		now, least := total()
		if now-sent > replayShare {
			t.Fatalf("%d packets in one tick", now-sent)
		}
		if ticks > 150 {
			t.Fatalf("after %d ticks one has %d packets of %d", ticks, least, seq)
		}
		if ticks%6 == 0 {
			had := len(before.packets)
			b.feed(t, seq, payload(codec.VP8, false, 0, seq), 0)
			if seq++; len(before.packets) != had+1 {
				t.Fatal("who was there before has to wait")
			}
		}
	}
	for i, s := range crowd {
		shown := 0
		if i >= maxReplaying {
			shown = 1
		}
		if s.packets != int(seq)+shown {
			t.Errorf("viewer %d got %d packets, want %d", i, s.packets, int(seq)+shown)
		}
	}
	if b.layer.keys.wanted.Load() {
		t.Error("the camera is asked for a keyframe")
	}
}

// TestReplayPace joins over a way that is believed to carry little: the group goes no faster than that, whatever the size
// of its packets, and its time is collapsed into the time that this really takes.
func TestReplayPace(t *testing.T) {
	t.Parallel()
	const octets, frames, tick = 1000, 60, int(replayInterval / time.Millisecond) // 240 kbit/s, at 30 frames a second
	for _, budget := range []int{600_000, 300_000} {
		sink := &keepingSink{}
		b := newBench(webrtc.MimeTypeVP8)
		seq := uint16(0)
		frame := func() {
			b.feed(t, seq, append(payload(codec.VP8, seq == 0, 0, seq), make([]byte, octets)...), 0)
			seq++
		}
		for range frames {
			frame()
		}
		d := joining(b, sink)
		d.seat.budget = budget
		b.shard.add(b.fan, d)
		for ms := tick; d.replay.active; ms += tick {
			if sent, most := len(sink.packets)*octets, d.seat.pace()*ms/1000+octets; sent > most {
				t.Fatalf("%d kbit/s: %d bytes in %d ms, want %d at most", budget/1000, sent, ms, most)
			}
			if ms > 5000 {
				t.Fatalf("%d kbit/s: not through after %d ms", budget/1000, ms)
			}
			if b.shard.catchUp(); ms%33 < tick {
				frame()
			}
		}
		if late := (int32(seq-1)*3000 - int32(d.replay.until)) / 90; late > 150 {
			t.Errorf("%d kbit/s: the last frames come %d ms too late", budget/1000, late)
		}
	}
}

// TestReplayModel joins at any moment of any group, whose packets come in any order, late or never, while a replay is
// under way or not, with retransmissions in between: every packet that comes goes out once, numbers and timestamps are
// those of one stream, and what is sent again is what was sent.
func TestReplayModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sink := &keepingSink{}
		m := &replayModel{t: t, bench: newBench(webrtc.MimeTypeVP8), sink: sink, seq: rapid.Uint16().Draw(t, "seq")}
		m.timestamp = rapid.Uint32().Draw(t, "timestamp")
		m.frame(true)
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			m.frame(false)
		}
		d := joining(m.bench, sink)
		m.bench.shard.add(m.bench.fan, d)
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1, 2:
				m.frame(false)
			case 3:
				if d.replay.active {
					m.bench.shard.catchUp()
				}
			case 4:
				m.late()
			case 5:
				m.again(d)
			}
		}
		for d.replay.active {
			m.bench.shard.catchUp()
		}
		m.frame(false)
		m.serve()
		m.check()
	})
}

// replayModel is a camera on a bad way to a bench, and what a viewer should get.
type replayModel struct {
	t         *rapid.T
	bench     *bench
	sink      *keepingSink
	seq       uint16
	timestamp uint32
	picture   uint16
	held      []rtp.Packet // on their way
	came      int
	resent    int
}

// frame sends a frame of a few packets, some of which are held back.
func (m *replayModel) frame(key bool) {
	m.timestamp += uint32(rapid.SampledFrom([]int{1500, 3000, 3003, 9000}).Draw(m.t, "interval"))
	m.picture = (m.picture + 1) & 0x7fff
	n := rapid.IntRange(1, 12).Draw(m.t, "packets")
	for i := range n {
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, SequenceNumber: m.seq, Timestamp: m.timestamp, Marker: i == n-1},
			Payload: append(payload(codec.VP8, key, i, m.picture), make([]byte, rapid.IntRange(0, 1000).Draw(m.t, "size"))...),
		}
		m.seq++
		if (!key || i > 0) && len(m.held) < 8 && rapid.IntRange(0, 9).Draw(m.t, "held") == 0 {
			m.held = append(m.held, p)
			continue
		}
		m.deliver(p)
	}
	m.bench.now += 10_000_000
}

func (m *replayModel) deliver(p rtp.Packet) {
	raw, err := p.Marshal()
	if err != nil {
		m.t.Fatal(err)
	}
	m.came++
	m.bench.layer.receive(raw, m.bench.now)
	if len(m.bench.shard.queue) == cap(m.bench.shard.queue) || rapid.Bool().Draw(m.t, "served") {
		m.serve()
	}
}

// serve has the shard take what waits for it: it may be behind the ring.
func (m *replayModel) serve() {
	for len(m.bench.shard.queue) > 0 {
		m.bench.shard.collect(<-m.bench.shard.queue, nil)
	}
}

// late delivers what was held back, or loses it.
func (m *replayModel) late() {
	if n := len(m.held); n > 0 {
		p := m.held[n-1]
		m.held = m.held[:n-1]
		if rapid.Bool().Draw(m.t, "arrives") {
			m.deliver(p)
		}
	}
}

// again asks for something that was sent.
func (m *replayModel) again(d *downTrack) {
	if len(m.sink.packets) == 0 {
		return
	}
	want := m.sink.packets[rapid.IntRange(0, len(m.sink.packets)-1).Draw(m.t, "again")]
	if want.SSRC != 1 {
		return
	}
	n := len(m.sink.packets)
	m.bench.ask(d, []rtcp.NackPair{{PacketID: want.SequenceNumber}}, time.Duration(m.bench.now)+time.Hour)
	if len(m.sink.packets) == n {
		return // within a round trip
	}
	m.resent++
	got := m.sink.packets[n]
	if got.SSRC != 2 || got.Timestamp != want.Timestamp || string(got.Payload[2:]) != string(want.Payload) {
		m.t.Fatalf("sent again %+v, was %+v", got.Header, want.Header)
	}
}

func (m *replayModel) check() {
	bySeq := map[uint16]*rtp.Packet{}
	first := m.sink.packets[0]
	for _, p := range m.sink.packets {
		if p.SSRC != 1 {
			continue
		}
		if bySeq[p.SequenceNumber] != nil {
			m.t.Fatalf("%d was sent twice", p.SequenceNumber)
		}
		bySeq[p.SequenceNumber] = p
	}
	if len(bySeq) != m.came {
		m.t.Fatalf("%d packets came, %d went out", m.came, len(bySeq))
	}
	last := first
	for i := range m.came + 200 {
		p := bySeq[first.SequenceNumber+uint16(i)]
		if p == nil {
			continue
		}
		if p.Timestamp != last.Timestamp && int32(p.Timestamp-last.Timestamp) < 0 {
			m.t.Fatalf("timestamp %d after %d", p.Timestamp, last.Timestamp)
		}
		samePicture := codec.Inspect(codec.VP8, p.Payload).Picture.ID == codec.Inspect(codec.VP8, last.Payload).Picture.ID
		if samePicture != (p.Timestamp == last.Timestamp) {
			m.t.Fatal(fmt.Sprintf("packets %d and %d: one picture %t, timestamps %d and %d",
				last.SequenceNumber, p.SequenceNumber, samePicture, last.Timestamp, p.Timestamp))
		}
		last = p
	}
}

// TestTurn climbs to another layer: with its keyframe if that came just now, else with one that the camera is asked for.
func TestTurn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		since int // frames since the keyframe
		asked bool
	}{{0, false}, {1, false}, {2, true}, {60, true}} {
		sink := &keepingSink{}
		b := newBench(webrtc.MimeTypeVP8)
		low := &numberedCamera{bench: b, t: t}
		other := newLayer(b.layer.track, 2, 1024)
		other.keys, other.rid, other.slot = newKeyframes(time.Hour, func(bool) {}), "high", 1
		b.layer.sizes[0].Store(320<<16 | 180)
		other.sizes[0].Store(640<<16 | 360)
		high := &numberedCamera{bench: &bench{layer: other, shard: b.shard, fan: b.fan}, t: t}
		wish := NoPreference()
		wish.MaxHeight = 180
		d := joining(b, sink)
		d.seat.wish.Store(&wish)
		b.layer.track.join(other)
		b.shard.add(b.fan, d)
		low.frame(true, never)
		for i := range tt.since + 1 {
			low.frame(false, never)
			high.now = low.now
			high.frame(i == 0, never)
			low.now = high.now
		}
		other.keys.wanted.Store(false)
		wish.MaxHeight = 0
		d.choose()
		if asked := other.keys.wanted.Load(); asked != tt.asked || asked == (d.layer == other) {
			t.Errorf("%d frames after a keyframe: the camera is asked %t, want %t", tt.since, asked, tt.asked)
		}
		high.frame(true, never)
		continuous(t, sink.packets)
		strictlyRising(t, sink.packets)
		if d.layer != other {
			t.Errorf("%d frames after a keyframe: it does not follow", tt.since)
		}
	}
}
