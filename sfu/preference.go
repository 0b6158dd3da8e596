package sfu

import (
	"fmt"
	"sync/atomic"

	"github.com/securecam/securecam/sfu/bandwidth"
)

// Preference is what a viewer wants to get of what its camera sends. Everything in it is an upper limit: of the layers
// that are within it, the viewer gets the best that its link carries.
type Preference struct {
	// RID names the simulcast layer that is wanted at most; "" means any.
	RID string
	// SpatialID and TemporalID are the highest layers within a stream that are wanted, -1 means any.
	SpatialID, TemporalID int
	// MaxHeight limits the shorter side of the picture, in pixels, which is its height unless the camera stands
	// upright; 0 means any.
	MaxHeight int
	// MaxBitrate limits the video, in bit/s; 0 means any.
	MaxBitrate int
	// Paused means that nothing is to be sent at all.
	Paused bool
	// Live says that the viewer rather has the picture stand still than late: to steer by it.
	Live bool
}

// NoPreference is the wish for the best there is.
func NoPreference() Preference { return Preference{SpatialID: -1, TemporalID: -1} }

// maxRID bounds the name of a layer: RFC 8852, section 3.1, has none, and browsers' are of a few characters.
const maxRID = 32

var errPreference = fmt.Errorf("%w: preference", ErrUnsupported)

func (p Preference) valid() bool {
	return len(p.RID) <= maxRID && p.SpatialID >= -1 && p.TemporalID >= -1 && p.MaxHeight >= 0 && p.MaxBitrate >= 0
}

// SetPreference says what a WHEP session wants from now on. What it gets changes with the next keyframe of what it
// wants. The session may be one that is not connected yet.
func (s *SFU) SetPreference(sessionID string, p Preference) error {
	if !p.valid() {
		return errPreference
	}
	s.mu.Lock()
	sess, ok := s.sessions[sessionID]
	s.mu.Unlock()
	if !ok || sess.role != play {
		return ErrNotFound
	}
	sess.seat.wish.Store(&p)
	sess.seat.changed(sess.shard.Load())
	return nil
}

// seat is what one viewer wants and may have. A tap has one too.
type seat struct {
	wish  atomic.Pointer[Preference]
	stale atomic.Bool // a choice is under way to the shard

	// Owned by the shard.
	downs    []*downTrack
	watch    func() // has the way watched; nil once it is, and for a tap
	layered  bool   // the camera has announced several layers
	starving bool   // not even the least goes out
	hopeless bool   // what goes out is to end before what replaces it begins
	keep     bool   // what goes out, or is about to, goes on whatever the budget is
	budget   int    // bit/s that the way carries, media and what wraps it; 0 means unknown
}

func newSeat() *seat {
	s := &seat{}
	p := NoPreference()
	s.wish.Store(&p)
	return s
}

// changed has the viewer's shard choose anew. It never blocks; sh is nil for a viewer that is not connected yet, which
// chooses when it is.
func (s *seat) changed(sh *shard) {
	if sh != nil && !s.stale.Swap(true) {
		sh.post(func() {
			s.stale.Store(false)
			for _, d := range s.downs {
				d.choose()
			}
		})
	}
}

// limit sets the budget, and has the tracks choose by what else was decided. Runs on the shard.
func (s *seat) limit(budget int, by bandwidth.Decision) {
	if s.budget == budget && s.starving == by.Starving && s.hopeless == by.Hopeless && s.keep == by.Keep {
		return
	}
	s.budget, s.starving, s.hopeless, s.keep = budget, by.Starving, by.Hopeless, by.Keep
	for _, d := range s.downs {
		d.choose()
	}
}

// pace is how fast a viewer may catch up, in bytes a second, 0 for no limit: a little faster than what its way is
// believed to carry, for a moment.
func (s *seat) pace() int { return s.budget / 8 * 3 / 2 }

// share returns the budget of a track, 0 for no limit: audio comes first, video gets the rest. Runs on the shard.
func (s *seat) share(of *downTrack) int {
	if s.budget == 0 || of.track.spec.kind == audio {
		return 0
	}
	return max(s.budget-s.audioRate(), 1)
}

// audioRate is what the audio takes that goes out. Runs on the shard.
func (s *seat) audioRate() int {
	sum := 0
	for _, d := range s.downs {
		if d.track.spec.kind == audio && d.layer != nil {
			if f := d.layer.facts.Load(); f != nil {
				sum += f.rate(maxSpatial-1, maxTemporal-1)
			}
		}
	}
	return sum
}
