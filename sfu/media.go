package sfu

import (
	"log/slog"
	"slices"
	"time"
)

// media is a media session: one camera's tracks, whoever publishes them, and who follows. Guarded by SFU.mu.
type media struct {
	id            string
	since, lostAt time.Time
	publisher     *session // connected
	pending       *session // answered, not connected yet
	tracks        [kinds]*upTrack
	viewers       map[*session]struct{}
	sessions      map[string]int // of each viewer
	taps          map[*tap]struct{}
	home          *shard // where its next viewer goes
	counters      counters
	past          []SessionStatus // that ended, the last ones
	intercom      *intercom
	board         *switchboard
}

// homeSpread is by how many down tracks the shard of a media session may be fuller than the emptiest. Viewers of one
// camera are cheaper together: one wake-up and one copy a packet.
const homeSpread = 16

// openMedia returns the media session, made if need be. Caller holds mu.
func (s *SFU) openMedia(id string) (*media, error) {
	if s.closed {
		return nil, ErrClosed
	}
	if m, ok := s.media[id]; ok {
		return m, nil
	}
	if len(s.media) >= s.cfg.MaxMediaSessions {
		return nil, ErrLimit
	}
	m := &media{
		id: id, lostAt: now(),
		viewers: make(map[*session]struct{}), sessions: make(map[string]int), taps: make(map[*tap]struct{}), board: newSwitchboard(&s.data),
	}
	m.intercom = &intercom{counters: &m.counters}
	s.media[id] = m
	return m, nil
}

// endMedia closes everything of a media session. Caller holds mu.
func (s *SFU) endMedia(m *media, reason string) {
	for _, p := range []*session{m.pending, m.publisher} {
		if p != nil {
			s.closeSession(p, reason)
		}
	}
	for v := range m.viewers {
		s.closeSession(v, reason)
	}
	for t := range m.taps {
		s.untap(m, t, reason)
	}
	delete(s.media, m.id)
	s.ended = s.ended.add(m.counters.load())
	id := m.id
	s.emit(func(o Observer) { o.Ended(id, reason) })
	s.log.Info("media session ended", slog.String("media_session", id), slog.String("reason", reason))
}

// adopt makes a connected session the publisher. Caller holds mu.
func (s *SFU) adopt(m *media, sess *session) {
	m.pending = nil
	if m.publisher != nil {
		s.closeSession(m.publisher, "replaced")
	}
	if m.codecChanged(sess.specs) {
		for v := range m.viewers {
			s.closeSession(v, "codec_changed")
		}
		for t := range m.taps {
			s.untap(m, t, "codec_changed")
		}
		m.tracks = [kinds]*upTrack{}
	}
	for _, sp := range sess.specs {
		if m.tracks[sp.kind] == nil {
			t := newUpTrack(sp, &m.counters)
			m.tracks[sp.kind] = t
			for tp := range m.taps {
				s.tapTrack(tp, t)
			}
		}
	}
	m.publisher, m.since, m.lostAt = sess, now(), time.Time{}
	id := m.id
	s.emit(func(o Observer) { o.PublisherUp(id) })
	close(s.changed)
	s.changed = make(chan struct{})
	s.informer.add(sess)
	m.intercom.connect(sess.speaker)
	m.board.join(sess)
}

// codecChanged reports whether a publisher's tracks cannot go on in the tracks there are.
func (m *media) codecChanged(specs []spec) bool {
	return slices.ContainsFunc(specs, func(sp spec) bool {
		t := m.tracks[sp.kind]
		return t != nil && (t.spec.mimeType != sp.mimeType || t.spec.clockRate != sp.clockRate ||
			t.spec.channels != sp.channels || !sameFormat(t.spec, sp))
	})
}

// published returns the tracks that the publisher sends now.
func (m *media) published() [kinds]*upTrack {
	var tracks [kinds]*upTrack
	for _, sp := range m.publisher.specs {
		tracks[sp.kind] = m.tracks[sp.kind]
	}
	return tracks
}

// place chooses the shard of a new viewer. Caller holds mu.
func (s *SFU) place(m *media) *shard {
	emptiest := slices.MinFunc(s.shards, func(a, b *shard) int { return a.load - b.load })
	if m.home == nil || m.home.load > emptiest.load+homeSpread {
		m.home = emptiest
	}
	return m.home
}

// attach puts a down track on a shard; add runs there. Caller holds mu.
func (s *SFU) attach(d *downTrack, sh *shard, add func(*fan)) *fan {
	fans := *d.track.fans.Load()
	i := slices.IndexFunc(fans, func(f *fan) bool { return f.shard == sh })
	if i < 0 {
		i = len(fans)
		fans = append(slices.Clone(fans), &fan{shard: sh})
		d.track.fans.Store(&fans)
	}
	f := fans[i]
	f.size++
	sh.load++
	sh.post(func() { add(f) })
	return f
}

// detach undoes attach. What a lane was given before it still delivers. Caller holds mu.
func (s *SFU) detach(d *downTrack, f *fan) {
	f.size--
	f.shard.load--
	if f.size == 0 {
		fans := slices.DeleteFunc(slices.Clone(*d.track.fans.Load()), func(o *fan) bool { return o == f })
		d.track.fans.Store(&fans)
	}
}
