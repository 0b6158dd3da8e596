package sfu

import (
	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

// sublayers are the highest spatial and temporal layer within a stream that go out.
type sublayers struct{ spatial, temporal uint8 }

// everything lets a whole stream through.
const everything = 0xff

func (s sublayers) have(info *codec.Info) bool {
	return info.Spatial <= s.spatial && info.Temporal <= s.temporal
}

// maxCuts bounds how many changes of a cut are remembered, for what comes late and what is sent again.
const maxCuts = 8

// cut is what of a followed stream goes out. It changes between pictures, and upwards only where what is added can be
// decoded without what was left out.
type cut struct {
	goal  sublayers // wanted
	now   sublayers // going out since a sequence number
	since uint16
	past  [maxCuts]pastCut // what was before that, the newest first
	n     int              // of those, how many there are
	// missed counts pictures that are left out though they are wanted, since the goal was above what goes out.
	missed uint16
}

// missedAtMost is how many such pictures it takes until a keyframe is asked for instead of a picture at which more can go
// out: some cameras never say of one that it is. It is two seconds of every other one of 30 a second.
const missedAtMost = 30

type pastCut struct {
	sublayers
	since uint16
}

// aim sets the goal. It reports whether that takes a keyframe.
func (c *cut) aim(spatial, temporal uint8) bool {
	higher := spatial > c.goal.spatial
	c.goal = sublayers{spatial, temporal}
	return higher
}

// waits reports whether something is wanted that can only begin with a keyframe.
func (c *cut) waits() bool { return c.goal.spatial > c.now.spatial }

// begin begins with a keyframe, at which everything that is wanted can go out. What only stands in for what is wanted
// goes out as a whole.
func (c *cut) begin(seq uint16, wanted bool) {
	c.now = c.goal
	if !wanted {
		c.now = sublayers{everything, everything}
	}
	c.since, c.n, c.missed = seq, 0, 0
}

// misses takes a picture into account after step did. It reports whether a keyframe is the way to what is wanted.
func (c *cut) misses(info *codec.Info) bool {
	switch {
	case c.goal.temporal <= c.now.temporal:
		c.missed = 0
	case info.Temporal > c.now.temporal && info.Temporal <= c.goal.temporal:
		c.missed++
	}
	if c.missed < missedAtMost {
		return false
	}
	c.missed = 0
	return true
}

// step takes the first packet of a picture into account, which is the newest of all packets.
func (c *cut) step(seq uint16, info *codec.Info) {
	const far = 1 << 13
	next := sublayers{min(c.now.spatial, c.goal.spatial), min(c.now.temporal, c.goal.temporal)}
	switch {
	case info.Keyframe:
		next = c.goal
	case info.Up > info.Temporal && info.Temporal <= next.temporal && next.spatial == c.goal.spatial:
		next.temporal = min(max(next.temporal, info.Up), c.goal.temporal)
	case info.Sync && info.Temporal == next.temporal+1 && info.Temporal <= c.goal.temporal:
		next.temporal++
	}
	if next != c.now {
		c.n = min(c.n+1, maxCuts)
		copy(c.past[1:c.n], c.past[:])
		c.past[0] = pastCut{c.now, c.since}
		c.now, c.since = next, seq
	} else if seq-c.since > 2*far { // keep it comparable
		c.since, c.n = seq-far, 0
	}
}

// of returns what goes out of the picture that a packet belongs to.
func (c *cut) of(seq uint16) sublayers {
	if c.n == 0 || int16(seq-c.since) >= 0 {
		return c.now
	}
	i := 0
	for i < c.n-1 && int16(seq-c.past[i].since) < 0 {
		i++
	}
	return c.past[i].sublayers
}

// at returns what goes out of the packet's picture.
func (d *downTrack) at(p *ring.Packet, info *codec.Info) sublayers {
	c := &d.cut
	if info.Start && d.mapper.Newer(p.Seq) {
		c.step(p.Seq, info)
		if c.waits() {
			d.pass(d.layer)
		}
		if c.misses(info) && d.target == d.layer && !d.replay.active {
			d.layer.keys.request()
		}
	}
	return c.of(p.Seq)
}

// ends reports whether no packet of the picture goes out after this one.
func (s sublayers) ends(p *ring.Packet, info *codec.Info) bool {
	return p.Marker || info.End && info.Spatial == s.spatial
}
