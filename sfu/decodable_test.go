package sfu

import (
	"cmp"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

// picture is what the model's camera encoded: which earlier pictures of its layer it needs.
type picture struct {
	layer, number int
	key           bool
	temporal      uint8
	needs         int // number of the picture that it is predicted from; -1 for none
}

// source is one layer of the model's camera: VP8 in three temporal layers.
type modelLayer struct {
	*layer
	seq, id  uint16
	ts       uint32
	tl0      uint8
	pictures []picture
	sent     []sentPacket
}

type sentPacket struct {
	seq     uint16
	ts      uint32
	marker  bool
	payload []byte
}

// encode appends the packets of the next picture.
func (m *modelLayer) encode(key bool, packets int, step uint32) {
	n := len(m.pictures)
	p := picture{layer: int(m.number), number: n, key: key, temporal: [4]uint8{0, 2, 1, 2}[n%4], needs: n - 1}
	switch {
	case key:
		p.temporal, p.needs = 0, -1
	case n%4 == 0:
		p.needs = m.lastOf(0)
	case n%4 == 2:
		p.needs = m.lastOf(0)
	}
	m.pictures = append(m.pictures, p)
	m.id = (m.id + 1) & 0x7fff
	m.ts += step
	if p.temporal == 0 {
		m.tl0++
	}
	for i := range packets {
		first := byte(0)
		if i == 0 {
			first = 0x10
		}
		sync := byte(0x20)
		notKey := byte(1)
		if key {
			notKey = 0
		}
		b := []byte{0x80 | first, 0xe0, 0x80 | byte(m.id>>8), byte(m.id), m.tl0, p.temporal<<6 | sync, notKey, p.temporal}
		b = binary.BigEndian.AppendUint32(b, uint32(m.number)<<16|uint32(n))
		m.sent = append(m.sent, sentPacket{m.seq, m.ts, i == packets-1, b})
		m.seq++
	}
}

func (m *modelLayer) lastOf(temporal uint8) int {
	for i := len(m.pictures) - 1; i >= 0; i-- {
		if m.pictures[i].temporal <= temporal {
			return i
		}
	}
	return -1
}

// TestOutputIsDecodable is the law of the mapper: whatever is late, lost, switched, thinned or wrapped around, what a
// viewer gets has no gap but for what was lost, time that does not go back, picture ids without a jump, and no picture
// before what it is predicted from.
func TestOutputIsDecodable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		lossy := rapid.Bool().Draw(t, "lossy")
		up := newUpTrack(spec{kind: video, mimeType: webrtc.MimeTypeVP8, clockRate: 90000}, &counters{})
		var layers []*modelLayer
		for i := range 2 {
			l := newLayer(up, uint64(i), 16)
			l.rid, l.epoch = string(rune('a'+i)), 1
			l.keys = newKeyframes(time.Hour, func(bool) {})
			l.sizes[0].Store(uint32(320*(i+1))<<16 | uint32(180*(i+1)))
			l.facts.Store(&facts{rates: [maxSpatial][maxTemporal]int{{100 * (i + 1), 100, 100}}, highest: sublayers{0, 2}})
			up.join(l)
			layers = append(layers, &modelLayer{
				layer: l, seq: rapid.Uint16().Draw(t, "seq"), id: rapid.Uint16().Draw(t, "id"), ts: rapid.Uint32().Draw(t, "ts"),
			})
		}
		st := newSeat()
		sink := &keepingSink{}
		d := newDownTrack(up, stream{ssrc: 1, payloadType: 96}, sink, st)
		now, lost := int64(time.Hour), 0
		for range rapid.IntRange(1, 40).Draw(t, "rounds") {
			now += int64(33 * time.Millisecond)
			if rapid.IntRange(0, 5).Draw(t, "wish") == 0 {
				p := NoPreference()
				p.RID = string(rune('a' + rapid.IntRange(0, 1).Draw(t, "rid")))
				p.TemporalID = rapid.IntRange(-1, 2).Draw(t, "temporal")
				st.wish.Store(&p)
				d.choose()
			}
			for _, m := range layers {
				m.sent = m.sent[:0]
				for range rapid.IntRange(1, 3).Draw(t, "pictures") {
					m.encode(len(m.pictures) == 0 || m.keys.wanted.Swap(false), rapid.IntRange(1, 4).Draw(t, "packets"),
						rapid.Uint32Range(1, 6000).Draw(t, "step"))
				}
				order := jumbled(t, m.sent)
				for _, i := range order {
					if lossy && rapid.IntRange(0, 15).Draw(t, "lose") == 0 {
						lost++
						continue
					}
					s := m.sent[i]
					p := packetOf(s, now)
					d.forward(m.layer, &p, codec.Inspect(codec.VP8, p.Payload), 0)
				}
			}
		}
		checkOutput(t, sink.packets, layers, lossy, lost)
	})
}

