package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// FuzzExtension holds that no packet makes the search for a header extension panic, and that what it finds is what pion
// finds.
func FuzzExtension(f *testing.F) {
	p := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: []byte("x")}
	_ = p.SetExtension(3, []byte{1, 2})
	raw, _ := p.Marshal()
	f.Add(raw, uint8(3))
	f.Add([]byte{0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0, 1, 0x31, 1, 2, 0}, uint8(3))
	f.Add([]byte{0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 200, 2, 1, 2}, uint8(200))
	f.Fuzz(func(t *testing.T, b []byte, id uint8) {
		if len(b) == 0 || id == 0 {
			return
		}
		got := extension(b, id)
		var h rtp.Header
		if n, err := h.Unmarshal(b); err != nil || n > len(b) || !h.Extension ||
			h.ExtensionProfile != 0x1000 && (h.ExtensionProfile != 0xbede || id > 14) {
			return
		}
		if want := h.GetExtension(id); got != nil && !bytes.Equal(got, want) {
			t.Errorf("got %x, pion %x in %x", got, want, b)
		}
	})
}

// TestCameraRetransmits has a camera answer over its retransmission stream: the packet takes its place as if it had
// never been lost.
func TestCameraRetransmits(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	sink := &keepingSink{}
	b.shard.add(b.fan, newDownTrack(b.layer.track, stream{ssrc: 1, payloadType: 96}, sink, newSeat()))
	sp := spec{kind: video, payloadType: 100, rtx: 101}
	sess := &session{specs: []spec{sp}}
	b.layer.reception = reception{ssrc: 55, clockRate: 90000}
	sess.uplink.layers = []*layer{b.layer}
	drain := func() {
		for len(b.shard.queue) > 0 {
			b.shard.collect(<-b.shard.queue, nil)
		}
	}
	send := func(seq uint16, keyframe bool) {
		raw, err := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: 100, SequenceNumber: seq, Timestamp: 9000, SSRC: 55},
			Payload: payload(codec.VP8, keyframe, 0, seq),
		}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		b.layer.reception.arrived(seq, 9000, 0)
		b.layer.receive(raw, 0)
		drain()
	}
	send(10, true)
	send(12, false)
	again, err := (&rtp.Packet{
		Header:  rtp.Header{Version: 2, PayloadType: 101, SequenceNumber: 4000, Timestamp: 9000, SSRC: 56, Marker: true},
		Payload: append(binary.BigEndian.AppendUint16(nil, 11), payload(codec.VP8, false, 0, 11)...),
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sess.retransmitted(sp, bytes.Clone(again), 0)
	drain()
	if len(sink.packets) != 3 || b.layer.reception.n != 0 {
		t.Fatalf("%d packets went out and %d are missing, want 3 and none", len(sink.packets), b.layer.reception.n)
	}
	first, late := sink.packets[0], sink.packets[2]
	if late.SequenceNumber != first.SequenceNumber+1 || !late.Marker || late.Timestamp != first.Timestamp {
		t.Errorf("the late packet is %+v after %+v", late.Header, first.Header)
	}
	for _, broken := range [][]byte{again[:12], again[:13], append([]byte{0xb0}, again[1:14]...)} {
		sess.retransmitted(sp, bytes.Clone(broken), 0)
	}
}
