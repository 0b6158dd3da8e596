package sfu

import (
	"encoding/binary"
	"testing"

	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
)

// modelDescriptorAt is the header extension with the dependency descriptor of the model's camera.
const modelDescriptorAt = 7

// svcFrame is what the model's camera encoded of one picture in one spatial layer.
type svcFrame struct {
	index, picture    int // its place among all frames of the stream, and that of its picture
	spatial, temporal uint8
	key               bool  // its picture can be begun with
	needs             []int // frames that it is predicted from
	joins             uint8 // from this picture on, whoever had its temporal layer can have those up to this one
	packets           int
}

// svcPacket is a packet of the model's camera.
type svcPacket struct {
	seq   uint16
	ts    uint32
	raw   []byte
	begin bool // of a keyframe
}

// svcCamera is one stream of the model's camera: VP9 by RFC 9628, or AV1 with dependency descriptors, in up to three
// spatial and three temporal layers. What it predicts from what is up to chance, as far as what it says of it is true.
type svcCamera struct {
	*layer
	t                   *rapid.T
	source              int
	codec               codec.Codec
	spatials, temporals uint8
	keyed               bool // layers refer to those below in keyframes only: L3T3_KEY
	flexible, short     bool // VP9: what is referred to is named; picture ids have 7 bits
	active              uint8

	seq, id  uint16
	ts       uint32
	tl0      uint8
	template uint8
	pattern  int
	pictures int
	frames   []svcFrame
	begin    int                           // first frame of the last keyframe
	barred   [maxTemporal][maxTemporal]int // [a][b]: b may not be predicted from layers above a of pictures before this one
	sent     []svcPacket
}

func newSVCCamera(t *rapid.T, l *layer, source int) *svcCamera {
	return &svcCamera{
		layer: l, t: t, source: source, codec: l.track.codec,
		spatials: uint8(rapid.IntRange(1, 3).Draw(t, "spatials")), temporals: uint8(rapid.IntRange(1, 3).Draw(t, "temporals")),
		keyed: rapid.Bool().Draw(t, "keyed"), flexible: rapid.Bool().Draw(t, "flexible"), short: rapid.Bool().Draw(t, "short"),
		seq: rapid.Uint16().Draw(t, "seq"), id: rapid.Uint16().Draw(t, "id"), ts: rapid.Uint32().Draw(t, "ts"),
		tl0: rapid.Uint8().Draw(t, "tl0"), template: rapid.Uint8Range(0, 63).Draw(t, "template"),
	}
}

// encode appends the packets of the next picture.
func (c *svcCamera) encode(key bool) {
	t := c.t
	temporal := uint8(0)
	if key {
		c.pattern, c.begin, c.template = 0, len(c.frames), (c.template+uint8(c.templates()))&63
		c.barred = [maxTemporal][maxTemporal]int{}
	} else {
		c.pattern++
		temporal = [...][4]uint8{{}, {0, 1, 0, 1}, {0, 2, 1, 2}}[c.temporals-1][c.pattern%4]
	}
	if rapid.IntRange(0, 7).Draw(t, "adapts") == 0 && (key || !c.keyed) {
		c.active = uint8(rapid.IntRange(1, int(c.spatials)).Draw(t, "active"))
	} else if key {
		c.active = c.spatials
	}
	says, joins := key || rapid.Bool().Draw(t, "says"), temporal
	if says {
		joins = c.temporals - 1
	}
	if says && !key && c.codec == codec.AV1 { // VP9 can only say so of all
		joins = uint8(rapid.IntRange(int(temporal), int(joins)).Draw(t, "up to"))
	}
	first := len(c.frames)
	for s := range c.active {
		f := svcFrame{
			index: len(c.frames), picture: c.pictures, spatial: s, temporal: temporal, key: key, joins: joins,
			packets: rapid.IntRange(1, 3).Draw(t, "packets"),
		}
		if !c.predict(&f, says) {
			break // nor can what is above
		}
		c.frames = append(c.frames, f)
	}
	if says {
		for b := temporal; b <= joins; b++ {
			c.barred[temporal][b] = c.pictures
			if temporal > 0 { // of its own layer too, or nobody could join by it
				c.barred[temporal-1][b] = c.pictures
			}
		}
	}
	if temporal == 0 {
		c.tl0++
	}
	for i := first; i < len(c.frames); i++ {
		c.pack(i, i == len(c.frames)-1, says)
	}
	c.pictures++
	c.id++
	c.ts += rapid.Uint32Range(1, 6000).Draw(t, "step")
}

// predict chooses what a frame is predicted from. It reports false if there is nothing.
func (c *svcCamera) predict(f *svcFrame, says bool) bool {
	if !f.key {
		candidates := c.candidates(f, says)
		if n := len(candidates); n > 0 {
			at := n - 1 - min(n-1, rapid.IntRange(0, 2).Draw(c.t, "back"))
			f.needs = append(f.needs, candidates[at])
		}
	}
	if f.spatial > 0 && (f.key || !c.keyed) { // the layer below, which was encoded just now
		f.needs = append(f.needs, f.index-1)
	}
	return len(f.needs) > 0 || f.key && f.spatial == 0
}

