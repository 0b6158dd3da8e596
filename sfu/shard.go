package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
	"github.com/securecam/securecam/sfu/udp"
)

const (
	// reportInterval is the time between sender reports to a viewer.
	reportInterval = time.Second
	// maxActions bounds the NACKs that wait for a shard.
	maxActions = 256
	// rtxHeader is the original sequence number in front of a retransmitted payload (RFC 4588, section 4).
	rtxHeader = 2
)

// job is a packet on its way to one shard.
type job struct {
	fan     *fan
	layer   *layer
	slot    ring.Slot
	arrival int64
	info    codec.Info
}

// fan is the part of an up track's down tracks that one shard serves.
type fan struct {
	shard    *shard
	size     int                       // guarded by SFU.mu
	dropping [maxEncodings]atomic.Bool // the rest of a layer's frame is not offered; written by dispatch
	stale    atomic.Bool               // reconsider is under way to the shard

	// Owned by the shard.
	downs []*downTrack
	open  [maxEncodings]bool // the end of a layer's frame that was begun is yet to come
}

// shard is a goroutine that owns down tracks: whoever wants something of one posts an action. A viewer or tap whose
// sink may block has a shard of its own, its lane.
type shard struct {
	queue  chan job
	wake   chan struct{}
	stop   chan struct{}
	done   chan struct{}
	load   int // down tracks, guarded by SFU.mu
	clock  func() int64
	drains bool // what is queued when it stops is still delivered; set before run
	// delay is how long a packet may wait for the shard, 0 for as long as its ring has it. Set before run.
	delay   time.Duration
	slowest atomic.Int64 // the longest wait lately, in nanoseconds

	mu      sync.Mutex // guards actions and missing; may be taken under SFU.mu, takes no other lock
	actions []func()
	missing []missing // NACKs to answer

	// Owned by run.
	downs     []*downTrack
	now       int64         // on the clock of packet arrivals, when the burst began or, while anybody is steered, goes out
	worst     int64         // the longest wait since slowest was set
	steered   []*congestion // viewers whose way is watched
	steering  *time.Ticker  // stopped while there are none
	mail      [mailRoom]byte
	burst     burst
	pace      pace
	conn      *udp.Conn
	batch     *udp.Batch // made with the first viewer
	answering []missing  // taken from missing
	replaying []*downTrack
	line      []*downTrack // wait for a place among them
	admitting bool         // one of those gets it
	pacer     *time.Ticker // while any are replaying
	packet    ring.Packet  // a retransmission
	buf       [rtxHeader + ring.MaxPayload]byte
}

