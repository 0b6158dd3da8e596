package sfu

import "time"

// A shard that has more to do than it can do sends later and later. That is borne up to a bound: what comes later still
// is left out, from the end of a frame to a keyframe, so that everybody sees whole pictures, few of them.
const (
	// maxDelay is how long a packet may wait for a shard of many viewers: a machine that stands still for a quarter of a
	// second loses nothing, and nobody sees what was half a second ago.
	maxDelay = 400 * time.Millisecond
	// maxLaneDelay is the same for a viewer by TCP, who waits for every packet that its way lost.
	maxLaneDelay = time.Second
)

// overdue reports whether the packet waited too long. A frame that was begun is finished, unless that takes as long
// again.
func (s *shard) overdue(j *job) bool {
	waited, limit := s.now-j.arrival, int64(s.delay)
	s.worst = max(s.worst, waited)
	if limit == 0 || waited <= limit {
		return false
	}
	begun := j.layer.track.spec.kind == video && j.fan.open[j.layer.slot] && !j.info.Start
	return !begun || waited > 2*limit
}

// skip has those who should have got the packet wait for a keyframe: without it what comes cannot be decoded. Only
// audio goes on.
func (f *fan) skip(j *job) {
	l, skips := j.layer, uint64(0)
	if l.track.spec.kind != video {
		return
	}
	for _, d := range f.downs {
		if d.layer == l && d.replay.due(l, j.slot.Seq()) {
			d.skip()
			skips++
		}
	}
	if skips > 0 || j.info.Keyframe {
		l.track.counters.skips.Add(skips)
		l.keys.request()
	}
}

// due reports whether a live packet goes on, and is not the replay's matter.
func (r *replay) due(l *layer, seq uint16) bool {
	return r.layer != l || !r.active && int16(seq-r.next) >= 0
}

// skip sends nothing until a keyframe comes.
func (d *downTrack) skip() {
	d.layer, d.left = nil, d.layer
	if d.target != nil {
		d.asked.Store(d.target)
	}
}
