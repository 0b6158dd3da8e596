package sfu

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/ring"
)

// A group is the last keyframe of a layer and what followed. The layer's ring has its packets; a viewer that joins gets
// it at once, and costs the camera nothing.
const (
	// groupAge, groupBytes and groupPackets bound the group that a viewer is sent: a longer one is more to send and to
	// decode than a new keyframe.
	groupAge     = 3 * time.Second
	groupBytes   = 512 << 10
	groupPackets = 700
	// groupGrace is how long a packet may be missing that the camera was asked for again.
	groupGrace = 300 * time.Millisecond
	// pleaBytes bounds the group that answers a request for a keyframe: little more than the keyframe.
	pleaBytes = 96 << 10
	// pleaInterval is the shortest time between two such answers: a viewer that asks again needs another keyframe.
	pleaInterval = time.Second
	// turnAge is how old a keyframe may be with which a viewer goes over to another layer: no more than a player holds back
	// anyway, so that nobody sees time go back.
	turnAge = 100 * time.Millisecond
)

const (
	// replayInterval is the time between the packets that catch up.
	replayInterval = 5 * time.Millisecond
	// replayRate is how fast they go, in bytes a second: 16 Mbit/s, or a multiple of what the layer takes.
	replayRate, replayFactor = 2_000_000, 3
	// leastGain is the part of a replay's rate, one in so many, by which it comes nearer to now at least, or is taken to.
	leastGain = 4
	// replayShare bounds the packets that all of a shard's down tracks catch up with at a time, so that the others are
	// not held up.
	replayShare = 128
	// maxReplaying is how many of a shard's down tracks catch up at a time: more would get less of the share than the
	// camera sends, and never be through. Whoever comes then waits in line.
	maxReplaying = 16
	// maxHoles bounds the missing packets that are remembered.
	maxHoles = 32
	// settled is how many packets behind a replay nothing that belongs to it is expected any more.
	settled = 4096
)

// group names the first packet of a layer's last keyframe. Written by whoever holds the publisher's ingress.mu.
type group struct {
	state atomic.Uint64 // milliseconds of arrival << 17 | sequence number << 1 | 1
}

func (g *group) begin(seq uint16, arrival int64) {
	g.state.Store(uint64(arrival/int64(time.Millisecond))<<17 | uint64(seq)<<1 | 1)
}

func (g *group) first() (seq uint16, arrival int64, ok bool) {
	v := g.state.Load()
	return uint16(v >> 1), int64(v>>17) * int64(time.Millisecond), v&1 != 0
}

// cached returns the group of a layer and its first packet if a viewer can begin with it: if it is whole, young and
// short enough.
func (l *layer) cached(octets int) (first uint16, span ring.Span, ok bool) {
	first, arrival, ok := l.group.first()
	if !ok {
		return 0, ring.Span{}, false
	}
	span, ok = l.ring.Span(first)
	// Age counts to the newest packet: what a silent camera sent last is the best there is.
	ok = ok && span.Arrival-arrival <= int64(groupAge) && span.Bytes <= octets && span.Packets <= groupPackets &&
		(span.Hole == 0 || span.Arrival-span.Hole <= int64(groupGrace))
	return first, span, ok
}

// warm asks for a keyframe of what a viewer who is about to connect and wishes this will most likely be sent, unless one
// is cached: it can be there when the viewer is. Whose way will be watched begins with what any way is believed to carry.
func (t *upTrack) warm(wish Preference, watched bool) {
	if t.spec.kind != video {
		return
	}
	var buf [maxRungs]rung
	rungs := t.rungs(&buf, wish.TemporalID)
	budget := 0
	if watched && t.several() && len(rungs) > 0 {
		budget = max(bandwidth.StartRate, rungs[0].need(true))
	}
	if i := pick(rungs, wish, budget, noRung); i != noRung {
		if _, _, ok := rungs[i].layer.cached(groupBytes); !ok {
			rungs[i].layer.keys.request()
		}
	}
}

// replay brings a down track from a keyframe in the past up to now. Its packets come from the layer's ring, in order;
// live ones are passed over until the replay has come to them. The time that the group took is collapsed into the time
// that it takes to send it, so that a player has nothing to wait for.
type replay struct {
	active bool
	layer  *layer
	next   uint16 // source number to go on with; after the end, the first one that is live
	budget int    // bytes that may go now
	rate   int    // bytes a second

	from, until uint32 // source timestamps that are collapsed, from included
	lag         uint32 // how much of that is past, in timestamp units
	collapsed   bool
	holes       [maxHoles]uint16 // source numbers passed over because they were missing
	n           int

	plea int64 // arrival of the newest packet when the last one began

	still *still // what is sent instead of a group, by itself
	shown int    // packets of it
}

