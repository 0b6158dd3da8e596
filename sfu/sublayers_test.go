package sfu

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
)

// layersSink keeps what a viewer is sent, with the descriptor that it is sent with it.
type layersSink struct {
	down *downTrack
	got  []sentOn
}

type sentOn struct {
	seq                 uint16
	ts                  uint32
	marker              bool
	payload, descriptor []byte
}

func (k *layersSink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	k.got = append(k.got, sentOn{h.SequenceNumber, h.Timestamp, h.Marker, bytes.Clone(payload), bytes.Clone(k.down.extensions.descriptor)})
	return len(payload), nil
}

// layersTest is a viewer of a camera that sends layers within its streams.
type layersTest struct {
	*rapid.T
	*bench
	cameras []*svcCamera
	down    *downTrack
	sink    *layersSink
	lossy   bool
	passed  bool // packets by a keyframe that came after them
	lost    int
}

// TestLayersAreDecodable is the law of TestOutputIsDecodable for layers within streams.
func TestLayersAreDecodable(t *testing.T) {
	t.Parallel()
	for _, mime := range []string{webrtc.MimeTypeVP9, webrtc.MimeTypeAV1} {
		t.Run(mime, func(t *testing.T) {
			t.Parallel()
			for range 5 {
				rapid.Check(t, func(t *rapid.T) { newLayersTest(t, mime).run() })
			}
		})
	}
}

func newLayersTest(t *rapid.T, mime string) *layersTest {
	up := newUpTrack(spec{kind: video, mimeType: mime, clockRate: 90000}, &counters{})
	lt := &layersTest{T: t, bench: &bench{now: int64(time.Hour)}, sink: &layersSink{}, lossy: rapid.Bool().Draw(t, "lossy")}
	lt.shard = newShard(nil, 16, 0, func() int64 { return lt.now })
	lt.fan = &fan{shard: lt.shard}
	up.fans.Store(&[]*fan{lt.fan})
	for i := range rapid.IntRange(1, 2).Draw(t, "streams") {
		l := newLayer(up, uint64(i), 1024)
		l.rid, l.epoch = string(rune('a'+i)), 1
		l.keys = newKeyframes(time.Hour, func(bool) {})
		if up.codec == codec.AV1 {
			l.descriptorAt = modelDescriptorAt
		}
		c := newSVCCamera(t, l, i)
		up.join(l)
		lt.cameras = append(lt.cameras, c)
		c.announce()
	}
	lt.down = newDownTrack(up, stream{ssrc: 1, payloadType: 96}, lt.sink, newSeat())
	lt.sink.down = lt.down
	lt.down.extensions = &extensions{descriptorAt: modelDescriptorAt}
	lt.down.instant = rapid.Bool().Draw(t, "instant")
	lt.shard.add(lt.fan, lt.down)
	return lt
}

// TestTurnsBack has a viewer on its way to another stream go back, to more than it had of the first: that takes a keyframe.
func TestTurnsBack(t *testing.T) {
	t.Parallel()
	for spatial, asks := range []bool{false, true, true} {
		b := newBench(webrtc.MimeTypeVP9)
		other := newLayer(b.layer.track, 2, 16)
		other.keys = newKeyframes(time.Hour, func(bool) {})
		b.layer.track.join(other)
		d := newDownTrack(b.layer.track, stream{ssrc: 1, payloadType: 96}, &keepingSink{}, newSeat())
		b.shard.add(b.fan, d)
		d.layer, d.target = b.layer, other
		d.cut = cut{goal: sublayers{everything, everything}, now: sublayers{0, everything}}
		b.layer.keys.wanted.Store(false)
		d.aim(rung{layer: b.layer, spatial: uint8(spatial), temporal: everything})
		if asked := b.layer.keys.wanted.Load(); asked != asks {
			t.Errorf("back to spatial layer %d: asked for a keyframe %t, want %t", spatial, asked, asks)
		}
	}
}