// newShard makes a shard that sends through conn and may hold packets for window to send them together. clock is that
// of packet arrivals.
func newShard(conn *udp.Conn, queue int, window time.Duration, clock func() int64) *shard {
	steering := time.NewTicker(time.Hour)
	steering.Stop()
	return &shard{
		conn: conn, clock: clock, steering: steering,
		pace:  pace{window: window},
		queue: make(chan job, queue),
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
}

// run serves the shard until stop is closed; what was posted before is still done.
func (s *shard) run() {
	defer close(s.done)
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	hold := time.NewTimer(time.Hour)
	defer hold.Stop()
	defer s.steering.Stop()
	for {
		select {
		case j := <-s.queue:
			s.collect(j, hold)
		case <-s.wake:
			s.act()
			s.flush()
		case now := <-tick.C:
			for _, d := range s.downs {
				d.sendReport(now)
				d.wait.calm(time.Duration(d.lastArrival))
				d.holdBack()
			}
			s.flush()
			s.slowest.Store(s.worst)
			s.worst = 0
		case <-s.pacing():
			s.tell()
			s.catchUp()
			s.flush()
		case <-s.steering.C:
			s.steer()
		case <-s.stop:
			for s.drains && len(s.queue) > 0 {
				s.collect(<-s.queue, hold)
			}
			s.act()
			s.flush()
			return
		}
	}
}

// collect takes first and what else waits, or comes within the pace's patience until every frame is complete or there
// is enough, and forwards it as one burst.
func (s *shard) collect(first job, hold *time.Timer) {
	s.now = s.clock()
	began := s.now
	s.burst.begin()
	s.take(first)
	patience, enough := s.pace.patience()
	holding := false
	for !s.burst.full() {
		select {
		case j := <-s.queue:
			s.take(j)
			continue
		default:
		}
		if s.burst.n >= enough || s.burst.complete() {
			break
		}
		if !holding {
			hold.Reset(patience)
			holding = true
		}
		select {
		case j := <-s.queue:
			s.take(j)
			if s.clock()-began < int64(patience) { // the timer may be late
				continue
			}
		case <-hold.C:
		case <-s.stop:
		}
		break
	}
	s.now = s.clock()
	taken := s.now
	s.forward()
	s.flush()
	s.pace.worked(began, taken, s.clock())
}

// tell notes what time it is, if anybody cares.
func (s *shard) tell() {
	if len(s.steered) > 0 {
		s.now = s.clock()
	}
}

// take adds one packet to the burst, unless it comes too late, or was overwritten while it waited.
func (s *shard) take(j job) {
	open := &j.fan.open[j.layer.slot]
	if !s.overdue(&j) && s.burst.add(j) {
		*open = !s.burst.packets[s.burst.n-1].Marker
		return
	}
	*open = false
	j.layer.track.counters.dropped.Add(1)
	j.fan.skip(&j)
}

// forward hands the burst to the down tracks of its fans, one down track after the other: what goes to one viewer is
// then in one piece.
func (s *shard) forward() {
	for first := range s.burst.fans() {
		f := s.burst.jobs[first].fan
		s.burst.pad(first)
		sent, octets, failed := uint64(0), uint64(0), uint64(0)
		for _, d := range f.downs {
			for i := range s.burst.of(first) {
				p := &s.burst.packets[i]
				switch d.forward(s.burst.jobs[i].layer, p, s.burst.jobs[i].info, s.burst.padding[i]) {
				case forwarded:
					sent++
					octets += uint64(len(p.Payload))
				case refused:
					failed++
				case skipped:
				}
			}
		}
		c := s.burst.jobs[first].layer.track.counters
		c.packetsOut.Add(sent)
		c.bytesOut.Add(octets)
		if failed > 0 {
			c.writeErrors.Add(failed)
		}
	}
}

// out returns the batch that viewers' packets go into.
func (s *shard) out() *udp.Batch {
	if s.batch == nil {
		s.batch = s.conn.NewBatch()
	}
	return s.batch
}

// flush hands what was sealed to the kernel.
func (s *shard) flush() {
	if s.batch != nil {
		s.batch.Flush()
	}
}

// post has f done by the shard. It never blocks; the number of actions is bounded by that of sessions.
func (s *shard) post(f func()) {
	s.mu.Lock()
	s.actions = append(s.actions, f)
	s.mu.Unlock()
	s.nudge()
}

// finish has f done as the last thing the shard does. It does not wait.
func (s *shard) finish(f func()) {
	s.post(f)
	close(s.stop)
}

func (s *shard) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shard) act() {
	s.mu.Lock()
	actions := s.actions
	s.actions = nil
	s.missing, s.answering = s.answering[:0], s.missing
	for _, m := range s.answering {
		m.down.waiting = 0
	}
	s.mu.Unlock()
	s.tell()
	for _, f := range actions {
		f()
	}
	for _, m := range s.answering {
		if m.keyframe {
			m.down.pleads.Store(false)
			m.down.plead()
			continue
		}
		s.retransmit(m)
	}
}

// add takes a down track over. Runs on the shard.
func (s *shard) add(f *fan, d *downTrack) {
	d.shard = s
	f.downs = append(f.downs, d)
	s.downs = append(s.downs, d)
	d.seat.downs = append(d.seat.downs, d)
	d.choose()
	if d.layer == nil && !d.inLine {
		d.requestKeyframe()
	}
}

// remove lets go of a down track. Runs on the shard.
func (s *shard) remove(f *fan, d *downTrack) {
	d.removed = true
	same := func(o *downTrack) bool { return o == d }
	f.downs = slices.DeleteFunc(f.downs, same)
	s.downs = slices.DeleteFunc(s.downs, same)
	s.line = slices.DeleteFunc(s.line, same)
	d.seat.downs = slices.DeleteFunc(d.seat.downs, same)
}

// reconsider has the down tracks choose anew what they follow. Runs on the shard.
func (f *fan) reconsider() {
	f.stale.Store(false)
	for _, d := range f.downs {
		d.choose()
	}
}
