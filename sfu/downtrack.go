package sfu

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/rewrite"
	"github.com/securecam/securecam/sfu/ring"
)

// askEvery is the number of packets that a down track lets pass before it asks again for the keyframe it waits for.
const askEvery = 32

// abandonedShare is the part of a second that a way may be busy with a cached group after a layer was given up for it.
const abandonedShare = 8

// stream is what a down track's packets carry.
type stream struct {
	ssrc, rtxSSRC               uint32
	payloadType, rtxPayloadType uint8 // rtxPayloadType 0 means retransmission without RFC 4588
	cname                       string
}

// downTrack is one viewer's, or tap's, copy of an up track. It follows one layer at a time and belongs to its shard.
type downTrack struct {
	// What every packet takes lies together.
	sink        Sink
	layer       *layer // followed now; nil until a first keyframe, and while paused
	track       *upTrack
	mapper      *rewrite.Mapper
	extensions  *extensions // of the sink; nil if the viewer takes none
	lastArrival int64
	cut         cut    // of what is followed
	packets     uint32 // sent, for sender reports
	octets      uint64 // of payload, for these and statistics
	pads        bool   // the sink adds padding
	flat        bool   // only the lowest spatial layer of a stream can be decoded
	header      rtp.Header
	replay      replay

	seat   *seat
	stream stream
	egress *egress // for reports; nil for a tap

	shard   *shard        // that it belongs to; set when it gets there
	instant bool          // begins with a cached keyframe, in collapsed time
	inLine  bool          // for a place among those that catch up
	waiting int           // NACKs in shard.missing; guarded by shard.mu
	pleas   atomic.Uint64 // PLI and FIR of the viewer
	nacks   uint64        // packets that the viewer asked for again
	resent  uint64        // of those, that it was sent
	flow    flow
	// switches counts the times that it went over to another layer.
	switches uint64
	pleads   atomic.Bool // a request for a keyframe is under way to the shard
	removed  bool        // from its shard; NACKs may still wait

	abandoned bool // what was followed was given up before what follows came

	left   *layer                // followed until packets of it came too late; nil once anything is followed again
	target *layer                // to be followed from its next keyframe on; nil while paused
	asked  atomic.Pointer[layer] // that keyframes are asked of: what is followed, else the target

	ahead      int64  // how far what goes out is ahead of the camera's clock since a switch, in RTP clock units
	newest     uint16 // number of the last packet that went out
	waited     uint32 // packets passed over while waiting for a keyframe
	resends    resends
	wait       margin
	rtxSeq     uint16
	lastReport *senderReport
}

