package streams

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
)

// together lets time pass for several nodes.
func (w *world) together(t *testing.T, d time.Duration, nodes ...*Service) {
	t.Helper()
	for ; d > 0; d -= 10 * time.Second {
		w.clock.advance(min(d, 10*time.Second))
		for _, n := range nodes {
			if err := n.reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNodesLeaveEachOthersStreams runs two nodes, of which one has everything.
func TestNodesLeaveEachOthersStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.node(w.db, "a", w.media)
	b := w.node(w.db, "b", &fakeMedia{held: map[string]MediaStatus{}})
	w.Service = a
	watched := w.streaming(t, w.client)
	w.media.publish(watched.MediaSessionID, watched.ID)

	w.Service = b // joins what the other node has
	joined := w.streaming(t, w.second)
	if joined.MediaSessionID != watched.MediaSessionID {
		t.Fatalf("joined %s, want %s", joined.MediaSessionID, watched.MediaSessionID)
	}
	w.media.publish(watched.MediaSessionID, watched.ID, joined.ID)
	w.together(t, 20*time.Minute, a, b)
	w.wantStatus(t, watched.ID, store.StreamStreaming, "")
	w.wantStatus(t, joined.ID, store.StreamStreaming, "")

	w.media.publish(watched.MediaSessionID, watched.ID)
	w.together(t, time.Minute, a, b)
	w.wantStatus(t, joined.ID, store.StreamCompleted, ReasonViewerLeft)
	w.media.lose(watched.MediaSessionID)
	w.together(t, 30*time.Second, a, b)
	w.wantStatus(t, watched.ID, store.StreamFailed, store.ReasonCameraLost)

	requested := must[store.Stream](t)(a.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.together(t, time.Minute, b)
	w.wantStatus(t, requested.ID, store.StreamFailed, store.ReasonCameraUnavailable)
}

func TestNodeThatDoesNotComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Service = w.node(w.db, "a", w.media)
	s := w.streaming(t, w.client)
	w.together(t, 20*time.Second, w.Service)
	b := w.node(w.db, "b", &fakeMedia{held: map[string]MediaStatus{}})
	w.clock.advance(time.Hour) // it has not looked for that long
	w.together(t, 50*time.Second, b)
	w.wantStatus(t, s.ID, store.StreamStreaming, "")
	w.together(t, 20*time.Second, b)
	w.wantStatus(t, s.ID, store.StreamFailed, store.ReasonCameraLost)
	m := must[store.MediaSession](t)(b.OpenMedia(t.Context(), w.camera))
	if m.NodeID != "b" || m.ID == s.MediaSessionID {
		t.Errorf("the camera publishes %+v, want a media session of node b", m)
	}
}

// TestOutageGivesNodesTheirTimeAgain cuts both nodes off the database for
// longer than a lease.
func TestOutageGivesNodesTheirTimeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rows := &flakyStore{Store: w.db}
	a := w.node(w.db, "a", w.media)
	b := w.node(rows, "b", &fakeMedia{held: map[string]MediaStatus{}})
	w.Service = a
	s := w.streaming(t, w.client)
	w.media.publish(s.MediaSessionID, s.ID)
	w.together(t, time.Minute, a, b)
	rows.away.Store(true)
	for range 10 {
		w.clock.advance(time.Minute)
		b.tick(t.Context())
	}
	rows.away.Store(false)
	b.tick(t.Context()) // before the other node has renewed
	w.wantStatus(t, s.ID, store.StreamStreaming, "")
	w.together(t, 10*time.Minute, a, b)
	w.wantStatus(t, s.ID, store.StreamStreaming, "")
}

// flakyStore is a store of which some questions can go unanswered.
type flakyStore struct {
	Store
	away    atomic.Bool // open streams
	streams atomic.Int64
}

func (s *flakyStore) OpenStreams(ctx context.Context) ([]store.Stream, error) {
	if s.away.Load() {
		return nil, errors.New("away")
	}
	return s.Store.OpenStreams(ctx)
}

func (s *flakyStore) Stream(ctx context.Context, userID, id string) (store.Stream, error) {
	if s.streams.Add(-1) >= 0 {
		return store.Stream{}, errors.New("away")
	}
	return s.Store.Stream(ctx, userID, id)
}

// TestEndsAreToldAfterAnOutage loses the store between two comparisons.
func TestEndsAreToldAfterAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rows := &flakyStore{Store: w.db}
	w.Service = w.process(rows)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	w.media.publish(first.MediaSessionID, first.ID, second.ID)
	w.settle(t)
	w.gateway.take()
	if err := w.db.DeleteDevice(t.Context(), w.user.ID, w.camera.DeviceID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	rows.streams.Store(1)
	if err := w.reconcile(t.Context()); err == nil {
		t.Error("the comparison did not fail")
	}
	w.settle(t)
	told := map[string]int{}
	for _, h := range w.gateway.take() {
		told[h.event+" "+h.stream]++
	}
	want := map[string]int{EventEnded + " " + first.ID: 2, EventEnded + " " + second.ID: 2}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	w.settle(t)
	if got := w.gateway.take(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}