// candidates are the frames of the same spatial layer that may be referred to, oldest first.
func (c *svcCamera) candidates(f *svcFrame, says bool) (found []int) {
	const farthest = 60 // pictures: what seven bits tell apart
	for i := c.begin; i < len(c.frames); i++ {
		o := &c.frames[i]
		ok := o.spatial == f.spatial && o.picture != f.picture && o.temporal <= f.temporal && f.picture-o.picture < farthest
		for a := range f.temporal {
			ok = ok && (o.temporal <= a || o.picture >= c.barred[a][f.temporal])
		}
		// Encoders of VP9 say so only where the frame itself can be joined.
		if says && c.codec == codec.VP9 && f.temporal > 0 {
			ok = ok && o.temporal < f.temporal
		}
		if ok {
			found = append(found, i)
		}
	}
	return found
}

// pack appends the packets of a frame.
func (c *svcCamera) pack(index int, top, says bool) {
	f := &c.frames[index]
	for part := range f.packets {
		first, last := part == 0, part == f.packets-1
		p := &rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: 100, SSRC: 1, SequenceNumber: c.seq, Timestamp: c.ts, Marker: top && last,
		}}
		if c.codec == codec.VP9 {
			p.Payload = c.vp9(f, first, last, says)
		} else {
			p.Payload = []byte{modelBit(!first, 0x80) | modelBit(!last, 0x40) | 0x10 | modelBit(first && f.key && f.spatial == 0, 0x08), 0x32}
			p.ExtensionProfile, p.Extension = 0x1000, true
			if err := p.SetExtension(modelDescriptorAt, c.descriptor(f, first, last, says)); err != nil {
				c.t.Fatal(err)
			}
		}
		p.Payload = append(p.Payload, byte(c.source), byte(part))
		p.Payload = binary.BigEndian.AppendUint32(p.Payload, uint32(f.index))
		raw, err := p.Marshal()
		if err != nil {
			c.t.Fatal(err)
		}
		c.sent = append(c.sent, svcPacket{c.seq, c.ts, raw, first && f.key && f.spatial == 0})
		c.seq++
	}
}

// vp9 makes a payload descriptor: RFC 9628, section 4.2.
func (c *svcCamera) vp9(f *svcFrame, first, last, says bool) []byte {
	var differences []int
	below := false
	for _, n := range f.needs {
		if d := f.picture - c.frames[n].picture; d > 0 {
			differences = append(differences, d)
		} else {
			below = true
		}
	}
	sizes := first && f.key && f.spatial == 0
	b := []byte{0x80 | modelBit(len(differences) > 0, 0x40) | 0x20 | modelBit(c.flexible, 0x10) | modelBit(first, 0x08) |
		modelBit(last, 0x04) | modelBit(sizes, 0x02)}
	if c.short {
		b = append(b, byte(c.id)&0x7f)
	} else {
		b = append(b, 0x80|byte(c.id>>8), byte(c.id))
	}
	b = append(b, f.temporal<<5|modelBit(says, 0x10)|f.spatial<<1|modelBit(below, 1))
	if !c.flexible {
		b = append(b, c.tl0)
	} else {
		for i, d := range differences {
			b = append(b, byte(d)<<1|modelBit(i < len(differences)-1, 1))
		}
	}
	if sizes {
		b = append(b, (c.spatials-1)<<5|0x10)
		for s := range uint16(c.spatials) {
			b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, 320<<s<<c.source), 180<<s<<c.source)
		}
	}
	return b
}

func modelBit(is bool, v byte) byte {
	if is {
		return v
	}
	return 0
}

// fields writes bit fields.
type fields struct {
	b []byte
	n int
}

