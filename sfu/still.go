package sfu

import (
	"slices"
	"time"

	"github.com/securecam/securecam/sfu/ring"
)

const (
	// stillAge is how old a keyframe may be, when the newest packet came, to be shown alone: an older one says too little
	// of what is to be seen now.
	stillAge = 30 * time.Second
	// stillBytes bounds what is kept of a layer for that.
	stillBytes = 256 << 10
	// stillRate is how fast it goes, in bytes a second: sooner than a camera's pacer has sent a new one.
	stillRate = 4_000_000
	// stillTime is how long it may take: over a way that is slower, a new keyframe is there as soon.
	stillTime = 250 * time.Millisecond
)

// still is a layer's keyframe by itself. It outlives its packets in the ring, for viewers who join long after it: they
// see it until the keyframe comes that the camera is asked for at the same time. Nothing in it changes.
type still struct {
	layer   *layer
	first   uint16
	arrival int64         // of the first packet, as its group says
	packets []ring.Packet // none if it is too large
	octets  int
}

// of reports whether s is of the group that begins so; s may be nil.
func (s *still) of(first uint16, arrival int64) bool {
	return s != nil && s.first == first && s.arrival == arrival
}

// takeStill copies a layer's keyframe from the ring. It returns nil if not all of it is there.
func (l *layer) takeStill(first uint16, arrival int64) *still {
	s := &still{layer: l, first: first, arrival: arrival}
	var p ring.Packet
	var buf [ring.MaxPayload]byte
	for seq := first; ; seq++ {
		if !l.ring.Find(seq, &p, buf[:]) {
			return nil
		}
		if seq != first && p.Timestamp != s.packets[0].Timestamp { // a camera that sets no marker
			return s
		}
		n := len(p.Payload)
		if s.octets += n + len(p.Extension); s.octets > stillBytes {
			s.packets = nil
			return s
		}
		both := slices.Concat(p.Payload, p.Extension)
		p.Payload, p.Extension = both[:n:n], both[n:]
		if s.packets = append(s.packets, p); p.Marker {
			return s
		}
	}
}

// keepStill keeps the last keyframe aside before the ring loses it, once its group is so long that it may not be sent
// whole soon. It is called every now and then; packets do not wait for it.
func (l *layer) keepStill() {
	first, arrival, ok := l.group.first()
	if !ok || l.still.Load().of(first, arrival) {
		return
	}
	span, ok := l.ring.Span(first)
	if !ok || span.Arrival-arrival < int64(groupAge)/2 && span.Bytes < groupBytes/2 && span.Packets < groupPackets/2 {
		return
	}
	if s := l.takeStill(first, arrival); s != nil {
		l.still.Store(s)
	}
}

// lastStill returns the last keyframe that is whole, nil if there is none that can be shown.
func (l *layer) lastStill() *still {
	first, arrival, ok := l.group.first()
	s := l.still.Load()
	if ok && !s.of(first, arrival) {
		if newer := l.takeStill(first, arrival); newer != nil {
			l.still.Store(newer)
			s = newer
		}
	}
	if s == nil || len(s.packets) == 0 {
		return nil
	}
	// As in cached: what a silent camera sent last is the best there is.
	if _, newest, _ := l.ring.Newest(); newest-s.arrival > int64(stillAge) {
		return nil
	}
	return s
}

// show has a viewer who has seen nothing yet see the last keyframe of l, as if it had been captured now. It follows l
// from its next keyframe on; what it does not get of this one is not sent again. Runs on the shard.
func (d *downTrack) show(l *layer) {
	if !d.instant || d.track.spec.kind != video || d.packets > 0 || d.layer != nil || d.replay.active {
		return
	}
	k, rate := l.lastStill(), stillRate
	if k == nil {
		return
	}
	if most := d.seat.pace(); most > 0 {
		rate = min(rate, most)
	}
	if time.Duration(k.octets)*time.Second/time.Duration(rate) > stillTime {
		return
	}
	s, p := d.shard, &k.packets[0]
	const longest = 1 << 30 // of a clock that goes round
	lag := uint32(min(ticks(time.Duration(max(s.clock()-p.Arrival, 0)), d.track.spec.clockRate), longest))
	first := source(p, l.inspect(p))
	first.Timestamp += lag // live time begins now
	d.mapper.Switch(first, 1)
	d.cut.begin(first.Seq, true)
	if d.extensions != nil {
		d.extensions.captured = false
	}
	d.replay = replay{
		active: true, still: k, rate: rate,
		from: p.Timestamp, until: p.Timestamp + lag, lag: lag, collapsed: lag > 0,
	}
	s.catching(d)
	d.track.counters.stills.Add(1)
}

// showNext sends one packet of a still, or finds that there is none left, or something better. It reports whether there
// may be another.
func (s *shard) showNext(d *downTrack) bool {
	r := &d.replay
	if d.removed || d.layer != nil || d.target == nil || r.shown == len(r.still.packets) {
		r.active = false
		return false
	}
	k, p := &r.still.packets[r.shown], &s.packet
	r.shown++
	*p = *k
	n := copy(s.buf[rtxHeader:], k.Payload) // picture ids are written into it
	p.Payload = s.buf[rtxHeader : rtxHeader+n : rtxHeader+n]
	p.Extension = s.buf[rtxHeader+n : rtxHeader+n+copy(s.buf[rtxHeader+n:], k.Extension)]
	d.layer = r.still.layer // for this packet: the next ones of it cannot be decoded
	s.replayPacket(d)
	d.layer = nil
	return true
}

// keepStills keeps the last keyframes of the layers aside that need it.
func (t *upTrack) keepStills() {
	for _, l := range *t.layers.Load() {
		l.keepStill()
	}
}