// announce says what the stream consists of, as if it had been measured.
func (c *svcCamera) announce() {
	f := &facts{highest: sublayers{c.spatials - 1, c.temporals - 1}}
	for s := range c.spatials {
		for temporal := range c.temporals {
			f.rates[s][temporal] = 100 << c.source << s
		}
		c.sizes[s].Store((uint32(320)<<16 | 180) << s << c.source)
	}
	c.facts.Store(f)
}

func (t *layersTest) run() {
	for range rapid.IntRange(1, 30).Draw(t.T, "rounds") {
		t.now += int64(33 * time.Millisecond)
		if rapid.IntRange(0, 4).Draw(t.T, "wish") == 0 {
			t.wish()
		}
		for _, c := range t.cameras {
			c.sent = c.sent[:0]
			for range rapid.IntRange(1, 4).Draw(t.T, "pictures") {
				c.encode(c.pictures == 0 || c.keys.wanted.Load() && rapid.Bool().Draw(t.T, "obeys"))
			}
			t.deliver(c, t.lossy, true)
		}
		t.repair()
	}
	t.down.requestKeyframe()
	for _, c := range t.cameras {
		c.sent = c.sent[:0]
		c.encode(c.keys.wanted.Load() || c.pictures == 0)
		t.deliver(c, false, false)
	}
	for range 3 {
		t.repair()
	}
	t.check()
}

// wish has the viewer want something else.
func (t *layersTest) wish() {
	p := NoPreference()
	p.RID = []string{"", "a", "b"}[rapid.IntRange(0, 2).Draw(t.T, "rid")]
	p.SpatialID = rapid.IntRange(-1, 2).Draw(t.T, "spatial")
	p.TemporalID = rapid.IntRange(-1, 2).Draw(t.T, "temporal")
	t.down.seat.wish.Store(&p)
	before, waited := t.down.target, t.waits()
	t.down.choose()
	if d := t.down; t.waits() && (!waited || d.target != before) && !d.target.keys.wanted.Load() {
		t.Fatalf("waits for layer %s up to %+v, sees %+v, and nobody asked for a keyframe", d.target.rid, d.cut.goal, d.cut.now)
	}
}

// waits reports whether the viewer is to see what takes a keyframe that is yet to come.
func (t *layersTest) waits() bool {
	d := t.down
	return d.target != nil && !d.inLine && (d.layer != d.target || d.cut.goal.spatial > d.cut.now.spatial)
}

// deliver has the packets come, with some a few places late, some lost, and some left by a shard that is too busy.
func (t *layersTest) deliver(c *svcCamera, lossy, jumbled bool) {
	order, late := make([]int, len(c.sent)), make([]int, len(c.sent))
	for i := range order {
		order[i] = i
		// What overtakes a keyframe that is waited for is passed over.
		if jumbled && rapid.IntRange(0, 3).Draw(t.T, "late") == 0 && (!c.sent[i].begin || t.down.layer == c.layer) {
			late[i] = rapid.IntRange(1, 4).Draw(t.T, "by")
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(a+late[a], b+late[b]) })
	newest := 0
	for _, i := range order {
		newest = max(newest, i)
		t.passed = t.passed || slices.ContainsFunc(c.sent[i+1:newest+1], func(p svcPacket) bool { return p.begin })
		if lossy && rapid.IntRange(0, 15).Draw(t.T, "lose") == 0 {
			t.lost++
			continue
		}
		t.now += int64(time.Millisecond)
		c.receive(c.sent[i].raw, t.now)
		for len(t.shard.queue) > 0 {
			if j := <-t.shard.queue; jumbled && rapid.IntRange(0, 60).Draw(t.T, "busy") == 0 {
				t.lost += 1 + 4 // those that it overtook will not go out either
				t.fan.skip(&j)
			} else {
				t.shard.collect(j, nil)
			}
		}
		if t.shard.pacer != nil {
			t.shard.catchUp()
		}
	}
}