// jumbled returns the indices of packets, with some a few places late, but for those that everything may begin with:
// what overtakes such a packet is passed over, and only asked for again.
func jumbled(t *rapid.T, sent []sentPacket) []int {
	order := make([]int, len(sent))
	late := make([]int, len(sent))
	for i := range order {
		order[i] = i
		if rapid.IntRange(0, 3).Draw(t, "late") == 0 && !codec.Inspect(codec.VP8, sent[i].payload).Keyframe {
			late[i] = rapid.IntRange(1, 3).Draw(t, "by")
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(a+late[a], b+late[b]) })
	return order
}

func checkOutput(t *rapid.T, got []*rtp.Packet, layers []*modelLayer, lossy bool, lost int) {
	if len(got) == 0 {
		return
	}
	first := got[0].SequenceNumber
	slices.SortStableFunc(got, func(a, b *rtp.Packet) int {
		return int(int16(a.SequenceNumber-first)) - int(int16(b.SequenceNumber-first))
	})
	gaps := 0
	for i := 1; i < len(got); i++ {
		step := got[i].SequenceNumber - got[i-1].SequenceNumber
		if step == 0 {
			t.Fatalf("number %d twice", got[i].SequenceNumber)
		}
		gaps += int(step) - 1
		if int32(got[i].Timestamp-got[i-1].Timestamp) < 0 && len(got[i].Payload) > 0 && len(got[i-1].Payload) > 0 {
			t.Fatalf("time %d after %d", got[i].Timestamp, got[i-1].Timestamp)
		}
	}
	if gaps > lost {
		t.Fatalf("%d gaps, %d lost", gaps, lost)
	}
	if !lossy {
		checkPictures(t, got, layers)
	}
}

// checkPictures holds that each picture comes after what it needs, and picture ids and TL0PICIDX count up.
func checkPictures(t *rapid.T, got []*rtp.Packet, layers []*modelLayer) {
	decoded := map[[2]int]bool{}
	var before *picture
	var last codec.Info
	holes := uint16(0) // packets that stand for some of pictures left out, which may have left a gap of ids
	for _, p := range got {
		if len(p.Payload) == 0 {
			holes++
			continue
		}
		info := codec.Inspect(codec.VP8, p.Payload)
		name := binary.BigEndian.Uint32(p.Payload[8:])
		pic := &layers[name>>16].pictures[name&0xffff]
		if pic == before {
			if info.Picture.ID != last.Picture.ID || info.Picture.TL0 != last.Picture.TL0 {
				t.Fatalf("picture %+v has ids %d and %d", *pic, last.Picture.ID, info.Picture.ID)
			}
			continue
		}
		if decoded[[2]int{pic.layer, pic.number}] {
			t.Fatalf("picture %+v in two pieces", *pic)
		}
		if pic.needs >= 0 && !decoded[[2]int{pic.layer, pic.needs}] {
			t.Fatalf("picture %+v without what it needs", *pic)
		}
		jump := (info.Picture.ID - last.Picture.ID) & 0x7fff
		if before != nil && (jump == 0 || jump > 1+holes) {
			t.Fatalf("picture id %d after %d (%+v after %+v)", info.Picture.ID, last.Picture.ID, *pic, *before)
		}
		if step := info.Picture.TL0 - last.Picture.TL0; before != nil && (pic.temporal == 0) != (step == 1) {
			t.Fatalf("tl0picidx %d after %d (%+v)", info.Picture.TL0, last.Picture.TL0, *pic)
		}
		decoded[[2]int{pic.layer, pic.number}] = true
		if before != nil && jump > 1 {
			holes -= jump - 1
		}
		before, last = pic, info
	}
}

func packetOf(s sentPacket, now int64) ring.Packet {
	return ring.Packet{Seq: s.seq, Timestamp: s.ts, Marker: s.marker, Arrival: now, Payload: slices.Clone(s.payload)}
}
