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

// cut is what of a followed stream goes out. It changes between pictures, and upwards only where what is added can be
// decoded without what was left out.
type cut struct {
	goal        sublayers // wanted
	now, before sublayers // going out since a sequence number, and before that
	since       uint16
}

// aim sets the goal. It reports whether that takes a keyframe.
func (c *cut) aim(spatial, temporal uint8) bool {
	higher := spatial > c.goal.spatial
	c.goal = sublayers{spatial, temporal}
	return higher
}

// begin begins with a keyframe, at which everything that is wanted can go out. What only stands in for what is wanted
// goes out as a whole.
func (c *cut) begin(seq uint16, wanted bool) {
	c.now = c.goal
	if !wanted {
		c.now = sublayers{everything, everything}
	}
	c.before, c.since = c.now, seq
}

// step takes the first packet of a picture into account, which is the newest of all packets.
func (c *cut) step(seq uint16, info *codec.Info) {
	const far = 1 << 13
	next := sublayers{min(c.now.spatial, c.goal.spatial), min(c.now.temporal, c.goal.temporal)}
	switch {
	case info.Keyframe, info.Up && info.Temporal <= next.temporal && next.spatial == c.goal.spatial:
		next = sublayers{max(next.spatial, c.goal.spatial), c.goal.temporal}
	case info.Sync && info.Temporal == next.temporal+1 && info.Temporal <= c.goal.temporal:
		next.temporal++
	}
	if next != c.now {
		c.before, c.now, c.since = c.now, next, seq
	} else if seq-c.since > 2*far { // keep it comparable
		c.before, c.since = c.now, seq-far
	}
}

// at returns what goes out of the packet's picture.
func (d *downTrack) at(p *ring.Packet, info *codec.Info) sublayers {
	c := &d.cut
	switch newer := d.mapper.Newer(p.Seq); {
	case newer && info.Start:
		c.step(p.Seq, info)
		if c.goal.spatial > c.now.spatial {
			d.pass(d.layer)
		}
	case !newer && int16(p.Seq-c.since) < 0:
		return c.before
	}
	return c.now
}

// ends reports whether no packet of the picture goes out after this one.
func (s sublayers) ends(p *ring.Packet, info *codec.Info) bool {
	return p.Marker || info.End && info.Spatial == s.spatial
}
