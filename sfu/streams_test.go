package sfu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

// TestReadSimulcast reads what browsers, OBS and nobody in his right mind offer.
func TestReadSimulcast(t *testing.T) {
	t.Parallel()
	rids := func(n int) (lines, list string) {
		var names []string
		for i := range n {
			lines += fmt.Sprintf("rid:r%d send\n", i)
			names = append(names, fmt.Sprintf("r%d", i))
		}
		return lines, strings.Join(names, ";")
	}
	hundred, list := rids(100)
	long := strings.Repeat("x", 40)
	tests := []struct{ name, lines, want string }{
		{"none", "", ""},
		{"chromium", "rid:l send\nrid:m send\nrid:h send\nsimulcast:send l;m;h", "l m h"},
		{"paused", "rid:l send\nrid:h send\nsimulcast:send l;~h", "l h"},
		{"alternatives", "rid:1 send pt=96\nrid:2 send\nrid:3 send\nsimulcast:send 1,2;3", "1 3"},
		{"both directions", "rid:a send\nrid:b recv\nsimulcast:recv b send a", "a"},
		{"not named", "rid:l send\nsimulcast:send l;m", "l"},
		{"twice", "rid:l send\nsimulcast:send l;l", "l"},
		{"hostile names", "rid:a/b send\nrid: send\nrid:" + long + " send\nsimulcast:send a/b;;" + long, ""},
		{"hundred", hundred + "simulcast:send " + list, "r0 r1 r2 r3"},
		{"receives only", "rid:l recv\nsimulcast:recv l", ""},
		{"ssrc groups", "ssrc-group:FID 1 4\nssrc-group:FID 2 5\nssrc-group:SIM 1 2 3", "1=0 2=1 3=2 4>0 5>1"},
		{"a lone ssrc", "ssrc-group:SIM 1\nssrc-group:FID 1 2", ""},
		{"endless group", "ssrc-group:SIM" + strings.Repeat(" 7", 500), "7=0 7=1 7=2 7=3"},
		{"empty groups", "ssrc-group:SIM \nssrc-group:FID \nssrc-group:FID 1", ""},
	}
	for _, tt := range tests {
		m := &sdp.MediaDescription{}
		for line := range strings.SplitSeq(tt.lines, "\n") {
			key, value, _ := strings.Cut(line, ":")
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: key, Value: value})
		}
		s := readSimulcast(m)
		got := slices.Clone(s.rids)
		for _, n := range s.sources {
			got = append(got, fmt.Sprintf("%d=%s", n.ssrc, n.rid))
		}
		for _, n := range s.repairs {
			got = append(got, fmt.Sprintf("%d>%s", n.ssrc, n.rid))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// packetWith marshals a packet with these header extensions.
func packetWith(tb testing.TB, ssrc uint32, payloadType uint8, seq uint16, payload []byte, values map[uint8][]byte) []byte {
	tb.Helper()
	p := &rtp.Packet{
		Header:  rtp.Header{Version: 2, SSRC: ssrc, PayloadType: payloadType, SequenceNumber: seq, Timestamp: uint32(seq) * 3000, Marker: true},
		Payload: payload,
	}
	for id := range uint8(255) {
		if v, ok := values[id]; ok {
			if len(v) > 16 {
				p.ExtensionProfile, p.Extension = 0x1000, true
			}
			if err := p.SetExtension(id, v); err != nil {
				tb.Fatal(err)
			}
		}
	}
	raw, err := p.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestExtension(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte{7}, 40)
	for _, raw := range [][]byte{
		packetWith(t, 1, 96, 1, nil, map[uint8][]byte{3: {1, 2}, 5: []byte("h")}),
		packetWith(t, 1, 96, 1, nil, map[uint8][]byte{2: long, 3: {1, 2}, 5: []byte("h")}),
	} {
		if got := extension(raw, 5); string(got) != "h" {
			t.Errorf("%q in % x", got, raw)
		}
		if got := extension(raw, 3); !bytes.Equal(got, []byte{1, 2}) {
			t.Errorf("% x in % x", got, raw)
		}
		if extension(raw, 4) != nil || extension(raw, 0) != nil {
			t.Error("found what is not there")
		}
	}
}

// TestDescriptorGoesOut reads back what a viewer is sent.
func TestDescriptorGoesOut(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 4, 16, 17, 100, 255} {
		x := extensions{descriptorAt: 12, descriptor: bytes.Repeat([]byte{0xa5}, n)}
		var h rtp.Header
		raw := x.write(append(make([]byte, 0, rtpHeader+extensionRoom), 2<<6|1<<4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0)
		size, err := h.Unmarshal(raw)
		if err != nil || size != len(raw) || !bytes.Equal(h.GetExtension(12), x.descriptor) {
			t.Errorf("%d bytes: %v, % x", n, err, raw)
		}
	}
}

// TestSpatialLayers sends two viewers VP9 in three spatial layers, of which one wants the lowest two.
func TestSpatialLayers(t *testing.T) {
	t.Parallel()
	whole, part := &keepingSink{}, &keepingSink{}
	b := newBench(webrtc.MimeTypeVP9, part, whole)
	b.layer.facts.Store(&facts{rates: [maxSpatial][maxTemporal]int{{1}, {1}, {1}}, highest: sublayers{2, 0}})
	wish := NoPreference()
	wish.SpatialID = 1
	b.fan.downs[0].seat.wish.Store(&wish)
	seq := uint16(65530)
	picture := func(n byte, key bool) {
		for s := range byte(3) {
			for part := range 2 {
				head := byte(0xa0)
				if !key {
					head |= vp9Predicted
				}
				if part == 0 {
					head |= 0x08
				} else {
					head |= 0x04
				}
				seq++
				p := rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(n) * 3000, Marker: s == 2 && part == 1},
					Payload: []byte{head, n, s << 1, n, 1, 2, 3},
				}
				raw, _ := p.Marshal()
				b.now += 1_000_000
				b.layer.receive(raw, b.now)
				b.shard.collect(<-b.shard.queue, nil)
			}
		}
	}
	picture(1, true)
	picture(2, false)
	if len(whole.packets) != 12 || len(part.packets) != 8 {
		t.Fatalf("%d and %d packets, want 12 and 8", len(whole.packets), len(part.packets))
	}
	for i, p := range part.packets {
		info := codec.Inspect(codec.VP9, p.Payload)
		if p.SequenceNumber != part.packets[0].SequenceNumber+uint16(i) || p.Marker != (i%4 == 3) || info.Spatial > 1 {
			t.Errorf("packet %d: number %d, marker %t, spatial layer %d", i, p.SequenceNumber, p.Marker, info.Spatial)
		}
	}
	for i, p := range whole.packets {
		if p.Marker != (i%6 == 5) || len(p.Payload) != 7 {
			t.Errorf("packet %d of all: marker %t, %d bytes", i, p.Marker, len(p.Payload))
		}
	}
	// The third layer comes with the next keyframe, not before.
	b.fan.downs[0].seat.wish.Store(new(NoPreference()))
	b.fan.reconsider()
	picture(3, false)
	picture(4, true)
	if len(part.packets) != 8+4+6 {
		t.Errorf("%d packets, want 18", len(part.packets))
	}
	// And goes between two pictures.
	b.fan.downs[0].seat.wish.Store(&wish)
	b.fan.reconsider()
	picture(5, false)
	if len(part.packets) != 18+4 {
		t.Errorf("%d packets, want 22", len(part.packets))
	}
}

