package store_test

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// streamModel is what the streams of one camera must be, in memory.
type streamModel struct {
	world   world
	clients []store.Device
	streams map[string]*modelStream // by id
	open    string                  // the open media session
	keeps   bool                    // it is continuous
}

type modelStream struct {
	client int
	status store.StreamStatus
	media  string
}

func (m *modelStream) isOpen() bool {
	return m.status == store.StreamRequested || m.status == store.StreamStreaming
}

func (m *streamModel) watched() bool {
	for _, s := range m.streams {
		if s.status == store.StreamStreaming {
			return true
		}
	}
	return false
}

// pick draws a stream, ended ones included; there is at least one.
func (m *streamModel) pick(t *rapid.T) string {
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.streams))).Draw(t, "stream")
}

func (m *streamModel) request(t *rapid.T) {
	client := rapid.IntRange(0, len(m.clients)-1).Draw(t, "client")
	w := m.world
	w.client = m.clients[client]
	s, err := w.db.RequestStream(t.Context(), w.stream(), w.command(), w.by)
	for _, other := range m.streams {
		if other.client == client && other.isOpen() {
			mustConflict(t, err)
			return
		}
	}
	mustBe(t, err, nil)
	expected := &modelStream{client: client, status: store.StreamRequested}
	if m.open != "" {
		expected.status, expected.media = store.StreamStreaming, m.open
	}
	m.streams[s.ID] = expected
}

func (m *streamModel) accept(t *rapid.T) {
	if len(m.streams) == 0 {
		return
	}
	id := m.pick(t)
	s := m.streams[id]
	_, media, err := m.world.db.AcceptStream(t.Context(), m.world.camera.ID, id, m.world.media(), m.world.by)
	if s.status != store.StreamRequested {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	if m.open == "" {
		m.open, m.keeps = media.ID, false
	}
	s.status, s.media = store.StreamStreaming, m.open
}

func (m *streamModel) end(t *rapid.T) {
	if len(m.streams) == 0 {
		return
	}
	id := m.pick(t)
	s := m.streams[id]
	status := rapid.SampledFrom([]store.StreamStatus{
		store.StreamCompleted, store.StreamCancelled, store.StreamFailed,
	}).Draw(t, "status")
	_, media, err := m.world.db.EndStream(t.Context(), m.world.user.ID, id, status, "", storetest.Now(), m.world.by)
	if !s.isOpen() {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	streaming := s.status == store.StreamStreaming
	switch {
	case status == store.StreamFailed:
		s.status = status
	case streaming:
		s.status = store.StreamCompleted
	default:
		s.status = store.StreamCancelled
	}
	ended := ""
	if streaming && !m.keeps && !m.watched() {
		ended, m.open = m.open, ""
	}
	mustBe(t, media.ID, ended)
}

func (m *streamModel) goLive(t *rapid.T) {
	wanted := m.world.media()
	wanted.Continuous = rapid.Bool().Draw(t, "continuous")
	if !wanted.Continuous && m.open == "" {
		return // nothing would keep it open
	}
	media, err := m.world.db.OpenMediaSession(t.Context(), wanted, m.world.by)
	mustBe(t, err, nil)
	if m.open == "" {
		m.open, m.keeps = wanted.ID, false
	}
	m.keeps = m.keeps || wanted.Continuous
	mustBe(t, media.ID, m.open)
	mustBe(t, media.Continuous, m.keeps)
}

func (m *streamModel) lose(t *rapid.T) {
	if m.open == "" {
		return
	}
	reason := rapid.SampledFrom([]string{store.ReasonCameraLost, "stopped"}).Draw(t, "reason")
	ended, err := m.world.db.EndMediaSession(t.Context(), m.open, reason, storetest.Now(), m.world.by)
	mustBe(t, err, nil)
	n := 0
	for _, s := range m.streams {
		if s.status == store.StreamStreaming {
			n++
			s.status = store.StreamCompleted
			if reason == store.ReasonCameraLost {
				s.status = store.StreamFailed
			}
		}
	}
	mustBe(t, len(ended), n)
	m.open, m.keeps = "", false
}

// check compares every row with the model.
func (m *streamModel) check(t *rapid.T) {
	streams, err := m.world.db.Streams(t.Context(), m.world.user.ID, store.StreamFilter{}, store.Page{Limit: 1000})
	mustBe(t, err, nil)
	mustBe(t, len(streams), len(m.streams))
	for _, s := range streams {
		expected := m.streams[s.ID]
		mustBe(t, s.Status, expected.status)
		mustBe(t, s.MediaSessionID, expected.media)
		mustBe(t, s.EndedAt.IsZero(), expected.isOpen())
		mustBe(t, s.StartedAt.IsZero(), expected.media == "")
	}
	open := ""
	list, err := m.world.db.OpenMediaSessions(t.Context())
	mustBe(t, err, nil)
	for _, media := range list {
		if media.CameraDeviceID == m.world.camera.ID {
			mustBe(t, open, "")
			open = media.ID
		}
	}
	mustBe(t, open, m.open)
}

func TestStreamStateMachine(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			// Each run has a user of its own, so that one schema serves all.
			w := newWorld(t, db)
			m := &streamModel{
				world: w, streams: map[string]*modelStream{},
				clients: []store.Device{w.client, storetest.Client(t, db, w.user.ID)},
			}
			rt.Repeat(map[string]func(*rapid.T){
				"request": m.request, "accept": m.accept, "end": m.end, "go live": m.goLive, "lose": m.lose,
			})
			m.check(rt)
		})
	})
}

func mustBe[T comparable](t *rapid.T, got, want T) {
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func mustConflict(t *rapid.T, err error) {
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
}
