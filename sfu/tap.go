package sfu

import "math/rand/v2"

// maxTaps bounds the taps of one media session.
const maxTaps = 16

// tap is a Tap with its lane: a recorder that blocks delays neither viewers nor the camera.
type tap struct {
	to    Tap
	lane  *shard
	downs map[*downTrack]*fan // guarded by SFU.mu
}

// Tap gives t a copy of every track of a media session. detach ends it and waits until t is called no more; it must
// not be called by t itself.
func (s *SFU) Tap(mediaSession string, t Tap) (detach func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	m, ok := s.media[mediaSession]
	if !ok {
		return nil, ErrNotFound
	}
	if len(m.taps) >= maxTaps {
		return nil, ErrLimit
	}
	tp := &tap{to: t, lane: s.newLane(true), downs: make(map[*downTrack]*fan)}
	m.taps[tp] = struct{}{}
	for _, track := range m.tracks {
		if track != nil {
			s.tapTrack(tp, track)
		}
	}
	return func() {
		s.mu.Lock()
		s.untap(m, tp, "")
		s.mu.Unlock()
		<-tp.lane.done
	}, nil
}

// tapTrack offers a track to a tap. Caller holds mu.
func (s *SFU) tapTrack(tp *tap, track *upTrack) {
	d := newDownTrack(track, stream{ssrc: rand.Uint32(), payloadType: track.spec.payloadType}, nil, newSeat())
	info := track.info
	info.RequestKeyframe = d.requestKeyframe
	tp.downs[d] = s.attach(d, tp.lane, func(f *fan) {
		if d.sink = tp.to.Track(info); d.sink != nil {
			tp.lane.add(f, d)
		}
	})
}

// untap ends a tap and tells it why, unless reason is empty. Caller holds mu.
func (s *SFU) untap(m *media, tp *tap, reason string) {
	if _, ok := m.taps[tp]; !ok {
		return
	}
	delete(m.taps, tp)
	for d, f := range tp.downs {
		s.detach(d, f)
	}
	lane, detached := tp.lane, DetachedTap(nil)
	if reason != "" {
		detached, _ = tp.to.(DetachedTap)
	}
	lane.finish(func() {
		if detached != nil {
			detached.Detached(reason)
		}
	})
}