const vp9Predicted = 0x40

// stranger makes a publisher that packets can be fed to without a connection.
func stranger(t *testing.T, sim simulcast) (*SFU, *session) {
	t.Helper()
	s := newSFU(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := s.openMedia("m")
	if err != nil {
		t.Fatal(err)
	}
	sp := spec{kind: video, mimeType: webrtc.MimeTypeVP8, clockRate: 90000, payloadType: 96, rtx: 97}
	sess := &session{role: publish, media: m, mediaID: "m", specs: []spec{sp}, simulcast: sim, done: make(chan struct{}), number: 1}
	sess.uplink = newUplink(nil, 0)
	m.publisher = sess
	m.tracks[video] = newUpTrack(sp, &m.counters)
	t.Cleanup(func() {
		close(sess.done)
		sess.loops.Wait()
		s.mu.Lock()
		m.publisher = nil
		s.mu.Unlock()
	})
	return s, sess
}

// TestSSRCFlood has a publisher change its SSRC with every packet: bounded memory, and counted.
func TestSSRCFlood(t *testing.T) {
	t.Parallel()
	s, sess := stranger(t, simulcast{})
	for i := range uint32(10_000) {
		raw := packetWith(t, 1000+i, 96, uint16(i), payload(codec.VP8, true, 0, 1), nil)
		s.fates.note(s.fromStranger(sess, raw, int64(i)*1_000_000))
	}
	if n := len(sess.uplink.layers); n > maxStreams {
		t.Errorf("%d streams", n)
	}
	if n := s.fates[unbound].Load(); n < 9_900 {
		t.Errorf("%d packets counted", n)
	}
	if n := len(*sess.media.tracks[video].layers.Load()); n != 1 {
		t.Errorf("%d layers", n)
	}
}

// TestBindsByName binds streams to layers by RID, and what is sent again by repaired RID, also when it says so no more.
func TestBindsByName(t *testing.T) {
	t.Parallel()
	s, sess := stranger(t, simulcast{rids: []string{"l", "h"}, ridAt: 10, repairedAt: 11})
	media := func(ssrc uint32, seq uint16, rid string) {
		values := map[uint8][]byte{}
		if rid != "" {
			values[10] = []byte(rid)
		}
		raw := packetWith(t, ssrc, 96, seq, payload(codec.VP8, true, 0, seq), values)
		if l := sess.layerOf(ssrc); l != nil {
			l.reception.arrived(seq, uint32(seq)*3000, 1)
			l.receive(raw, 1)
			return
		}
		s.fates.note(s.fromStranger(sess, raw, 1))
	}
	media(1, 10, "l")
	media(2, 500, "h")
	media(3, 1, "")
	media(4, 1, "x")
	if n := len(sess.uplink.layers); n != 2 || s.fates[unbound].Load() != 2 {
		t.Fatalf("%d layers, %d packets unbound", n, s.fates[unbound].Load())
	}
	media(1, 13, "")
	media(2, 503, "")
	repair := func(original uint16, rid string) {
		values := map[uint8][]byte{}
		if rid != "" {
			values[11] = []byte(rid)
		}
		body := binary.BigEndian.AppendUint16(nil, original)
		s.fates.note(s.fromStranger(sess, packetWith(t, 77, 97, original, append(body, payload(codec.VP8, false, 0, original)...), values), 2))
	}
	found := func(rid string, seq uint16) bool {
		var p ring.Packet
		buf := make([]byte, ring.MaxPayload)
		for _, l := range sess.uplink.layers {
			if l.rid == rid && l.ring.Find(seq, &p, buf) {
				return true
			}
		}
		return false
	}
	repair(501, "")
	if found("h", 501) || found("l", 501) {
		t.Error("a retransmission of nobody knows what was taken")
	}
	repair(501, "h")
	repair(502, "") // of the same stream
	if !found("h", 501) || !found("h", 502) || found("l", 501) {
		t.Error("retransmissions of layer h did not get there")
	}
}

// TestSSRCGroups binds streams that a camera named in its offer alone.
func TestSSRCGroups(t *testing.T) {
	t.Parallel()
	s, sess := stranger(t, simulcast{sources: []streamName{{1, "0"}, {2, "1"}}, repairs: []streamName{{5, "1"}}})
	for ssrc := range uint32(4) {
		s.fates.note(s.fromStranger(sess, packetWith(t, ssrc, 96, 1, payload(codec.VP8, true, 0, 1), nil), 1))
	}
	if len(sess.uplink.layers) != 2 || sess.uplink.layers[1].rid != "1" {
		t.Errorf("%d layers", len(sess.uplink.layers))
	}
	sp := sess.specs[0]
	if l := sess.repairedLayer(sp, packetWith(t, 5, 97, 1, nil, nil)); l == nil || l.rid != "1" {
		t.Errorf("repair of %v", l)
	}
	if l := sess.repairedLayer(sp, packetWith(t, 6, 97, 1, nil, nil)); l != nil {
		t.Errorf("a stranger repairs layer %s", l.rid)
	}
}

// TestSenderReportsAcrossLayers holds that time across a switch is the camera's, whatever the clocks of its layers show
// and however late the packets come.
func TestSenderReportsAcrossLayers(t *testing.T) {
	t.Parallel()
	sink := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8, sink)
	b.layer.rid = "a"
	other := newLayer(b.layer.track, 2, 1024)
	other.rid, other.keys = "b", newKeyframes(defaultKeyframeInterval, func(bool) {})
	b.layer.track.join(other)
	second := uint64(1) << 32
	b.layer.report.Store(&senderReport{ntp: 100 * second, rtp: 1000})
	other.report.Store(&senderReport{ntp: 101 * second, rtp: 1 << 31})
	d := b.fan.downs[0]
	send := func(l *layer, seq uint16, ts uint32, key bool, now int64) {
		p := ring.Packet{Seq: seq, Timestamp: ts, Marker: true, Arrival: now, Payload: payload(codec.VP8, key, 0, seq)}
		d.forward(l, &p, codec.Inspect(codec.VP8, p.Payload), 0)
	}
	wish := NoPreference()
	wish.RID = "a"
	d.seat.wish.Store(&wish)
	send(b.layer, 1, 1000, true, 1e9) // captured at 100 s
	other.sizes[0].Store(640<<16 | 360)
	b.layer.sizes[0].Store(320<<16 | 180)
	d.seat.wish.Store(new(NoPreference()))
	send(other, 9, 1<<31-45000, true, 1e9+7e8) // captured at 100.5 s, 200 ms late
	if step := sink.packets[1].Timestamp - sink.packets[0].Timestamp; step != 45000 {
		t.Errorf("%d units after the switch, want half a second", step)
	}
	if len(sink.packets) != 2 {
		t.Errorf("%d packets", len(sink.packets))
	}
}
