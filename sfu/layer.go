package sfu

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

const (
	// history is how long a packet is kept for those who missed it, as far as maxHistory bytes a layer hold it.
	history    = 3500 * time.Millisecond
	maxHistory = 1 << 20
)

// layer is one encoding that a camera sends of an up track: one RTP stream.
type layer struct {
	track  *upTrack
	number uint64 // a later layer has a greater number
	epoch  uint64 // number of the publisher's session
	rid    string // names it among its track's layers; "" where there is but one
	slot   uint8  // its place among them
	ring   *ring.Ring
	keys   *keyframes
	report atomic.Pointer[senderReport]
	group  group // the last keyframe and what followed
	still  atomic.Pointer[still]
	done   chan struct{} // closed when another stream took its room

	reported reported // to the camera

	profile       atomic.Uint32 // of H.264: what the parameter sets say, profile_idc<<16 | constraints<<8 | level_idc
	bidirectional atomic.Bool   // there were B slices after one of the last two keyframes

	captureAt uint8                        // header extension with capture times, 0 if the camera sends none
	captured  atomic.Pointer[senderReport] // what it says
	clock     *ntpClock                    // of the camera; owned as what is below

	descriptorAt uint8 // header extension with the dependency descriptor, 0 if the camera sends none
	structures   atomic.Pointer[structures]

	silent atomic.Bool  // nothing comes of it while other layers go on
	late   atomic.Int64 // time.Duration that players hold pictures back for what the camera sends again
	facts  atomic.Pointer[facts]
	sizes  [maxSpatial]atomic.Uint32 // width<<16 | height of each spatial layer, 0 if unknown

	// Owned by whoever holds the publisher's ingress.mu, one of the socket's readers.
	reception    reception
	wait         margin // what late is decided by
	meter        meter
	cost         cost
	header       rtp.Header
	packet       ring.Packet
	keyframeTime uint32 // RTP time of the last keyframe, if any came
	keyframe     bool
	slices       int    // packets that are still looked at for B slices
	backward     bool   // one was found since the last keyframe
	described    []byte // the dependency descriptor that a structure was read from last, without its head
	describedBy  uint16 // sequence number of the newest packet that brought one
}

// structures are what dependency descriptors refer to: that of the last keyframe, and that of the one before for what
// comes late; nil if there is none. They are replaced, never changed.
type structures struct{ current, before *codec.Structure }

func newLayer(t *upTrack, number uint64, ringSize int) *layer {
	size := ring.Size{Packets: ringSize, Bytes: maxHistory, Keep: history}
	if t.spec.kind == audio {
		size.Packets /= 4 // 50 packets a second: still seconds of history
	}
	return &layer{track: t, number: number, ring: ring.New(size), done: make(chan struct{})}
}

// read parses a packet for keep. It reports false for one that is not what it says.
func (l *layer) read(b []byte, now int64) bool {
	n, err := l.header.Unmarshal(b)
	if err != nil || n > len(b) {
		return false
	}
	payload := b[n:]
	if l.header.Padding {
		if len(payload) == 0 {
			return false
		}
		pad := int(payload[len(payload)-1])
		if pad == 0 || pad > len(payload) {
			return false
		}
		payload = payload[:len(payload)-pad]
	}
	l.packet = ring.Packet{
		Seq: l.header.SequenceNumber, Timestamp: l.header.Timestamp, Marker: l.header.Marker,
		Arrival: now, Payload: payload,
	}
	if l.descriptorAt != 0 {
		l.packet.Extension = l.header.GetExtension(l.descriptorAt)
	}
	return true
}

// keep takes the packet that was read through the layer: keep, inspect once, hand out.
func (l *layer) keep() fate {
	slot, verdict := l.ring.Put(&l.packet)
	switch verdict {
	case ring.Stored:
	case ring.Duplicate:
		return duplicate
	case ring.TooOld:
		return late
	case ring.TooLarge:
		return oversized
	}
	payload := l.packet.Payload
	if l.captureAt != 0 {
		l.noteCapture()
	}
	l.noteStructure()
	info := l.inspect(&l.packet)
	l.noteKeyframe(&info)
	if l.slices > 0 {
		l.noteSlices()
	}
	l.noteCost(len(payload))
	l.meter.count(&info, len(payload), l.packet.Marker, l.packet.Arrival)
	if len(payload) > 0 && l.silent.Load() {
		l.silent.Store(false)
	}
	l.track.counters.packetsIn.Add(1)
	l.track.counters.bytesIn.Add(uint64(len(payload)))
	l.dispatch(slot, info)
	return taken
}

// noteStructure keeps what a keyframe's dependency descriptor brings, for those of later packets.
func (l *layer) noteStructure() {
	if len(l.packet.Extension) <= codec.DescriptorHead || slices.Equal(l.packet.Extension[codec.DescriptorHead:], l.described) {
		return
	}
	d, ok := codec.ReadDescriptor(l.packet.Extension, nil)
	if !ok || d.Structure == nil {
		return
	}
	l.described = append(l.described[:0], l.packet.Extension[codec.DescriptorHead:]...)
	known := l.structures.Load()
	switch seq := l.packet.Seq; {
	case known == nil:
		l.structures.Store(&structures{current: d.Structure})
		l.describedBy = seq
	case int16(seq-l.describedBy) > 0:
		l.structures.Store(&structures{d.Structure, known.current})
		l.describedBy = seq
	default: // it was lost, and comes after the next one
		l.structures.Store(&structures{known.current, d.Structure})
	}
}

