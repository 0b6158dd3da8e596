package streams

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/securecam/securecam/store"
)

const (
	// nudgeDelay gathers what happens together, and bounds how often a storm
	// of nudges can make Run read the open rows.
	nudgeDelay = 100 * time.Millisecond
	// tickTimeout bounds one comparison, however slow store and bus are.
	tickTimeout = 10 * time.Second
	// wakeTimeout bounds a word to other nodes.
	wakeTimeout = time.Second
)

// sightings is when this process last saw a publisher of a media session and
// a viewer of a stream session. Each comparison drops those without open row.
type sightings struct {
	publisher map[string]time.Time
	viewer    map[string]time.Time
}

// PublisherDown notes that a media session just lost its publisher.
func (s *Service) PublisherDown(mediaSessionID string) {
	s.mu.Lock()
	s.seen.publisher[mediaSessionID] = s.now()
	s.mu.Unlock()
	s.nudge()
}

// ViewerDown notes that a viewer session of a stream just closed.
func (s *Service) ViewerDown(streamID string) {
	s.mu.Lock()
	s.seen.viewer[streamID] = s.now()
	s.mu.Unlock()
	s.nudge()
}

// Nudge makes every node's Run compare rows and media soon: rows have changed.
// It never blocks for long; a node that does not hear of it sees them with its
// next comparison.
func (s *Service) Nudge() {
	s.nudge()
	s.wakeOthers()
}

func (s *Service) wakeOthers() {
	if s.cfg.Bus == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), wakeTimeout)
	defer cancel()
	if err := s.cfg.Bus.Wake(ctx, wakeQueue); err != nil {
		s.log.WarnContext(ctx, "other nodes not woken", slog.Any("err", err))
	}
}

// nudge makes this node's Run compare soon.
func (s *Service) nudge() {
	select {
	case s.nudges <- struct{}{}:
	default: // one is waiting already
	}
}

// Run compares the open rows with the SFU until ctx ends, and ends what is
// over. It survives errors of the store; several processes may run it, since
// every change is a compare-and-set.
//
// A media session, and who watches it, is judged only by the node that opened
// it (NodeID), which still does so after a restart; what is only requested is
// judged by all. When a node does not come back, the others end its media
// sessions after LeaseTimeout. Its publisher and viewers go to its node, whose
// SFU alone knows of it (package media sends them there).
func (s *Service) Run(ctx context.Context) error {
	var wakes <-chan struct{} // never, without a bus
	if s.cfg.Bus != nil {
		others, stop, err := s.cfg.Bus.Wakes(wakeQueue)
		if err != nil {
			return fmt.Errorf("streams: %w", err)
		}
		wakes = others
		defer func() {
			if err := stop(); err != nil {
				s.log.WarnContext(ctx, "streams not unsubscribed", slog.Any("err", err))
			}
		}()
	}
	ticker := time.NewTicker(s.cfg.Interval)
	defer ticker.Stop()
	for {
		s.tick(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			continue
		case <-s.nudges:
		case <-wakes:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(nudgeDelay):
		}
	}
}

// tick runs one comparison and logs an outage once, not each time.
func (s *Service) tick(ctx context.Context) {
	tickCtx, cancel := context.WithTimeout(ctx, tickTimeout)
	defer cancel()
	err := s.reconcile(tickCtx)
	if err != nil {
		s.leases = nil // after an outage, other nodes get their time again
	}
	switch {
	case err != nil && ctx.Err() != nil: // stopping
	case err != nil && !s.failing:
		s.failing = true
		s.log.WarnContext(ctx, "streams not reconciled", slog.Any("err", err))
	case err == nil && s.failing:
		s.failing = false
		s.log.InfoContext(ctx, "streams reconciled again")
	}
}

// view is one comparison: what the SFU and the store had, what was seen when,
// and how many rows it may still end.
type view struct {
	now      time.Time
	held     map[string]MediaStatus // what was here before the rows were read
	live     map[string]MediaStatus // what goes on in this node's sessions
	sessions []store.MediaSession
	own      map[string]bool // the sessions that this node judges
	streams  []store.Stream
	seen     sightings
	endings  int
}