func (w *fields) u(v, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// ns writes a number below n: AV1 bitstream specification, section 4.10.7.
func (w *fields) ns(v, n int) {
	bits := 0
	for x := n; x != 0; x >>= 1 {
		bits++
	}
	if m := 1<<bits - n; v < m {
		w.u(v, bits-1)
	} else {
		w.u(v+m, bits)
	}
}

func (c *svcCamera) templates() int { return int(c.spatials) * int(c.temporals) }

// descriptor makes a dependency descriptor: RTP Payload Format For AV1, appendix A. There is a template and a decode
// target for each layer, and a chain for each spatial one.
func (c *svcCamera) descriptor(f *svcFrame, first, last, says bool) []byte {
	w := &fields{}
	w.u(int(modelBit(first, 1)), 1)
	w.u(int(modelBit(last, 1)), 1)
	w.u((int(c.template)+int(f.spatial)*int(c.temporals)+int(f.temporal))&63, 6)
	w.u(int(uint16(f.index)+c.id0()), 16)
	structure := first && f.key && f.spatial == 0
	masked := structure || rapid.IntRange(0, 3).Draw(c.t, "masked") == 0
	custom := says || c.keyed
	if !structure && !masked && !custom && len(f.needs) == 0 {
		return w.b
	}
	for _, flag := range []bool{structure, masked, custom, len(f.needs) > 0, true} {
		w.u(int(modelBit(flag, 1)), 1)
	}
	if structure {
		c.structure(w)
	}
	if masked {
		for i := range c.templates() {
			w.u(int(modelBit(i/int(c.temporals) < int(c.active), 1)), 1)
		}
	}
	if custom {
		for s := range c.spatials {
			for temporal := range c.temporals {
				w.u(int(c.indication(f, s, temporal, says)), 2)
			}
		}
	}
	for _, n := range f.needs {
		w.u(2, 2)
		w.u(f.index-n-1, 8)
	}
	if len(f.needs) > 0 {
		w.u(0, 2)
	}
	for s := range c.spatials {
		w.u(c.chained(f, s), 8)
	}
	return w.b
}

// id0 is the number of the first frame, which is any.
func (c *svcCamera) id0() uint16 { return uint16(c.source)*0x7777 + 0xfff0 }

// indication is what a frame is to the decode target of a layer.
func (c *svcCamera) indication(f *svcFrame, spatial, temporal uint8, says bool) uint8 {
	const notPresent, switching, required = 0, 2, 3
	switch {
	case spatial < f.spatial || temporal < f.temporal:
		return notPresent
	case spatial > f.spatial && c.keyed && !f.key:
		return notPresent
	case says && temporal <= f.joins && (f.key || spatial == f.spatial):
		return switching
	}
	return required
}

// chained is how many frames before this one the last was of the chain of a spatial layer, 0 for none.
func (c *svcCamera) chained(f *svcFrame, spatial uint8) int {
	for i := f.index - 1; i >= c.begin; i-- {
		if o := &c.frames[i]; o.temporal == 0 && (o.spatial == spatial || o.spatial < spatial && (!c.keyed || o.key)) {
			return (f.index - i) & 255
		}
	}
	return 0
}

// structure writes template_dependency_structure, section A.8.2.
func (c *svcCamera) structure(w *fields) {
	w.u(int(c.template), 6)
	w.u(c.templates()-1, 5)
	for s := range c.spatials {
		for temporal := range c.temporals {
			switch {
			case temporal < c.temporals-1:
				w.u(1, 2)
			case s < c.spatials-1:
				w.u(2, 2)
			default:
				w.u(3, 2)
			}
		}
	}
	for s := range c.spatials {
		for temporal := range c.temporals {
			for target := range c.templates() {
				present := target/int(c.temporals) >= int(s) && target%int(c.temporals) >= int(temporal)
				w.u(int(modelBit(present, 3)), 2)
			}
		}
	}
	w.u(0, c.templates()) // no differences that are the same every time
	w.ns(int(c.spatials), c.templates()+1)
	for target := range c.templates() {
		w.ns(target/int(c.temporals), int(c.spatials))
	}
	w.u(0, 4*int(c.spatials)*c.templates())
	w.u(1, 1)
	for s := range int(c.spatials) {
		w.u(320<<s<<c.source-1, 16)
		w.u(180<<s<<c.source-1, 16)
	}
}

// TestModelDescriptor holds that the model says what it means, by the reader that what it sends is read with.
func TestModelDescriptor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		up := newUpTrack(spec{kind: video, mimeType: "video/AV1", clockRate: 90000}, &counters{})
		c := newSVCCamera(t, newLayer(up, 1, 16), 0)
		var current *codec.Structure
		for i := range rapid.IntRange(1, 20).Draw(t, "pictures") {
			c.sent = nil
			c.encode(i == 0)
			for _, s := range c.sent {
				var p rtp.Packet
				if err := p.Unmarshal(s.raw); err != nil {
					t.Fatal(err)
				}
				d, ok := codec.ReadDescriptor(p.GetExtension(modelDescriptorAt), current)
				if !ok {
					t.Fatalf("% x cannot be read", p.GetExtension(modelDescriptorAt))
				}
				if d.Structure != nil {
					current = d.Structure
				}
				f := &c.frames[binary.BigEndian.Uint32(p.Payload[len(p.Payload)-4:])]
				if d.Spatial != f.spatial || d.Temporal != f.temporal || d.Number != uint16(f.index)+c.id0() ||
					current.Spatial() != int(c.spatials) || d.Up > f.temporal && d.Up != f.joins || d.Up < f.temporal && f.joins > f.temporal {
					t.Fatalf("%+v of %+v", d, *f)
				}
			}
		}
	})
}