// repair has the viewer ask for what is missing, and once more for something that is not.
func (t *layersTest) repair() {
	got := t.sink.got
	if len(got) == 0 {
		return
	}
	have := map[uint16]sentOn{}
	newest := got[0].seq
	for _, p := range got {
		have[p.seq] = p
		if int16(p.seq-newest) > 0 {
			newest = p.seq
		}
	}
	const back = 100
	asked := newest - uint16(rapid.IntRange(0, back).Draw(t.T, "again"))
	for seq := newest - back; seq != newest; seq++ {
		before, known := have[seq]
		if known && seq != asked || int16(seq-got[0].seq) < 0 {
			continue
		}
		t.now += int64(time.Second)
		t.shard.retransmit(missing{down: t.down, pid: seq, at: time.Duration(t.now)})
		if n := len(t.sink.got); known && n > len(got) {
			again := t.sink.got[n-1]
			t.sink.got = t.sink.got[:n-1]
			if again.seq != seq || again.ts != before.ts || again.marker != before.marker || !bytes.Equal(again.payload, before.payload) ||
				len(again.payload) > 0 && !bytes.Equal(again.descriptor, before.descriptor) {
				t.Fatalf("sent again: %+v, was %+v", again, before)
			}
		}
		got = t.sink.got
	}
}

// shown is what the viewer has decoded.
type shown struct {
	*layersTest
	decoded map[int]bool // frames since the last keyframe
	frame   *svcFrame    // that came last
	camera  *svcCamera
	parts   int // of it
	gap     bool
	broken  bool // it cannot be decoded
	numbers labels
}

// labels are a picture's as it went out.
type labels struct {
	id  uint16
	tl0 uint8
}

func (t *layersTest) check() {
	got := t.sink.got
	if len(got) == 0 {
		t.Fatal("nothing went out")
	}
	first := got[0].seq
	slices.SortStableFunc(got, func(a, b sentOn) int { return int(int16(a.seq-first)) - int(int16(b.seq-first)) })
	s := &shown{layersTest: t, decoded: map[int]bool{}}
	gaps, ts := 0, got[0].ts
	for i := range got {
		if i > 0 {
			step := int(got[i].seq - got[i-1].seq)
			if step == 0 {
				t.Fatalf("number %d twice", got[i].seq)
			}
			gaps += step - 1
			s.gap = s.gap || step > 1
		}
		if len(got[i].payload) == 0 {
			continue
		}
		if int32(got[i].ts-ts) < 0 {
			t.Fatalf("time %d after %d", got[i].ts, ts)
		}
		ts = got[i].ts
		following, gap := next(got[i:])
		s.take(&got[i], following, gap)
	}
	// What is sent again has its gaps again, and of AV1 nobody knows what belongs to a lost keyframe, or to that before one.
	more := t.lossy && (t.down.instant || s.camera.codec == codec.AV1) || t.passed && s.camera.codec == codec.AV1
	if gaps > t.lost && !more {
		t.Fatalf("%d gaps, %d lost", gaps, t.lost)
	}
	s.end()
	s.checkLast()
}

// checkLast holds that the last picture of all is shown, in all layers that are wanted: it was a keyframe.
func (s *shown) checkLast() {
	c := s.camera
	if s.down.layer != c.layer {
		s.Fatal("nothing is followed")
	}
	frames := c.frames
	for i := len(frames) - 1; i >= 0 && frames[i].picture == frames[len(frames)-1].picture; i-- {
		if !s.decoded[i] && frames[i].spatial <= s.down.cut.goal.spatial {
			s.Fatalf("frame %+v of the last picture is not shown, after %+v, goal %+v", frames[i], *s.frame, s.down.cut.goal)
		}
	}
}

// next returns the next packet of a picture after the first one, nil if there is none, and whether any is missing before it.
func next(of []sentOn) (following *sentOn, gap bool) {
	for i := 1; i < len(of); i++ {
		gap = gap || of[i].seq != of[i-1].seq+1
		if len(of[i].payload) > 0 {
			return &of[i], gap
		}
	}
	return nil, gap
}

func (t *layersTest) of(p *sentOn) (c *svcCamera, f *svcFrame, part int) {
	b := p.payload[len(p.payload)-6:]
	c = t.cameras[b[0]]
	return c, &c.frames[binary.BigEndian.Uint32(b[2:])], int(b[1])
}