// structure returns that of the last keyframe, nil if none came.
func (l *layer) structure() *codec.Structure {
	if s := l.structures.Load(); s != nil {
		return s.current
	}
	return nil
}

// inspect reads what a packet of the layer is. It may be called from any goroutine.
func (l *layer) inspect(p *ring.Packet) codec.Info {
	info := codec.Inspect(l.track.codec, p.Payload)
	if len(p.Extension) == 0 {
		return info
	}
	known := l.structures.Load()
	if known == nil { // nothing tells the layers
		return info
	}
	d, ok := codec.ReadDescriptor(p.Extension, known.current)
	if !ok && known.before != nil {
		d, ok = codec.ReadDescriptor(p.Extension, known.before)
	}
	info.Picture.ID, info.Unsure = d.Number, !ok
	if ok {
		info.Spatial, info.Temporal, info.Up = d.Spatial, d.Temporal, d.Up
		info.Start, info.End = d.Start && d.Spatial == 0, d.End
		info.Keyframe = info.Keyframe && info.Start
	}
	return info
}

// noteKeyframe counts keyframes, one for all packets of a frame, and keeps a decoder from being started in the middle
// of one: an H.264 IDR slice is a beginning only where no parameter sets came before it in the same frame.
func (l *layer) noteKeyframe(info *codec.Info) {
	if !info.Keyframe || l.track.spec.kind != video {
		return
	}
	l.noteSize()
	if l.keyframe && l.keyframeTime == l.packet.Timestamp {
		info.Keyframe = info.Parameters || l.track.codec != codec.H264
		if first, _, _ := l.group.first(); info.Keyframe && int16(l.packet.Seq-first) < 0 { // they came in another order
			l.group.begin(l.packet.Seq, l.packet.Arrival)
		}
		return
	}
	l.sampleSlices()
	l.group.begin(l.packet.Seq, l.packet.Arrival)
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

// noteSize reads how large the picture is, of which a keyframe begins with the packet.
func (l *layer) noteSize() {
	var sizes [maxSpatial]codec.Size
	known := codec.Sizes(l.track.codec, l.packet.Payload, sizes[:])
	if s := l.structure(); s != nil && s.Size(0).Width > 0 {
		for known = 0; known < min(s.Spatial(), maxSpatial); known++ {
			sizes[known] = s.Size(known)
		}
	}
	if l.track.codec == codec.H264 {
		if p, ok := codec.ReadProfile(l.packet.Payload); ok {
			l.profile.Store(uint32(p.IDC)<<16 | uint32(p.Constraints)<<8 | uint32(p.Level))
		}
	}
	for i := range known {
		l.sizes[i].Store(uint32(sizes[i].Width)<<16 | uint32(sizes[i].Height))
	}
}

// sampledPackets is how many packets after a keyframe are looked at for B slices. Who sends those sends them in a pattern
// of a few pictures.
const sampledPackets = 64

// sampleSlices begins to look at what follows a keyframe.
func (l *layer) sampleSlices() {
	if l.track.codec == codec.H264 {
		l.bidirectional.Store(l.backward)
		l.backward, l.slices = false, sampledPackets
	}
}

// noteSlices looks for B slices.
func (l *layer) noteSlices() {
	l.slices--
	if b, _ := codec.Bidirectional(l.packet.Payload); b {
		l.backward, l.slices = true, 0
		l.bidirectional.Store(true)
	}
}

// streamProfile returns the H.264 profile that comes, the zero value if it is not known.
func (l *layer) streamProfile() codec.Profile {
	v := l.profile.Load()
	return codec.Profile{IDC: uint8(v >> 16), Constraints: uint8(v >> 8), Level: uint8(v)}
}

// size returns the picture of a spatial layer, zeros if it is not known.
func (l *layer) size(spatial uint8) (width, height int) {
	v := l.sizes[spatial].Load()
	return int(v >> 16), int(v & 0xffff)
}

// largest returns the picture of the highest of so many spatial layers that is known.
func (l *layer) largest(spatial int) (width, height int) {
	for i := min(spatial, maxSpatial) - 1; i >= 0; i-- {
		if width, height = l.size(uint8(i)); width > 0 {
			break
		}
	}
	return width, height
}

// dispatch offers the packet to every shard that serves the track. It never blocks: a full shard misses the rest of
// the frame, which its viewers may ask for again.
func (l *layer) dispatch(slot ring.Slot, info codec.Info) {
	end := l.packet.Marker || l.track.spec.kind == audio
	for _, f := range *l.track.fans.Load() {
		dropping := &f.dropping[l.slot]
		if dropping.Load() && !info.Start {
			dropping.Store(!end)
			l.track.counters.dropped.Add(1)
			continue
		}
		select {
		case f.shard.queue <- job{fan: f, layer: l, slot: slot, arrival: l.packet.Arrival, info: info}:
			if dropping.Load() {
				dropping.Store(false)
			}
		default:
			dropping.Store(!end)
			l.track.counters.dropped.Add(1)
		}
	}
}

const (
	// maxSpatial and maxTemporal bound the layers within one stream that are told apart; those above count as the top.
	maxSpatial, maxTemporal = 4, 4
	// measureEvery is how long a layer is measured.
	measureEvery = 500 * time.Millisecond
	// A layer is silent when silentFrames frames of it are overdue, by its own measured pace, while others go on; but
	// not before minSilence, and after maxSilence in any case.
	silentFrames           = 6
	minSilence, maxSilence = 200 * time.Millisecond, 2 * time.Second
	// freshness is how young another layer's last packet must be for it to go on.
	freshness = 100 * time.Millisecond
)

// facts is what was measured of a layer over the last second.
type facts struct {
	rates   [maxSpatial][maxTemporal]int // bit/s that each layer within the stream adds
	highest sublayers
	fps     float64
}

// rate returns what the stream costs up to these layers within it, in bit/s.
func (f *facts) rate(spatial, temporal uint8) int {
	sum := 0
	for s := range min(spatial+1, maxSpatial) {
		for t := range min(temporal+1, maxTemporal) {
			sum += f.rates[s][t]
		}
	}
	return sum
}

// meter counts what comes of a layer. Guarded by the publisher's ingress.mu.
type meter struct {
	heard   int64  // when the last packet with media came
	total   uint64 // octets of payload
	since   int64
	octets  [maxSpatial][maxTemporal]uint64 // since then
	before  [maxSpatial][maxTemporal]uint64 // in the interval before
	frames  int
	frames0 int // in the interval before
	span0   int64
}

// packetOverhead is what a packet costs beside its payload: RTP, its extensions and SRTP's tag, UDP and IP.
const packetOverhead = 12 + 8 + 16 + 8 + 20

func (m *meter) count(info *codec.Info, octets int, marker bool, now int64) {
	if octets == 0 {
		return
	}
	if m.since == 0 {
		m.since = now
	}
	m.heard = now
	m.total += uint64(octets)
	s, t := min(info.Spatial, maxSpatial-1), min(info.Temporal, maxTemporal-1)
	m.octets[s][t] += uint64(octets) + packetOverhead
	if marker {
		m.frames++
	}
}

// measure returns new facts if the interval is over, else nil.
func (m *meter) measure(now int64) *facts {
	span := now - m.since
	if m.since == 0 || span < int64(measureEvery) {
		return nil
	}
	f := &facts{}
	total := float64(span+m.span0) / float64(time.Second)
	for s := range maxSpatial {
		for t := range maxTemporal {
			octets := m.octets[s][t] + m.before[s][t]
			if octets > 0 {
				f.highest.spatial = max(f.highest.spatial, uint8(s))
				f.highest.temporal = max(f.highest.temporal, uint8(t))
			}
			f.rates[s][t] = int(float64(octets) * 8 / total)
		}
	}
	f.fps = float64(m.frames+m.frames0) / total
	m.before, m.frames0, m.span0 = m.octets, m.frames, span
	m.octets, m.frames, m.since = [maxSpatial][maxTemporal]uint64{}, 0, now
	return f
}

// patience is how long nothing may come of the layer before it counts as silent.
func (l *layer) patience() time.Duration {
	f := l.facts.Load()
	if f == nil || f.fps < 1 {
		return maxSilence
	}
	return min(max(silentFrames*time.Duration(float64(time.Second)/f.fps), minSilence), maxSilence)
}

// measure weighs the layers of a publisher, and finds out which fell silent. What followers should know they hear.
func (sess *session) measure(now int64) {
	var changed [kinds]bool
	var tracks [kinds]*upTrack
	sess.ingress.mu.Lock()
	for _, l := range sess.uplink.layers {
		k := l.track.spec.kind
		if f := l.meter.measure(now); f != nil {
			l.facts.Store(f)
			changed[k] = true
		}
		if !l.silent.Load() && now-l.meter.heard > int64(l.patience()) && sess.goesOn(l, now) {
			l.silent.Store(true)
			changed[k] = true
		}
		tracks[k] = l.track
	}
	sess.ingress.mu.Unlock()
	for k, t := range tracks {
		if t != nil && t.spec.kind == video {
			t.keepStills()
		}
		if changed[k] {
			t.reconsider()
		}
	}
}

// goesOn reports whether another layer of silent's track goes on. Caller holds sess.ingress.mu.
func (sess *session) goesOn(silent *layer, now int64) bool {
	for _, l := range sess.uplink.layers {
		if l != silent && l.track == silent.track && now-l.meter.heard < int64(freshness) {
			return true
		}
	}
	return false
}

// spatial is the highest spatial layer within the stream, as far as it was measured.
func (l *layer) spatial() uint8 {
	if f := l.facts.Load(); f != nil {
		return f.highest.spatial
	}
	return 0
}
