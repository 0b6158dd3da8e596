package sfu

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/feedback"
)

const (
	// steerInterval is how often a shard looks after the viewers whose way it watches.
	steerInterval = 20 * time.Millisecond
	// decideEvery is the number of those between two decisions about a viewer of which nothing is heard.
	decideEvery = 5
	// mailRoom is what feedback of one viewer may wait, in bytes. A browser's of 100 ms has some hundred.
	mailRoom = 4096
	// mailPackets is how many packets it may be about, in a few octets that are work for the shard: of a browser at 40
	// Mbit/s those are of two seconds.
	mailPackets = 8192
	// probePackets is how many packets back a probe goes for something to send again.
	probePackets = 64
	// maxProbe bounds what one probe sends at once, in packets.
	maxProbe = 256
)

// congestion watches the way to one viewer and decides how much goes over it. All but the mailbox belongs to the
// viewer's shard.
type congestion struct {
	control *bandwidth.Controller
	seat    *seat
	mail    mailbox

	least  int // bit/s that it takes to send anything
	idle   int // steps without a decision
	replay uint16
	padded uint64 // bytes

	discarded uint64 // feedback that did not fit into the mailbox

	totals *wayTotals
	told   CongestionStats // to the totals
}

// wayTotals are the live form of CongestionStats: written by shards, read by anybody.
type wayTotals struct {
	watched, paused                                         atomic.Int64
	feedbacks, malformed, unknown, probes, passed, overuses atomic.Uint64
	silences, padding, discarded                            atomic.Uint64
}

func (t *wayTotals) load() CongestionStats {
	return CongestionStats{
		Watched: int(t.watched.Load()), Paused: int(t.paused.Load()),
		Stats: bandwidth.Stats{
			Feedbacks: t.feedbacks.Load(), Malformed: t.malformed.Load(), Unknown: t.unknown.Load(), Probes: t.probes.Load(),
			Passed: t.passed.Load(), Overuses: t.overuses.Load(), Silences: t.silences.Load(),
		},
		Padding: t.padding.Load(), Discarded: t.discarded.Load(),
	}
}

// tell adds what is new since the last time to the totals. Runs on the shard.
func (c *congestion) tell(now CongestionStats) {
	t, was := c.totals, c.told
	if now == was {
		return
	}
	c.told = now
	t.watched.Add(int64(now.Watched - was.Watched))
	t.paused.Add(int64(now.Paused - was.Paused))
	t.feedbacks.Add(now.Feedbacks - was.Feedbacks)
	t.malformed.Add(now.Malformed - was.Malformed)
	t.unknown.Add(now.Unknown - was.Unknown)
	t.probes.Add(now.Probes - was.Probes)
	t.passed.Add(now.Passed - was.Passed)
	t.overuses.Add(now.Overuses - was.Overuses)
	t.silences.Add(now.Silences - was.Silences)
	t.padding.Add(now.Padding - was.Padding)
	t.discarded.Add(now.Discarded - was.Discarded)
}

// stats counts for a way that is watched, or was. Runs on the shard.
func (c *congestion) stats(watched bool) CongestionStats {
	st := CongestionStats{Stats: c.control.Stats(), Padding: c.padded, Discarded: c.discarded}
	if watched {
		st.Watched = 1
	}
	if watched && c.seat.starving {
		st.Paused = 1
	}
	return st
}

// describe tells of the way. Runs on the shard.
func (c *congestion) describe() *WayStatus {
	return &WayStatus{
		Estimate: c.control.Rate(), Budget: c.seat.budget, Target: c.demand().Sent, Paused: c.seat.starving, Probing: c.control.Probing(),
		Loss: c.control.Loss(), RTT: c.control.RTT(), Padding: c.padded, Stats: c.control.Stats(),
	}
}

// newCongestion watches the way to the viewer in a seat. promised says that it agreed to tell of the way: nothing is
// known of that yet, so it begins carefully, but with the least that there is. Who agreed to nothing may never say a word.
func newCongestion(now int64, of *seat, promised bool, least int, totals *wayTotals) *congestion {
	return &congestion{control: bandwidth.New(now, promised), seat: of, least: least, totals: totals}
}