// begin sets the replay up, of a group from its first packet with this timestamp. It is no faster than most bytes a
// second, 0 for no limit.
func (r *replay) begin(l *layer, first uint16, timestamp uint32, span ring.Span, most int) {
	lag := max(int64(int32(span.Timestamp-timestamp)), 0)
	clock := int64(l.track.spec.clockRate)
	r.rate = replayRate
	live := 0
	if lag > clock/10 {
		live = int(int64(span.Bytes) * clock / lag)
		r.rate = max(r.rate, replayFactor*live)
	}
	if most > 0 {
		r.rate = min(r.rate, most)
	}
	// While it goes on, more comes, which takes a share of what goes.
	gains := r.rate - min(max(live, r.rate/replayFactor), r.rate*(leastGain-1)/leastGain)
	took := int64(span.Bytes)*clock/int64(max(gains, 1)) + ticks(4*replayInterval, uint32(clock))
	*r = replay{
		active: true, layer: l, next: first, rate: r.rate, plea: span.Arrival,
		from: timestamp, until: timestamp + uint32(lag+took), lag: uint32(lag), collapsed: lag > 0,
	}
}

// passes reports whether a live packet goes on, or is the replay's matter: sent by it already, or later.
func (r *replay) passes(l *layer, seq uint16) bool {
	if r.layer != l {
		return true
	}
	ahead := int16(seq - r.next)
	if r.active || ahead < 0 {
		return ahead < 0 && r.fill(seq)
	}
	if ahead > settled {
		r.layer, r.collapsed = nil, false
	}
	return true
}

// fill reports whether a packet from before is one that was missing then.
func (r *replay) fill(seq uint16) bool {
	for i := range r.n {
		if r.holes[i] == seq {
			r.n--
			r.holes[i] = r.holes[r.n]
			return true
		}
	}
	return false
}

// shift returns what is added to the timestamp that a packet has in live time: what lies before now comes nearer to it,
// in order, as if it had been captured while it is sent.
func (r *replay) shift(timestamp uint32) uint32 {
	left := int64(int32(r.until - timestamp))
	if !r.collapsed || left <= 0 || int32(timestamp-r.from) < 0 {
		return 0
	}
	return uint32(left * int64(r.lag) / int64(r.until-r.from))
}

// catchUp has a down track begin with the cached keyframe of a layer. It reports false if there is none that will do.
// Runs on the shard.
func (d *downTrack) catchUp(l *layer, octets int) bool {
	if !d.instant || d.track.spec.kind != video || !d.shard.free() {
		return false
	}
	first, span, ok := l.cached(octets)
	if !ok {
		return false
	}
	s, p := d.shard, &d.shard.packet
	if !l.ring.Find(first, p, s.buf[rtxHeader:]) {
		return false
	}
	began := source(p, l.inspect(p))
	// Time goes on from the last packet to the newest one of the layer, not to the keyframe.
	began.Timestamp = span.Timestamp
	d.begin(l, began, span.Arrival)
	d.replay.begin(l, first, p.Timestamp, span, d.seat.pace())
	s.catching(d)
	d.track.counters.cachedStarts.Add(1)
	return true
}

// join has a down track that nothing comes of begin with what is cached of l: with the group, in its turn if many come at
// once, and with the keyframe alone as long as it has to wait. It reports false if the camera has to be asked. Runs on
// the shard.
func (d *downTrack) join(l *layer) bool {
	if d.catchUp(l, d.room()) {
		return true
	}
	waits := d.standInLine(l)
	d.show(l)
	return waits
}

// standInLine has a down track wait for a place among those that catch up, if that is all that it lacks.
func (d *downTrack) standInLine(l *layer) bool {
	fits := false
	if d.instant && d.track.spec.kind == video && d.layer == nil && !d.abandoned && !d.shard.free() {
		_, _, fits = l.cached(d.room())
	}
	switch {
	case fits && !d.inLine:
		d.inLine = true
		d.shard.line = append(d.shard.line, d)
	case !fits && d.inLine: // the group became too old
		d.inLine = false
		d.requestKeyframe()
	}
	return fits
}

// free reports whether another down track may catch up.
func (s *shard) free() bool {
	n := 0
	for _, d := range s.replaying {
		if d.replay.active && d.replay.still == nil {
			n++
		}
	}
	return n < maxReplaying
}

