package sfu

import (
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

// upTrack is what viewers and taps follow. It outlives its publisher: after a takeover its packets come from a layer
// of the next one.
type upTrack struct {
	info     TrackInfo
	spec     spec
	codec    codec.Codec
	counters *counters

	source atomic.Pointer[layer]  // the newest layer; nil until a packet came
	fans   atomic.Pointer[[]*fan] // replaced, never changed, under SFU.mu
}

func newUpTrack(sp spec, c *counters) *upTrack {
	t := &upTrack{spec: sp, codec: codec.ByMimeType(sp.mimeType), counters: c}
	t.info = TrackInfo{
		ID: sp.kind.String(), Kind: sp.kind.String(), MimeType: sp.mimeType,
		ClockRate: sp.clockRate, Channels: sp.channels, Fmtp: sp.fmtp,
		RequestKeyframe: t.requestKeyframe,
	}
	t.fans.Store(&[]*fan{})
	return t
}

// requestKeyframe asks the newest layer for a keyframe, if there is one.
func (t *upTrack) requestKeyframe() {
	if l := t.source.Load(); l != nil {
		l.keys.request()
	}
}

// layer is one encoding that a camera sends of an up track.
type layer struct {
	track  *upTrack
	number uint64 // a later layer has a greater number
	ring   *ring.Ring
	keys   *keyframes
	report atomic.Pointer[senderReport]

	// Owned by whoever holds the publisher's ingress.mu, the socket's reader.
	reception    reception
	cost         cost
	header       rtp.Header
	packet       ring.Packet
	keyframeTime uint32 // RTP time of the last keyframe, if any came
	keyframe     bool
}

// receive takes one packet through the layer: parse once, inspect once, keep, hand out.
func (l *layer) receive(b []byte, now int64) {
	n, err := l.header.Unmarshal(b)
	if err != nil || n > len(b) {
		return
	}
	payload := b[n:]
	if l.header.Padding && len(payload) > 0 {
		pad := int(payload[len(payload)-1])
		if pad == 0 || pad > len(payload) {
			return
		}
		payload = payload[:len(payload)-pad]
	}
	l.packet = ring.Packet{
		Seq: l.header.SequenceNumber, Timestamp: l.header.Timestamp, Marker: l.header.Marker,
		Arrival: now, Payload: payload,
	}
	slot, verdict := l.ring.Put(&l.packet)
	if verdict != ring.Stored {
		return
	}
	info := codec.Inspect(l.track.codec, payload)
	l.noteKeyframe(&info)
	l.noteCost(len(payload))
	l.track.counters.packetsIn.Add(1)
	l.track.counters.bytesIn.Add(uint64(len(payload)))
	l.dispatch(slot, info)
}

// noteKeyframe counts keyframes, one for all packets of a frame, and keeps a decoder from being started in the middle
// of one: an H.264 IDR slice is a beginning only where no parameter sets came before it in the same frame.
func (l *layer) noteKeyframe(info *codec.Info) {
	if !info.Keyframe || l.track.spec.kind != video {
		return
	}
	if l.keyframe && l.keyframeTime == l.packet.Timestamp {
		info.Keyframe = info.Parameters || l.track.codec != codec.H264
		return
	}
	l.keyframe, l.keyframeTime = true, l.packet.Timestamp
	l.track.counters.keyframes.Add(1)
	l.reception.keyframeAt(l.packet.Seq)
	l.cost.begins(l.packet.Timestamp)
	l.keys.arrived()
}

// noteCost weighs what keyframes cost against what all of the layer does.
func (l *layer) noteCost(octets int) {
	if l.track.spec.kind == video && l.cost.count(l.packet.Timestamp, octets, l.packet.Arrival) {
		l.keys.weigh(l.cost.keyframe, l.cost.rate)
	}
}

// dispatch offers the packet to every shard that serves the track. It never blocks: a full shard misses the rest of
// the frame, which its viewers may ask for again.
func (l *layer) dispatch(slot ring.Slot, info codec.Info) {
	end := l.packet.Marker || l.track.spec.kind == audio
	for _, f := range *l.track.fans.Load() {
		if f.dropping.Load() && !info.Start {
			f.dropping.Store(!end)
			l.track.counters.dropped.Add(1)
			continue
		}
		select {
		case f.shard.queue <- job{fan: f, layer: l, slot: slot, info: info}:
			if f.dropping.Load() {
				f.dropping.Store(false)
			}
		default:
			f.dropping.Store(!end)
			l.track.counters.dropped.Add(1)
		}
	}
}

// monotonic returns a clock of nanoseconds since now.
func monotonic() func() int64 {
	start := time.Now()
	return func() int64 { return int64(time.Since(start)) }
}