func newDownTrack(t *upTrack, st stream, sink Sink, of *seat) *downTrack {
	return &downTrack{
		track: t, seat: of, stream: st, sink: sink,
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

// forward sends a packet of l on, or not: nothing goes out before a keyframe, nor of a layer that is not followed. It
// changes the payload's picture ids. padding is how many bytes a sink may add that can.
func (d *downTrack) forward(l *layer, p *ring.Packet, info codec.Info, padding uint8) outcome {
	if l != d.layer && !d.follow(l, p, info) || !d.replay.passes(l, p.Seq) {
		return skipped
	}
	return d.emit(p, info, padding)
}

// emit sends a packet of the layer that is followed.
func (d *downTrack) emit(p *ring.Packet, info codec.Info, padding uint8) outcome {
	payload, ok := d.place(p, &info)
	if !ok {
		return skipped
	}
	d.lastArrival = p.Arrival
	if d.pads && padding > 0 && len(payload) > 0 {
		d.header.Padding, d.header.PaddingSize = true, padding
	}
	if _, err := d.sink.WriteRTP(&d.header, payload); err != nil {
		return refused
	}
	d.newest = d.header.SequenceNumber
	d.packets++
	d.octets += uint64(len(payload))
	if d.packets == 1 { // lip sync need not wait for the shard's tick
		d.sendReport(time.Now())
	}
	return forwarded
}

// place finds the packet's place in what goes out, and prepares its header and picture ids. It reports false for a
// packet that goes out not at all. One that should not, but that was taken for lost before it came, goes out empty: the
// gap that was left for it would have the viewer ask for it and wait. Others get the same packet: only what all of them
// write anew is changed in it.
func (d *downTrack) place(p *ring.Packet, info *codec.Info) (payload []byte, ok bool) {
	at := d.at(p, info)
	if info.Unsure && at != (sublayers{everything, everything}) && len(p.Payload) > 0 {
		return nil, false // it may be what the viewer is not to have; if it is, it will ask for it
	}
	if len(p.Payload) == 0 || !at.have(info) { // padding that only probed the camera's uplink, or what is not wanted
		whole := len(p.Payload) > 0 && d.track.codec == codec.VP8
		if d.mapper.Drop(source(p, *info), whole) {
			return nil, false
		}
		out, ok := d.mapper.Fill(source(p, *info))
		d.head(p, out, false)
		return p.Payload[:0], ok
	}
	out, ok := d.mapper.Map(source(p, *info))
	if !ok {
		return nil, false
	}
	info.Picture.Rewrite(p.Payload, out.PictureID, out.TL0)
	codec.RenumberDescriptor(p.Extension, out.PictureID)
	d.head(p, out, at.ends(p, info))
	return p.Payload, true
}

// head prepares the header of a packet that goes out. What is never set in it stays as it is.
func (d *downTrack) head(p *ring.Packet, out rewrite.Packet, marker bool) {
	h := &d.header
	h.Version, h.Marker, h.Padding, h.PaddingSize = 2, marker, false, 0
	h.PayloadType, h.SSRC = d.stream.payloadType, d.stream.ssrc
	h.SequenceNumber, h.Timestamp = out.Seq, out.Timestamp+d.replay.shift(p.Timestamp)
	if x := d.extensions; x != nil {
		x.descriptor = p.Extension
		x.approach(h.Timestamp, d.track.spec.clockRate)
		if x.captureAt != 0 {
			x.noteCapture(d.layer, p)
		}
	}
}

// holdBack has the player hold pictures back as long as is worth it, or not at all if it would rather have them at once.
func (d *downTrack) holdBack() {
	x, delay := d.extensions, d.wait.delay
	if d.layer != nil {
		delay = max(delay, time.Duration(d.layer.late.Load()))
	}
	switch {
	case x == nil:
	case d.wait.live:
		x.setDelay(0, 0)
	case x.delayed || delay > 0: // else it is the player's business
		x.setDelay(delay, anyDelay)
	}
}

// pass counts a packet that had to be passed over for want of a keyframe of l, and asks for one again and again.
func (d *downTrack) pass(l *layer) {
	if d.waited++; d.waited%askEvery == 0 && !d.inLine {
		l.keys.request()
	}
}

// choose finds out what the viewer is to be sent, and asks for the keyframe that this takes. Runs on the shard.
func (d *downTrack) choose() {
	d.seat.considerWay(d.track)
	var buf [maxRungs]rung
	wish := d.seat.wish.Load()
	d.wait.live = wish.Live
	d.holdBack()
	if d.flat {
		flat := *wish
		flat.SpatialID = 0
		wish = &flat
	}
	rungs := d.track.rungs(&buf, wish.TemporalID)
	budget := d.seat.share(d)
	if budget > 0 && len(rungs) > 0 && !d.seat.starving {
		budget = max(budget, rungs[0].need(true))
	}
	i := pick(rungs, *wish, budget, d.rung(rungs, d.layer))
	if d.seat.keep {
		i = keep(rungs, *wish, i, d.rung(rungs, d.target))
	}
	switch {
	case i != noRung:
		d.aim(rungs[i])
	case wish.Paused || len(rungs) > 0:
		d.pause()
	}
}

// rung finds what is sent, or is to be, of a layer; noRung if there is no such thing.
func (d *downTrack) rung(rungs []rung, of *layer) int {
	return slices.IndexFunc(rungs, func(r rung) bool {
		return r.layer == of && r.spatial >= d.cut.goal.spatial && r.temporal >= d.cut.goal.temporal
	})
}

// aim goes over to a rung as soon as that can be.
func (d *downTrack) aim(r rung) {
	again := r.layer == d.target
	d.target = r.layer
	if d.flat {
		r.spatial = 0
	}
	if d.seat.hopeless && d.layer != nil && r.layer != d.layer {
		d.layer, d.abandoned = nil, true
	}
	higher := d.cut.aim(r.spatial, r.temporal) || !again && d.cut.waits()
	if d.layer == nil || d.gone() {
		d.asked.Store(d.target)
		if r.layer != d.layer && d.join(r.layer) {
			return
		}
	}
	if (r.layer != d.layer && !again || r.layer == d.layer && higher) && !d.turn(r.layer) {
		r.layer.keys.request()
	}
}

// turn has a down track go over to l, which is not what it follows or more of that, with a keyframe that came just now:
// of several viewers who climb one after the other, only the first costs the camera one. An older keyframe will not do,
// though it is cached. Whoever joins has seen nothing, and does not mind to be led through what was; who watches would
// see everything since the keyframe once more, the picture jumping back in time and hurrying after itself.
func (d *downTrack) turn(l *layer) bool {
	_, arrival, ok := l.group.first()
	_, newest, _ := l.ring.Newest()
	return ok && d.layer != nil && !d.replay.active && newest-arrival <= int64(turnAge) && d.catchUp(l, pleaBytes)
}

// room bounds the cached group that is begun with, in bytes. On a way that just became too narrow it is what takes as
// long as a new keyframe would.
func (d *downTrack) room() int {
	if d.abandoned {
		return d.seat.budget / 8 / abandonedShare
	}
	return groupBytes
}

// pause sends nothing until there is a rung again.
func (d *downTrack) pause() { d.layer, d.target, d.inLine = nil, nil, false }

// gone reports whether nothing is to be expected of what is followed.
func (d *downTrack) gone() bool {
	return d.layer == nil || d.layer.silent.Load() || !d.track.has(d.layer)
}

// requestKeyframe asks for one of what is followed, or is to be. It may be called from any goroutine.
func (d *downTrack) requestKeyframe() {
	if l := d.asked.Load(); l != nil {
		l.keys.request()
	}
}

// follow decides whether the down track goes over to l with this packet.
func (d *downTrack) follow(l *layer, p *ring.Packet, info codec.Info) bool {
	if !info.Keyframe {
		if l == d.target {
			d.pass(l)
		}
		return false
	}
	if !d.track.has(l) {
		return false
	}
	d.choose() // a keyframe is when a layer becomes known, or comes back
	if l == d.layer {
		return true // begun with just now
	}
	if l != d.target && (d.target == nil || !d.gone() || !worse(l, d.target)) {
		return false
	}
	d.begin(l, source(p, info), p.Arrival)
	return true
}

// begin goes over to l, which goes on with the packet first.
func (d *downTrack) begin(l *layer, first rewrite.Packet, arrival int64) {
	d.mapper.Switch(first, d.elapsed(l, first.Timestamp, arrival))
	if d.layer != nil && d.layer != l {
		d.track.counters.switches.Add(1)
		d.switches++
	}
	d.replay = replay{plea: d.replay.plea}
	d.layer, d.left, d.waited, d.abandoned, d.inLine = l, nil, 0, false, false
	if d.extensions != nil {
		d.extensions.captured = false
	}
	d.asked.Store(l)
	d.cut.begin(first.Seq, l == d.target)
}

// elapsed is how many units of the RTP clock the first packet of another layer is after the newest one that went out: by
// when the camera captured them, where its sender reports tell, or by when they came. Time never goes backwards: what
// had to be set too late is made up for at the next switch.
func (d *downTrack) elapsed(l *layer, timestamp uint32, arrival int64) uint32 {
	rate := d.track.spec.clockRate
	passed := ticks(time.Duration(max(arrival-d.lastArrival, 0)), rate)
	if from, to := d.reports(l); from != nil && to != nil {
		captured := int64(to.ntp-from.ntp)>>16*int64(rate)>>16 +
			int64(int32(timestamp-to.rtp)) - int64(int32(d.mapper.Newest()-from.rtp))
		if off := captured - passed; max(off, -off) < int64(rate) { // else a clock jumped
			passed = captured
		}
	}
	least := int64(d.replay.shift(d.mapper.Newest())) + 1 // a replay that ends here may have been ahead of its time
	if passed -= d.ahead; passed < least {
		d.ahead = least - passed
		return uint32(least)
	}
	d.ahead = 0
	return uint32(min(passed, math.MaxInt32))
}

// reports returns the sender reports of what is followed, or was until packets came too late, and of l, nil if there
// are none yet.
func (d *downTrack) reports(l *layer) (from, to *senderReport) {
	before := cmp.Or(d.layer, d.left)
	if before == nil {
		return nil, nil
	}
	return before.report.Load(), l.report.Load()
}

// worse reports whether a has the smaller picture, or rate, than b.
func worse(a, b *layer) bool {
	var buf [2 * (maxSpatial + maxTemporal)]rung
	return slices.IndexFunc(ladder(b.rungs(a.rungs(buf[:0], -1), -1)), func(r rung) bool { return r.layer == b }) > 0
}

func source(p *ring.Packet, info codec.Info) rewrite.Packet {
	return rewrite.Packet{Seq: p.Seq, Timestamp: p.Timestamp, PictureID: info.Picture.ID, TL0: info.Picture.TL0}
}

// ticks converts a duration to RTP clock units.
func ticks(d time.Duration, clockRate uint32) int64 {
	return int64(d/time.Second)*int64(clockRate) + int64(d%time.Second)*int64(clockRate)/int64(time.Second)
}
