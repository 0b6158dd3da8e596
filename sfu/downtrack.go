package sfu

import (
	"math/rand/v2"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/rewrite"
	"github.com/securecam/securecam/sfu/ring"
)

// askEvery is the number of packets that a down track lets pass before it asks again for the keyframe it waits for.
const askEvery = 32

// stream is what a down track's packets carry.
type stream struct {
	ssrc, rtxSSRC               uint32
	payloadType, rtxPayloadType uint8 // rtxPayloadType 0 means retransmission without RFC 4588
	cname                       string
}

// downTrack is one viewer's, or tap's, copy of an up track. It follows one layer at a time and belongs to its shard.
type downTrack struct {
	track  *upTrack
	stream stream
	sink   Sink
	pads   bool    // the sink adds padding
	egress *egress // for reports; nil for a tap

	waiting     int    // NACKs in shard.missing; guarded by shard.mu
	removed     bool   // from its shard; NACKs may still wait
	layer       *layer // followed now; nil until a first keyframe
	mapper      *rewrite.Mapper
	lastArrival int64
	waited      uint32 // packets passed over while waiting for a keyframe
	header      rtp.Header
	resends     resends
	rtxSeq      uint16
	packets     uint32 // sent, for sender reports
	octets      uint32
	lastReport  *senderReport
}

func newDownTrack(t *upTrack, st stream, sink Sink) *downTrack {
	return &downTrack{
		track: t, stream: st, sink: sink,
		// RFC 3550, section 5.1: random, and low enough that no early packet meets the first roll-over.
		mapper: rewrite.New(uint16(rand.Uint32()>>17), rand.Uint32()),
		rtxSeq: uint16(rand.Uint32() >> 17),
	}
}

// outcome says what forward did with a packet.
type outcome uint8

const (
	skipped outcome = iota
	forwarded
	refused // by the sink
)

// forward sends a packet of l on, or not: nothing goes out before a keyframe, nor what an older layer sends after a
// newer one took over. It changes the payload's picture ids. padding is how many bytes a sink may add that can.
func (d *downTrack) forward(l *layer, p *ring.Packet, info codec.Info, padding uint8) outcome {
	if l != d.layer && !d.follow(l, p, info) {
		return skipped
	}
	if len(p.Payload) == 0 { // padding that only probed the camera's uplink
		d.mapper.Drop(p.Seq)
		return skipped
	}
	d.lastArrival = p.Arrival
	out, ok := d.mapper.Map(source(p, info))
	if !ok {
		return skipped
	}
	info.VP8.Rewrite(p.Payload, out.PictureID, out.TL0)
	d.header = rtp.Header{
		Version: 2, Marker: p.Marker, PayloadType: d.stream.payloadType,
		SequenceNumber: out.Seq, Timestamp: out.Timestamp, SSRC: d.stream.ssrc,
	}
	if d.pads && padding > 0 {
		d.header.Padding, d.header.PaddingSize = true, padding
	}
	if _, err := d.sink.WriteRTP(&d.header, p.Payload); err != nil {
		return refused
	}
	d.packets++
	d.octets += uint32(len(p.Payload))
	return forwarded
}

// follow decides whether the down track goes over to l with this packet.
func (d *downTrack) follow(l *layer, p *ring.Packet, info codec.Info) bool {
	if d.layer != nil && l.number < d.layer.number {
		return false
	}
	if !info.Keyframe {
		if d.waited++; d.waited%askEvery == 0 {
			l.keys.request()
		}
		return false
	}
	elapsed := time.Duration(max(p.Arrival-d.lastArrival, 0))
	d.mapper.Switch(source(p, info), uint32(ticks(elapsed, d.track.spec.clockRate)))
	d.layer, d.waited = l, 0
	return true
}

func source(p *ring.Packet, info codec.Info) rewrite.Packet {
	return rewrite.Packet{Seq: p.Seq, Timestamp: p.Timestamp, PictureID: info.VP8.ID, TL0: info.VP8.TL0}
}

// ticks converts a duration to RTP clock units.
func ticks(d time.Duration, clockRate uint32) int64 {
	return int64(d/time.Second)*int64(clockRate) + int64(d%time.Second)*int64(clockRate)/int64(time.Second)
}