// take is what a decoder does with a packet. following is the packet after it, gap whether any is missing before that.
func (s *shown) take(p, following *sentOn, gap bool) {
	c, f, part := s.of(p)
	begins := f.key && f.spatial == 0 && part == 0
	if f != s.frame || begins {
		s.end()
		if !s.gap && s.frame != nil && s.parts != s.frame.packets && !begins {
			s.Fatalf("frame %+v in part", *s.frame)
		}
		s.checkNumbers(c, f, p, begins)
		if begins {
			s.decoded, s.gap = map[int]bool{}, false
		}
		s.frame, s.camera, s.parts, s.broken = f, c, 0, false
		for _, n := range f.needs {
			s.broken = s.broken || !s.decoded[n]
		}
		if s.broken && !s.gap {
			s.Fatalf("frame %+v without what it needs", *f)
		}
	} else if n := c.numbers(p); n != s.numbers && c.codec == codec.VP9 {
		s.Fatalf("frame %+v has numbers %+v and %+v", *f, s.numbers, n)
	}
	if part != s.parts && !s.gap {
		s.Fatalf("part %d of frame %+v after %d", part, *f, s.parts)
	}
	s.parts++
	if following != nil && !gap {
		s.checkMarker(p, following, f, part)
	} else if p.marker && part != f.packets-1 {
		s.Fatalf("marker on part %d of frame %+v", part, *f)
	}
}

// end is when nothing more of a frame comes.
func (s *shown) end() {
	if s.frame != nil && s.parts == s.frame.packets && !s.broken {
		s.decoded[s.frame.index] = true
	}
}

// checkMarker holds that the last packet of a picture that goes out is marked, and no other.
func (s *shown) checkMarker(p, following *sentOn, f *svcFrame, part int) {
	last := part == f.packets-1
	c, g, other := s.of(following)
	switch top := f.index+1 == len(s.camera.frames) || s.camera.frames[f.index+1].picture != f.picture; {
	case !g.key || g.spatial > 0 || other > 0:
		last = c != s.camera || g.picture != f.picture
	case !last || !top: // may have been given up for a keyframe
		last = p.marker
	}
	if p.marker != last {
		s.Fatalf("marker %t on part %d of frame %+v, followed by part %d of %+v", p.marker, part, *f, other, *g)
	}
}

// numbers are those of the packet's picture; AV1 has them for frames.
func (c *svcCamera) numbers(p *sentOn) labels {
	if c.codec == codec.AV1 {
		return labels{id: binary.BigEndian.Uint16(p.descriptor[1:])}
	}
	i := codec.Inspect(codec.VP9, p.payload)
	return labels{i.Picture.ID, i.Picture.TL0}
}

// checkNumbers holds that what a frame refers to others by counts as it did in its stream, and goes on with a keyframe.
func (s *shown) checkNumbers(c *svcCamera, f *svcFrame, p *sentOn, begins bool) {
	now, before := c.numbers(p), s.numbers
	s.numbers = now
	if s.frame == nil {
		return
	}
	step, want, mask := now.id-before.id, uint16(f.picture-s.frame.picture), uint16(0xffff)
	switch {
	case c.codec == codec.AV1:
		want = uint16(f.index - s.frame.index)
	case c.short:
		mask = 0x7f
	default:
		mask = 0x7fff
	}
	switch {
	case c != s.camera && c.short != s.camera.short:
	case begins && step&mask > 0 && step&mask <= mask/2:
	case step&mask != want&mask:
		s.Fatalf("number %d after %d: frame %+v after %+v", now.id, before.id, *f, *s.frame)
	}
	if c.codec != codec.VP9 || c.flexible || s.gap || s.camera.flexible {
		return
	}
	wantTL0 := before.tl0
	if f.temporal == 0 && f.spatial == 0 {
		wantTL0++
	}
	if now.tl0 != wantTL0 {
		s.Fatalf("tl0picidx %d after %d: frame %+v after %+v", now.tl0, before.tl0, *f, *s.frame)
	}
}