func (s *Service) reconcile(ctx context.Context) error {
	// The SFU is asked before the store: the row of whatever it holds was
	// committed first, so one that is not open below has ended.
	v := &view{now: s.now(), held: s.media.Held(), own: map[string]bool{}, endings: s.cfg.EndingsPerTick}
	err := s.renew(ctx, v.now)
	if err != nil {
		return err
	}
	if v.sessions, err = s.store.OpenMediaSessions(ctx); err != nil {
		return err
	}
	if v.streams, err = s.store.OpenStreams(ctx); err != nil {
		return err
	}
	var own []store.MediaSession
	for _, m := range v.sessions {
		if m.NodeID == s.cfg.NodeID {
			v.own[m.ID] = true
			own = append(own, m)
		}
	}
	if v.live, err = s.media.Look(ctx, v.held, own, v.streams); err != nil {
		return err
	}
	s.look(v)
	s.closeOrphans(ctx, v)
	for _, step := range []func(context.Context, *view) error{s.tellEnded, s.endLost, s.endAbandoned, s.endIdle} {
		if err := step(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

// look renews the sightings and forgets those whose row is no longer open.
func (s *Service) look(v *view) {
	publisher := make(map[string]time.Time, len(v.sessions))
	viewer := make(map[string]time.Time, len(v.streams))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range v.sessions {
		if v.live[m.ID].Publishing {
			publisher[m.ID] = v.now
		} else if at, ok := s.seen.publisher[m.ID]; ok {
			publisher[m.ID] = at
		}
	}
	for _, st := range v.streams {
		if v.live[st.MediaSessionID].Viewers[st.ID] > 0 {
			viewer[st.ID] = v.now
		} else if at, ok := s.seen.viewer[st.ID]; ok {
			viewer[st.ID] = at
		}
	}
	s.seen = sightings{publisher: publisher, viewer: viewer}
	v.seen = sightings{publisher: maps.Clone(publisher), viewer: maps.Clone(viewer)}
}

// closeOrphans closes what the SFU holds without an open row. It touches no
// row, so nothing bounds it but the SFU's own limits.
func (s *Service) closeOrphans(ctx context.Context, v *view) {
	sessions := make(map[string]bool, len(v.sessions))
	for _, m := range v.sessions {
		sessions[m.ID] = true
	}
	viewers := make(map[string]string, len(v.streams))
	for _, st := range v.streams {
		viewers[st.ID] = st.MediaSessionID
	}
	for id, status := range v.held {
		if !sessions[id] {
			s.log.InfoContext(ctx, "media session closed without open row", slog.String("media_session", id))
			s.media.End(id, reasonOrphaned)
			continue
		}
		for viewer := range status.Viewers {
			if viewers[viewer] != id {
				s.log.InfoContext(ctx, "viewer closed without open row", slog.String("media_session", id),
					slog.String("viewer", viewer))
				s.media.CloseViewer(id, viewer, reasonOrphaned)
			}
		}
	}
}

// tellEnded announces the streams that ended with another change, such as the
// revocation of a link: the store ends them in that change's transaction, which
// is not this package's. Several processes may all tell it.
func (s *Service) tellEnded(ctx context.Context, v *view) (err error) {
	missing := s.open
	s.open = make(map[string]store.Stream, len(v.streams))
	for _, st := range v.streams {
		s.open[st.ID] = st
		delete(missing, st.ID)
	}
	for id, st := range missing {
		if err == nil {
			err = s.tellIfUntold(ctx, st)
		}
		if err != nil {
			s.open[id] = st // for the next comparison
		}
	}
	return err
}

func (s *Service) tellIfUntold(ctx context.Context, st store.Stream) error {
	ended, err := s.store.Stream(ctx, st.OwnerUserID, st.ID)
	if err == nil && endedByStore(ended.Reason) {
		s.announceEnd(ctx, ended)
	}
	return lost(err)
}

func endedByStore(reason string) bool {
	switch reason {
	case store.ReasonLinkRevoked, store.ReasonDeviceDeleted, store.ReasonDeviceRevoked, store.ReasonUserRevoked:
		return true
	}
	return false
}

// endLost ends media sessions whose camera does not publish, with the streams
// that share them.
func (s *Service) endLost(ctx context.Context, v *view) error {
	for _, m := range v.sessions {
		since := latest(s.startedAt, m.CreatedAt, v.seen.publisher[m.ID])
		if !v.own[m.ID] || v.now.Sub(since) < s.cfg.PublisherTimeout {
			continue
		}
		if v.endings == 0 {
			return nil
		}
		v.endings--
		if err := lost(s.endMedia(ctx, m.ID, store.ReasonCameraLost, store.Actor{})); err != nil {
			return err
		}
	}
	return nil
}

// endIdle ends streams that their camera does not accept or nobody watches.
func (s *Service) endIdle(ctx context.Context, v *view) error {
	for _, st := range v.streams {
		to, reason := s.overdue(v, st)
		if reason == "" {
			continue
		}
		if v.endings == 0 {
			return nil
		}
		if err := s.endOne(ctx, v, st, to, reason); err != nil {
			return err
		}
	}
	return nil
}

// overdue says how and why a stream is over, or "" if it is not.
func (s *Service) overdue(v *view, st store.Stream) (store.StreamStatus, string) {
	if st.Status == store.StreamRequested {
		if v.now.Sub(st.CreatedAt) >= s.cfg.AcceptTimeout {
			return store.StreamFailed, store.ReasonCameraUnavailable
		}
		return "", ""
	}
	since := latest(s.startedAt, st.StartedAt, v.seen.viewer[st.ID])
	if v.own[st.MediaSessionID] && v.now.Sub(since) >= s.cfg.ViewerTimeout {
		return store.StreamCompleted, ReasonViewerLeft
	}
	return "", ""
}

func (s *Service) endOne(ctx context.Context, v *view, st store.Stream, to store.StreamStatus, reason string) error {
	v.endings--
	_, err := s.end(ctx, st, to, reason, store.Actor{})
	return lost(err)
}

func latest(times ...time.Time) time.Time {
	var last time.Time
	for _, t := range times {
		if t.After(last) {
			last = t
		}
	}
	return last
}
