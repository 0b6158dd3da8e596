package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

const (
	// reportInterval is the time between sender reports to a viewer.
	reportInterval = time.Second
	// maxActions bounds the droppable actions that wait for a shard.
	maxActions = 256
	// rtxHeader is the original sequence number in front of a retransmitted payload (RFC 4588, section 4).
	rtxHeader = 2
)

// job is a packet on its way to one shard.
type job struct {
	fan   *fan
	layer *layer
	slot  ring.Slot
	info  codec.Info
}

// fan is the part of an up track's down tracks that one shard serves.
type fan struct {
	shard    *shard
	size     int          // guarded by SFU.mu
	dropping atomic.Bool  // the rest of the current frame is not offered; written by dispatch
	downs    []*downTrack // owned by the shard
}

// shard is a goroutine that owns down tracks: whoever wants something of one posts an action. A viewer or tap whose
// sink may block has a shard of its own, its lane.
type shard struct {
	queue chan job
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
	load  int // down tracks, guarded by SFU.mu

	mu      sync.Mutex // guards actions; may be taken under SFU.mu, takes no other lock
	actions []func()

	// Owned by run.
	downs  []*downTrack
	packet ring.Packet
	buf    [rtxHeader + ring.MaxPayload]byte
}

func newShard(queue int) *shard {
	return &shard{
		queue: make(chan job, queue),
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
}

// run serves the shard until stop is closed; what was queued or posted before is still done.
func (s *shard) run() {
	defer close(s.done)
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		select {
		case j := <-s.queue:
			s.forward(j)
			// Nobody else receives: what is queued now can be taken without a select.
			for n := len(s.queue); n > 0; n-- {
				s.forward(<-s.queue)
			}
		case <-s.wake:
			s.act()
		case now := <-tick.C:
			for _, d := range s.downs {
				d.sendReport(now)
			}
		case <-s.stop:
			for n := len(s.queue); n > 0; n-- {
				s.forward(<-s.queue)
			}
			s.act()
			return
		}
	}
}

// forward hands one packet to the down tracks of its fan.
func (s *shard) forward(j job) {
	if !j.layer.ring.Get(j.slot, &s.packet, s.buf[rtxHeader:]) {
		j.layer.track.counters.dropped.Add(1) // overwritten while it waited
		return
	}
	sent, failed := uint64(0), uint64(0)
	for _, d := range j.fan.downs {
		switch d.forward(j.layer, &s.packet, j.info) {
		case skipped:
		case forwarded:
			sent++
		case refused:
			failed++
		}
	}
	c := j.layer.track.counters
	c.packetsOut.Add(sent)
	c.bytesOut.Add(sent * uint64(len(s.packet.Payload)))
	if failed > 0 {
		c.writeErrors.Add(failed)
	}
}

// post has f done by the shard. It never blocks; the number of actions is bounded by that of sessions.
func (s *shard) post(f func()) {
	s.mu.Lock()
	s.actions = append(s.actions, f)
	s.mu.Unlock()
	s.nudge()
}

// offer is post for what may be left undone: it reports false when too much waits already.
func (s *shard) offer(f func()) bool {
	s.mu.Lock()
	ok := len(s.actions) < maxActions
	if ok {
		s.actions = append(s.actions, f)
	}
	s.mu.Unlock()
	s.nudge()
	return ok
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
	s.mu.Unlock()
	for _, f := range actions {
		f()
	}
}

// add takes a down track over. Runs on the shard.
func (s *shard) add(f *fan, d *downTrack) {
	f.downs = append(f.downs, d)
	s.downs = append(s.downs, d)
	d.track.requestKeyframe()
}

// remove lets go of a down track. Runs on the shard.
func (s *shard) remove(f *fan, d *downTrack) {
	same := func(o *downTrack) bool { return o == d }
	f.downs = slices.DeleteFunc(f.downs, same)
	s.downs = slices.DeleteFunc(s.downs, same)
}