// admit has those who wait in line catch up, as far as there are places. What they are sent at once is a part of the
// shard's share, as that of the others.
func (s *shard) admit() {
	s.admitting = true
	defer func() { s.admitting = false }()
	for len(s.line) > 0 && s.free() {
		d := s.line[0]
		s.line = slices.Delete(s.line, 0, 1)
		if !d.inLine {
			continue
		}
		d.inLine = false
		if d.choose(); d.layer == nil && !d.inLine {
			d.requestKeyframe()
		}
	}
}

// wantsKeyframe takes a viewer's request for a keyframe to its shard, one at a time. It never blocks.
func (d *downTrack) wantsKeyframe(sh *shard) {
	d.pleas.Add(1)
	d.track.counters.pleas.Add(1)
	if !d.pleads.Swap(true) && !sh.ask(missing{down: d, keyframe: true}) {
		d.pleads.Store(false)
		d.requestKeyframe()
	}
}

// plead answers a viewer's request for a keyframe with a cached one, or passes it on. Runs on the shard.
func (d *downTrack) plead() {
	l := d.layer
	if d.removed || d.replay.active {
		return
	}
	if l != nil {
		_, newest, _ := l.ring.Newest()
		if newest-d.replay.plea >= int64(pleaInterval) && d.catchUp(l, pleaBytes) {
			return
		}
	}
	d.requestKeyframe()
}

// catching sends the first packets that the down track catches up with, and has the shard send the others.
func (s *shard) catching(d *downTrack) {
	d.replay.refill()
	for more := !s.admitting; more && d.replay.budget > 0; {
		more = s.replayNext(d)
	}
	if !d.replay.active || slices.Contains(s.replaying, d) {
		return
	}
	s.replaying = append(s.replaying, d)
	if s.pacer == nil {
		s.pacer = time.NewTicker(replayInterval)
	}
}

// pacing ticks while anybody catches up.
func (s *shard) pacing() <-chan time.Time {
	if s.pacer == nil {
		return nil
	}
	return s.pacer.C
}

// catchUp sends the next packets to all who catch up, in turn, each at its rate and all within the shard's share.
func (s *shard) catchUp() {
	s.admit()
	for _, d := range s.replaying {
		d.replay.refill()
	}
	room := replayShare
	for more := true; more; {
		more = false
		for _, d := range s.replaying {
			if room > 0 && d.replay.active && d.replay.budget > 0 {
				room--
				more = s.replayNext(d) || more
			}
		}
	}
	s.replaying = slices.DeleteFunc(s.replaying, func(d *downTrack) bool { return !d.replay.active })
	if len(s.replaying) > 0 { // who had to wait is the first next time
		first := s.replaying[0]
		s.replaying = append(slices.Delete(s.replaying, 0, 1), first)
	} else if len(s.line) == 0 {
		s.pacer.Stop()
		s.pacer = nil
	}
}

// refill gives a replay what it may send until the next time. What it sent too much before is taken off: a packet may be
// more than that.
func (r *replay) refill() {
	r.budget = min(r.budget, 0) + int(int64(r.rate)*int64(replayInterval)/int64(time.Second))
}

// replayNext sends one packet, or finds that the down track has caught up. It reports whether there may be another.
func (s *shard) replayNext(d *downTrack) bool {
	r := &d.replay
	if r.still != nil {
		return s.showNext(d)
	}
	if d.removed || d.layer != r.layer {
		r.active = false
		return false
	}
	newest, _, ok := r.layer.ring.Newest()
	if !ok || int16(newest-r.next) < 0 {
		r.active = false
		return false
	}
	seq := r.next
	r.next++
	if !r.layer.ring.Find(seq, &s.packet, s.buf[rtxHeader:]) {
		if r.n == maxHoles { // a flood was faster: the decoder needs another keyframe
			r.active = false
			d.requestKeyframe()
			return false
		}
		r.holes[r.n] = seq
		r.n++
		return true
	}
	s.replayPacket(d)
	return true
}

// replayPacket sends the packet that the shard holds to a down track that catches up.
func (s *shard) replayPacket(d *downTrack) {
	p := &s.packet
	d.replay.budget -= max(len(p.Payload), 1)
	c := d.track.counters
	switch d.emit(p, d.layer.inspect(p), 0) {
	case forwarded:
		c.packetsOut.Add(1)
		c.bytesOut.Add(uint64(len(p.Payload)))
		c.replayed.Add(1)
	case refused:
		c.writeErrors.Add(1)
	case skipped:
	}
}