// number is the transport-wide number of the next packet.
func (c *congestion) number() uint16 {
	if c == nil {
		return 0
	}
	return c.control.Seq()
}

// mailbox holds what a viewer says of its way until the shard looks.
type mailbox struct {
	mu        sync.Mutex // guards what follows; taken last
	n         int
	packets   int            // that what waits is about
	buf       [mailRoom]byte // entries: kind, size, time, what it says
	discarded uint64         // entries that did not fit
}

// letterHead is the fixed part of an entry.
const letterHead = 1 + 2 + 8

// put adds what e says, if it is about the way. It never blocks for long, and drops what does not fit.
func (m *mailbox) put(e *feedback.Event, now int64) {
	var short [8]byte
	said, packets := short[:], 0
	switch e.Kind { //nolint:exhaustive // the others say nothing of the way
	case feedback.TransportCC:
		said, packets = e.Raw, feedback.Statuses(e.Raw)
	case feedback.REMB:
		binary.BigEndian.PutUint64(said, e.Bitrate)
	case feedback.ReceptionReport:
		said = said[:1]
		said[0] = e.Report.FractionLost
	default:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n+letterHead+len(said) > len(m.buf) || m.packets+packets > mailPackets {
		m.discarded++
		return
	}
	b := m.buf[m.n:]
	b[0] = byte(e.Kind)
	binary.BigEndian.PutUint16(b[1:], uint16(len(said)))
	binary.BigEndian.PutUint64(b[3:], uint64(now))
	copy(b[letterHead:], said)
	m.n += letterHead + len(said)
	m.packets += packets
}

// take moves everything to buf and returns it, and how much did not fit until now.
func (m *mailbox) take(buf *[mailRoom]byte) (letters []byte, discarded uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := copy(buf[:], m.buf[:m.n])
	m.n, m.packets = 0, 0
	return buf[:n], m.discarded
}

// read tells the controller what came. It reports whether anything did.
func (c *congestion) read(buf *[mailRoom]byte) bool {
	var letters []byte
	letters, c.discarded = c.mail.take(buf)
	heard := len(letters) > 0
	for len(letters) > 0 {
		kind, size := feedback.Kind(letters[0]), int(binary.BigEndian.Uint16(letters[1:]))
		at := int64(binary.BigEndian.Uint64(letters[3:]))
		said := letters[letterHead : letterHead+size]
		letters = letters[letterHead+size:]
		switch kind { //nolint:exhaustive // what put puts
		case feedback.TransportCC:
			c.control.Feedback(at, said)
		case feedback.REMB:
			c.control.REMB(at, binary.BigEndian.Uint64(said))
		case feedback.ReceptionReport:
			c.control.Report(at, said[0])
		}
	}
	return heard
}

// steer looks after the viewers whose way is watched. Runs on the shard.
func (s *shard) steer() {
	s.now = s.clock()
	for _, c := range s.steered {
		heard := c.read(&s.mail)
		if c.idle++; !heard && !c.control.Probing() && c.idle < decideEvery {
			continue
		}
		c.idle = 0
		if !c.control.Heard() {
			continue
		}
		decision := c.control.Tick(s.now, c.demand())
		c.seat.limit(max(decision.Budget, 1), decision) // 0 would be no limit
		s.pad(c, decision.Padding)
		c.tell(c.stats(true))
	}
	s.flush()
}

// demand is what the viewer could be sent.
func (c *congestion) demand() bandwidth.Demand {
	var sum bandwidth.Demand
	sum.Fixed = true
	for _, d := range c.seat.downs {
		if d.track.spec.kind == audio {
			continue
		}
		sent, next, goal, last := d.demand()
		sum.Sent, sum.Next, sum.Goal, sum.Last = sum.Sent+sent, sum.Next+next, sum.Goal+goal, sum.Last || last
		sum.Fixed = sum.Fixed && d.stream.rtxPayloadType == 0
	}
	base := c.seat.audioRate()
	sum.Sent += base
	if sum.Next > 0 {
		sum.Next += base
	}
	if sum.Goal > 0 {
		sum.Goal += base
	}
	return sum
}

// demand is what the down track is sent or about to be, what the next better takes, and what the best that is wanted
// takes: bit/s, 0 if there is no such thing. last says that there is nothing less than what is sent.
func (d *downTrack) demand() (sent, next, goal int, last bool) {
	var buf [maxRungs]rung
	wish := d.seat.wish.Load()
	rungs := d.track.rungs(&buf, wish.TemporalID)
	best := pick(rungs, *wish, 0, noRung)
	if best == noRung {
		return 0, 0, 0, false
	}
	current := d.rung(rungs, d.target)
	if current >= 0 {
		sent = rungs[current].rate
	}
	if current >= best {
		return sent, 0, 0, current == 0
	}
	for i := current + 1; i <= best && next == 0; i++ {
		if i == 0 || within(rungs, rungs[i], *wish) {
			next = rungs[i].need(true)
		}
	}
	return sent, next, max(rungs[best].need(true), next), current == 0
}

// pad sends bytes beside the media: what was sent lately once more, as a retransmission that nobody asked for, else
// padding. Without a retransmission stream nothing is sent.
func (s *shard) pad(c *congestion, bytes int) {
	i := slices.IndexFunc(c.seat.downs, func(d *downTrack) bool { return d.stream.rtxPayloadType != 0 })
	if i < 0 {
		return
	}
	d := c.seat.downs[i]
	for n := 0; bytes > 0 && n < maxProbe; n++ {
		sent := 0
		if d.layer != nil {
			c.replay = (c.replay + 1) % probePackets
			sent, _ = s.repeat(d, d.newest-c.replay)
		}
		if sent == 0 {
			sent = d.sendPadding()
		}
		if sent == 0 {
			return
		}
		bytes -= sent
		c.padded += uint64(sent)
	}
}

// sendPadding sends a retransmission of nothing, and returns its size.
func (d *downTrack) sendPadding() int {
	d.header = rtp.Header{
		Version: 2, PayloadType: d.stream.rtxPayloadType, SSRC: d.stream.rtxSSRC, SequenceNumber: d.rtxSeq,
		Timestamp: d.header.Timestamp, Padding: true, PaddingSize: maxPadding,
	}
	d.rtxSeq++
	if d.extensions != nil {
		d.extensions.descriptor = nil
	}
	n, err := d.sink.WriteRTP(&d.header, nil)
	if err != nil {
		return 0
	}
	return n
}

// considerWay has the way to the viewer watched from now on if of's layers are something to choose among. Runs on the
// shard.
func (s *seat) considerWay(of *upTrack) {
	if watch := s.watch; watch != nil && (s.layered || of.several()) {
		s.watch = nil
		watch()
	}
}

// watchWay begins to watch the way to a viewer. Runs on its shard.
func (sess *session) watchWay(sh *shard, totals *wayTotals) {
	least := 0
	for _, t := range sess.tracks {
		least += t.track.least()
		t.sink.extensions.numberAt = t.numberAt
	}
	c := newCongestion(sh.clock(), sess.seat, sess.promised, least, totals)
	sess.egress.congestion.Store(c)
	sh.watch(c)
}

// watch has the shard look after the way to a viewer. Runs on the shard.
func (s *shard) watch(c *congestion) {
	s.now = s.clock()
	if c.control.Heard() {
		c.seat.budget = c.control.Begin(s.now, c.least)
	}
	s.steered = append(s.steered, c)
	c.tell(c.stats(true))
	if len(s.steered) == 1 {
		s.steering.Reset(steerInterval)
	}
}

// unwatch undoes watch. Runs on the shard.
func (s *shard) unwatch(c *congestion) {
	s.steered = slices.DeleteFunc(s.steered, func(o *congestion) bool { return o == c })
	c.tell(c.stats(false))
	if len(s.steered) == 0 {
		s.steering.Stop()
	}
}
