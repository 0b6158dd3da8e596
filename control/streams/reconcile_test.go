package streams

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w *world) settle(t *testing.T) {
	t.Helper()
	if err := w.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// after lets time pass as Run would see it, with comparisons on the way.
func (w *world) after(t *testing.T, d time.Duration) {
	t.Helper()
	for d > 0 {
		step := min(d, 20*time.Second)
		w.clock.advance(step)
		w.settle(t)
		d -= step
	}
}

func TestCameraUnavailable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.gateway.take()
	w.after(t, 59*time.Second)
	w.wantStatus(t, s.ID, store.StreamRequested, "")
	w.after(t, time.Second)
	w.wantStatus(t, s.ID, store.StreamFailed, store.ReasonCameraUnavailable)
	want := []hearing{
		{w.camera.DeviceID, EventEnded, s.ID, "failed"},
		{w.client.DeviceID, EventEnded, s.ID, "failed"},
	}
	if got := w.gateway.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

// stopsAfterEnd is a store whose server is stopped as soon as a stream has
// ended.
type stopsAfterEnd struct {
	Store
	stop func()
}

func (s stopsAfterEnd) EndStream(
	ctx context.Context, userID, id string, to store.StreamStatus, reason string, at time.Time, by store.Actor,
) (store.Stream, store.MediaSession, error) {
	defer s.stop()
	return s.Store.EndStream(ctx, userID, id, to, reason, at, by)
}

// TestStopTellsOfWhatEnded holds that a stop right after the end of a stream
// keeps nobody from hearing of it.
func TestStopTellsOfWhatEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	w.settle(t)
	w.gateway.take()
	w.clock.advance(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.store = stopsAfterEnd{w.store, cancel}
	w.tick(ctx)
	want := []hearing{
		{w.camera.DeviceID, EventEnded, s.ID, "failed"},
		{w.client.DeviceID, EventEnded, s.ID, "failed"},
	}
	if got := w.gateway.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

func TestCameraLost(t *testing.T) {
	t.Parallel()
	t.Run("never came", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.streaming(t, w.client)
		w.after(t, 29*time.Second)
		w.wantStatus(t, s.ID, store.StreamStreaming, "")
		w.after(t, time.Second)
		w.wantStatus(t, s.ID, store.StreamFailed, store.ReasonCameraLost)
	})
	t.Run("went away", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		first, second := w.streaming(t, w.client), w.streaming(t, w.second)
		w.media.publish(first.MediaSessionID, first.ID, second.ID)
		w.after(t, 5*time.Minute)
		w.media.lose(first.MediaSessionID)
		w.PublisherDown(first.MediaSessionID)
		w.after(t, 29*time.Second)
		w.wantStatus(t, first.ID, store.StreamStreaming, "")
		w.media.take()
		w.after(t, time.Second)
		w.wantStatus(t, first.ID, store.StreamFailed, store.ReasonCameraLost)
		w.wantStatus(t, second.ID, store.StreamFailed, store.ReasonCameraLost)
		want := []string{"end " + first.MediaSessionID + " " + store.ReasonCameraLost}
		if got := w.media.take(); !reflect.DeepEqual(got, want) {
			t.Errorf("the SFU heard %v, want %v", got, want)
		}
	})
	t.Run("came back in time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.streaming(t, w.client)
		for range 3 {
			w.media.publish(s.MediaSessionID, s.ID)
			w.after(t, 10*time.Second)
			w.media.lose(s.MediaSessionID)
			w.after(t, 29*time.Second)
		}
		w.wantStatus(t, s.ID, store.StreamStreaming, "")
	})
	t.Run("forgotten by the SFU", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.streaming(t, w.client)
		w.media.publish(s.MediaSessionID, s.ID)
		w.after(t, time.Minute)
		w.media.End(s.MediaSessionID, "")
		w.after(t, 29*time.Second)
		w.wantStatus(t, s.ID, store.StreamStreaming, "")
		w.after(t, time.Second)
		w.wantStatus(t, s.ID, store.StreamFailed, store.ReasonCameraLost)
	})
	t.Run("a new process gives it time", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		s := w.streaming(t, w.client)
		w.clock.advance(time.Hour)
		w.Service = w.process(w.db)
		w.after(t, 29*time.Second)
		w.wantStatus(t, s.ID, store.StreamStreaming, "")
		w.after(t, time.Second)
		w.wantStatus(t, s.ID, store.StreamFailed, store.ReasonCameraLost)
	})
}

func TestViewerLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	id := first.MediaSessionID
	w.media.publish(id, first.ID, second.ID)
	w.after(t, 2*time.Minute)
	w.media.publish(id, second.ID)
	w.ViewerDown(first.ID)
	w.after(t, 59*time.Second)
	w.wantStatus(t, first.ID, store.StreamStreaming, "")
	w.after(t, time.Second)
	w.wantStatus(t, first.ID, store.StreamCompleted, ReasonViewerLeft)
	w.wantStatus(t, second.ID, store.StreamStreaming, "")

	w.media.take()
	w.media.publish(id)
	w.after(t, time.Minute)
	w.wantStatus(t, second.ID, store.StreamCompleted, ReasonViewerLeft)
	if got, want := w.media.take(), []string{"end " + id + " " + ReasonViewerLeft}; !reflect.DeepEqual(got, want) {
		t.Errorf("the SFU heard %v, want %v", got, want)
	}
}

func TestOrphansAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	id := first.MediaSessionID
	must[store.Stream](t)(w.End(t.Context(), w.client, first.ID, ""))
	w.media.publish(id, first.ID, second.ID)
	w.media.publish("of-no-row")
	w.media.take()
	w.settle(t)
	got := strings.Join(w.media.take(), ", ")
	closed, ended := "close "+id+" "+first.ID+" ended", "end of-no-row ended"
	if got != closed+", "+ended && got != ended+", "+closed {
		t.Errorf("the SFU heard %q, want %q and %q", got, closed, ended)
	}
	w.settle(t)
	if again := w.media.take(); len(again) != 0 {
		t.Errorf("the next comparison did %v, want nothing", again)
	}
}

// TestEndsOfTheStoreAreTold lets links and devices go, with which the store
// ends streams.
func TestEndsOfTheStoreAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, second := w.streaming(t, w.client), w.streaming(t, w.second)
	w.media.publish(first.MediaSessionID, first.ID, second.ID)
	w.settle(t)
	w.gateway.take()
	link := must[store.Link](t)(w.db.ActiveLink(t.Context(), w.camera.DeviceID, w.client.DeviceID))
	if err := w.db.RevokeLink(t.Context(), w.user.ID, link.ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	w.wantStatus(t, first.ID, store.StreamCompleted, store.ReasonLinkRevoked)
	want := []hearing{
		{w.camera.DeviceID, EventEnded, first.ID, "completed"},
		{w.client.DeviceID, EventEnded, first.ID, "completed"},
	}
	if got := w.gateway.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	closed := []string{"close " + first.MediaSessionID + " " + first.ID + " ended"}
	if got := w.media.take(); !reflect.DeepEqual(got, closed) {
		t.Errorf("the SFU heard %v, want %v", got, closed)
	}

	if err := w.db.DeleteDevice(t.Context(), w.user.ID, w.camera.DeviceID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	w.wantStatus(t, second.ID, store.StreamCompleted, store.ReasonDeviceDeleted)
	if got := w.gateway.take(); len(got) != 2 || got[1].device != w.second.DeviceID {
		t.Errorf("told %v, want the end to both", got)
	}
	if got, want := w.media.take(), []string{"end " + second.MediaSessionID + " ended"}; !reflect.DeepEqual(got, want) {
		t.Errorf("the SFU heard %v, want %v", got, want)
	}
	w.settle(t)
	if got := w.gateway.take(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
}

func TestEndingsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	second := must[store.Stream](t)(w.Request(t.Context(), w.second, w.camera.DeviceID, ""))
	w.cfg.EndingsPerTick = 1
	w.clock.advance(time.Minute)
	w.settle(t)
	w.wantStatus(t, first.ID, store.StreamFailed, store.ReasonCameraUnavailable)
	w.wantStatus(t, second.ID, store.StreamRequested, "")
	w.settle(t)
	w.wantStatus(t, second.ID, store.StreamFailed, store.ReasonCameraUnavailable)
}

// TestManyProcesses lets several processes find the same overdue rows at once.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	requested := must[store.Stream](t)(w.Request(t.Context(), w.client, w.camera.DeviceID, ""))
	other := device(storetest.Camera(t, w.db, w.user.ID))
	lost := must[store.MediaSession](t)(w.OpenMedia(t.Context(), other))
	w.gateway.take()
	w.clock.advance(time.Hour)

	var wg sync.WaitGroup
	for range 4 {
		process := w.process(w.db)
		process.startedAt = time.Time{}
		wg.Go(func() {
			if err := process.reconcile(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	w.wantStatus(t, requested.ID, store.StreamFailed, store.ReasonCameraUnavailable)
	if got := w.gateway.take(); len(got) != 2 {
		t.Errorf("told %v, want one end for each of two devices", got)
	}
	if got, want := w.media.take(), []string{"end " + lost.ID + " " + store.ReasonCameraLost}; !reflect.DeepEqual(got, want) {
		t.Errorf("the SFU heard %v, want %v", got, want)
	}
}

// failingStore is an empty store that can be away.
type failingStore struct {
	Store
	away  atomic.Bool
	reads atomic.Int64
}

func (s *failingStore) OpenMediaSessions(context.Context) ([]store.MediaSession, error) {
	s.reads.Add(1)
	if s.away.Load() {
		return nil, errors.New("away")
	}
	return nil, nil
}

func (s *failingStore) RenewMediaSessions(context.Context, string, time.Time) error { return nil }

func (s *failingStore) OpenStreams(context.Context) ([]store.Stream, error) { return nil, nil }

func TestRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		rows := &failingStore{}
		s := New(Config{Store: rows, Gateway: &fakeGateway{}, Media: &fakeMedia{}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		pass := func(d time.Duration, reads int64) {
			t.Helper()
			before := rows.reads.Load()
			<-time.After(d)
			synctest.Wait()
			if got := rows.reads.Load() - before; got != reads {
				t.Errorf("%d comparisons in %s, want %d", got, d, reads)
			}
		}
		synctest.Wait()
		pass(time.Second, 0)
		for range 1000 { // a storm is one comparison
			s.PublisherDown("m")
			s.ViewerDown("s")
		}
		pass(nudgeDelay, 1)
		pass(10*time.Second, 5+1) // the nudge that came while the first one waited

		rows.away.Store(true)
		pass(10*time.Second, 5)
		rows.away.Store(false)
		pass(10*time.Second, 5)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d log lines, want one for the outage and one for its end:\n%s", n, log.String())
		}
	})
}

func TestRunStopsWhileTheStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Store: hangingStore{}, Gateway: &fakeGateway{}, Media: &fakeMedia{}, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		<-time.After(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

type hangingStore struct{ Store }

func (hangingStore) RenewMediaSessions(context.Context, string, time.Time) error { return nil }

func (hangingStore) OpenMediaSessions(ctx context.Context) ([]store.MediaSession, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
