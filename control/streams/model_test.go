package streams

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// model is what the streams of one camera must be: written from the rules, not
// from the code.
type model struct {
	w       *world
	streams []*modelStream
	media   string // the open media session, "" if none
	kept    bool   // it is continuous
	since   time.Time
	present bool // its camera publishes
}

type modelStream struct {
	id        string
	by        auth.Principal
	status    store.StreamStatus
	media     string
	since     time.Time // requested, or last watched
	watched   bool
	endEvents int
}

func (m *model) open(p auth.Principal) *modelStream {
	for _, s := range m.streams {
		if s.by.DeviceID == p.DeviceID && (s.status == store.StreamRequested || s.status == store.StreamStreaming) {
			return s
		}
	}
	return nil
}

func (m *model) request(t *rapid.T) {
	p := rapid.SampledFrom([]auth.Principal{m.w.client, m.w.second}).Draw(t, "client")
	got, err := m.w.Request(t.Context(), p, m.w.camera.DeviceID, "")
	if m.open(p) != nil {
		if !errors.Is(err, ErrAlreadyOpen) {
			t.Fatalf("a second request: got %v, want %v", err, ErrAlreadyOpen)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &modelStream{id: got.ID, by: p, status: store.StreamRequested, since: m.w.clock.now()}
	if m.media != "" {
		s.status, s.media = store.StreamStreaming, m.media
	}
	m.streams = append(m.streams, s)
}

func (m *model) pick(t *rapid.T) *modelStream {
	if len(m.streams) == 0 {
		t.Skip("no stream yet")
	}
	return rapid.SampledFrom(m.streams).Draw(t, "stream")
}

func (m *model) accept(t *rapid.T) {
	s := m.pick(t)
	got, err := m.w.Accept(t.Context(), m.w.camera, s.id)
	if s.status != store.StreamRequested {
		if !errors.Is(err, ErrNotRequested) {
			t.Fatalf("accept of a %s one: got %v, want %v", s.status, err, ErrNotRequested)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.media == "" {
		m.media, m.since, m.present = got.MediaSessionID, m.w.clock.now(), false
	}
	s.status, s.media, s.since = store.StreamStreaming, m.media, m.w.clock.now()
}

func (m *model) end(t *rapid.T) {
	s := m.pick(t)
	p := rapid.SampledFrom([]auth.Principal{m.w.camera, m.w.client, m.w.second, m.w.browser}).Draw(t, "who")
	_, err := m.w.End(t.Context(), p, s.id, "")
	switch {
	case p.Role == store.RoleClient && p.DeviceID != s.by.DeviceID:
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("end by a bystander: got %v, want %v", err, store.ErrNotFound)
		}
	case s.status != store.StreamRequested && s.status != store.StreamStreaming:
		if !errors.Is(err, ErrEnded) {
			t.Fatalf("end of a %s one: got %v, want %v", s.status, err, ErrEnded)
		}
	case err != nil:
		t.Fatal(err)
	default:
		m.finish(s, false)
	}
}

// signal is passed on between the two devices of an open stream, and changes
// nothing.
func (m *model) signal(t *rapid.T) {
	s := m.pick(t)
	p := rapid.SampledFrom([]auth.Principal{m.w.camera, m.w.client, m.w.second}).Draw(t, "who")
	_, err := m.w.gateway.signal(t.Context(), p, json.RawMessage(`{"streamSessionId":"`+s.id+`"}`))
	var want error
	switch {
	case p.Role == store.RoleClient && p.DeviceID != s.by.DeviceID:
		want = store.ErrNotFound
	case s.status != store.StreamRequested && s.status != store.StreamStreaming:
		want = ErrEnded
	}
	if !errors.Is(err, want) {
		t.Fatalf("a signal in a %s one: got %v, want %v", s.status, err, want)
	}
}

// finish is the end of one stream, and of a media session with its last one.
func (m *model) finish(s *modelStream, failed bool) {
	was := s.status
	switch {
	case failed:
		s.status = store.StreamFailed
	case was == store.StreamStreaming:
		s.status = store.StreamCompleted
	default:
		s.status = store.StreamCancelled
	}
	s.endEvents += 2
	s.watched = false
	watching := slices.ContainsFunc(m.streams, func(s *modelStream) bool { return s.status == store.StreamStreaming })
	if was == store.StreamStreaming && !watching && !m.kept {
		m.media, m.present = "", false
	}
}

func (m *model) goLive(t *rapid.T) {
	got, err := m.w.OpenMedia(t.Context(), m.w.camera)
	if err != nil {
		t.Fatal(err)
	}
	if m.media == "" {
		m.media, m.since, m.present = got.ID, m.w.clock.now(), false
	}
	if got.ID != m.media {
		t.Fatalf("went live as %s beside %s", got.ID, m.media)
	}
	m.kept = true
}

func (m *model) stopLive(t *rapid.T) {
	if m.media == "" {
		t.Skip("not live")
	}
	if err := m.w.EndMedia(t.Context(), m.w.camera, m.media); err != nil {
		t.Fatal(err)
	}
	m.endMedia(false)
}

func (m *model) endMedia(failed bool) {
	id := m.media
	m.media, m.kept, m.present = "", false, false
	for _, s := range m.streams {
		if s.media == id && s.status == store.StreamStreaming {
			m.finish(s, failed)
		}
	}
}

// sfu lets cameras and viewers come and go.
func (m *model) sfu(t *rapid.T) {
	if m.media == "" {
		t.Skip("not live")
	}
	m.settle(t) // what the loop saw last
	present := rapid.Bool().Draw(t, "publishing")
	var viewers []string
	for _, s := range m.streams {
		s.watched = s.status == store.StreamStreaming && rapid.Bool().Draw(t, "watched")
		if s.watched {
			viewers = append(viewers, s.id)
		}
	}
	m.w.media.publish(m.media, viewers...)
	if !present {
		m.w.media.lose(m.media)
	}
	m.present = present
}

func (m *model) pass(t *rapid.T) {
	m.settle(t)
	m.w.clock.advance(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
	m.settle(t)
}

// settle is one comparison, in the service and in the model.
func (m *model) settle(t *rapid.T) {
	if err := m.w.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := m.w.clock.now()
	for _, s := range m.streams {
		if s.watched {
			s.since = now
		}
	}
	if m.media != "" && m.present {
		m.since = now
	}
	if m.media != "" && now.Sub(m.since) >= 30*time.Second {
		m.endMedia(true)
	}
	for _, s := range m.streams {
		if now.Sub(s.since) >= time.Minute {
			if s.status == store.StreamRequested || s.status == store.StreamStreaming {
				m.finish(s, s.status == store.StreamRequested)
			}
		}
	}
}

// check compares the rows, the SFU and the events with the model.
func (m *model) check(t *rapid.T) {
	ends := map[string]int{}
	for _, h := range m.w.gateway.sent {
		if h.event == EventEnded {
			ends[h.stream]++
		}
	}
	all, err := m.w.db.Streams(t.Context(), m.w.user.ID, store.StreamFilter{}, store.Page{Limit: 200})
	if err != nil || len(all) != len(m.streams) {
		t.Fatalf("%d streams and %v, want %d", len(all), err, len(m.streams))
	}
	rows := map[string]store.Stream{}
	for _, row := range all {
		rows[row.ID] = row
	}
	for _, s := range m.streams {
		row := rows[s.id]
		if row.Status != s.status || row.MediaSessionID != s.media {
			t.Fatalf("stream %s is %s in %q, want %s in %q", s.id, row.Status, row.MediaSessionID, s.status, s.media)
		}
		if row.EndedAt.IsZero() != (s.status == store.StreamRequested || s.status == store.StreamStreaming) {
			t.Fatalf("a %s stream ended at %s", row.Status, row.EndedAt)
		}
		if ends[s.id] != s.endEvents {
			t.Fatalf("the end of stream %s was told %d times, want %d", s.id, ends[s.id], s.endEvents)
		}
	}
	var open []string
	sessions, err := m.w.db.OpenMediaSessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range sessions {
		open = append(open, row.ID)
	}
	want := []string(nil)
	if m.media != "" {
		want = []string{m.media}
	}
	if !reflect.DeepEqual(open, want) {
		t.Fatalf("open media sessions %v, want %v", open, want)
	}
	if held := slices.Sorted(maps.Keys(m.w.media.Held())); len(held) > 0 && !reflect.DeepEqual(held, want) {
		t.Fatalf("the SFU holds %v, want at most %v", held, want)
	}
}

func TestServiceAgainstModel(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorldOn(t, rt, db)
		m := &model{w: w}
		rt.Repeat(map[string]func(*rapid.T){
			"request": m.request, "accept": m.accept, "end": m.end, "signal": m.signal, "goLive": m.goLive,
			"stopLive": m.stopLive, "sfu": m.sfu, "pass": m.pass, "": m.check,
		})
		for _, p := range []auth.Principal{w.camera, w.client, w.second} {
			if err := w.db.SetDeviceKey(t.Context(), p.UserID, p.DeviceID, store.NewID(), store.Actor{}); err != nil {
				rt.Fatal(err)
			}
		}
	})
}
