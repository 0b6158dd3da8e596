package recordings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestRecordsAStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordSession, nil)
	stream := w.watch()
	w.PublisherUp(stream.MediaSessionID)
	w.PublisherUp(stream.MediaSessionID) // a takeover
	running := w.await(1, store.RecordingRunning)[0]
	if running.StreamID != stream.ID || running.RequesterDeviceID != w.client.DeviceID || running.NodeID != node ||
		running.ObjectKey != "recordings/"+w.camera.DeviceID+"/"+running.ID+".webm" || running.StartedAt.IsZero() {
		t.Errorf("row %+v", running)
	}
	w.looks()
	w.Ended(stream.MediaSessionID)
	w.Ended(stream.MediaSessionID)
	ready := w.await(1, store.RecordingReady)[0]
	if ready.Duration != 10*time.Second || ready.Size != 1000 || ready.EndedAt.IsZero() {
		t.Errorf("row %+v", ready)
	}
	if n := len(w.rows()); n != 1 {
		t.Errorf("%d recordings, want 1", n)
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, store.RecordOff, nil)
		stream := w.watch()
		w.PublisherUp(stream.MediaSessionID)
		w.looks()
		if rows := w.rows(); len(rows) > 0 {
			t.Fatalf("recorded %+v", rows)
		}
		w.setPolicy(store.RecordSession)
		w.await(1, store.RecordingRunning)
		w.setPolicy(store.RecordOff)
		w.await(1, store.RecordingReady)
	})
	t.Run("session", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, store.RecordSession, nil)
		w.PublisherUp(w.goLive())
		w.looks()
		if rows := w.rows(); len(rows) > 0 {
			t.Fatalf("recorded though nobody watches: %+v", rows)
		}
		stream := w.watch()
		w.await(1, store.RecordingRunning)
		_, _, err := w.db.EndStream(t.Context(), w.user.UserID, stream.ID, store.StreamCompleted, "done", storetest.Now(), w.client.Actor())
		if err != nil {
			t.Fatal(err)
		}
		w.await(1, store.RecordingReady)
	})
	t.Run("continuous", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, store.RecordContinuous, nil)
		id := w.goLive()
		w.PublisherUp(id)
		if r := w.await(1, store.RecordingRunning)[0]; r.StreamID != "" || r.MediaSessionID != id {
			t.Errorf("row %+v", r)
		}
	})
}

// TestStorageLimit records nothing while its owner's things take up all that
// they may, and goes on when there is room again.
func TestStorageLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordSession, func(c *Config) { c.RestartPause = time.Millisecond })
	w.db.SetLimits(store.Limits{Storage: 100})
	id, at := storetest.ID(), storetest.Now()
	err := w.db.CreateVideo(t.Context(), store.Video{
		ID: id, UserID: w.user.UserID, ObjectKey: "videos/" + id, Size: 100, ExpiresAt: at, CreatedAt: at,
	}, 1, store.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	stream := w.watch()
	w.PublisherUp(stream.MediaSessionID)
	w.looks()
	if rows := w.rows(); len(rows) > 0 {
		t.Fatalf("recorded %+v", rows)
	}
	if err := w.db.FailVideo(t.Context(), w.user.UserID, id, at); err != nil {
		t.Fatal(err)
	}
	w.await(1, store.RecordingRunning)
}

// TestWatchedForLong has one client that keeps watching while another comes and
// goes.
func TestWatchedForLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordSession, nil)
	first := w.watch()
	w.PublisherUp(first.MediaSessionID)
	w.await(1, store.RecordingRunning)
	other := *w
	other.client.DeviceID = storetest.Client(t, w.db, w.user.UserID).ID
	for range 60 {
		short := other.watch()
		_, _, err := w.db.EndStream(t.Context(), w.user.UserID, short.ID, store.StreamCompleted, "done", storetest.Now(), w.user.Actor())
		if err != nil {
			t.Fatal(err)
		}
	}
	w.looks()
	if rows := w.rows(); len(rows) != 1 || rows[0].Status != store.RecordingRunning || rows[0].StreamID != first.ID {
		t.Errorf("recordings %+v, want the first one to go on", rows)
	}
}

func TestRollsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, func(c *Config) { c.SegmentLength = 30 * time.Millisecond })
	id := w.goLive()
	w.PublisherUp(id)
	w.await(3, store.RecordingReady)
	w.Ended(id)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.rows() {
		if r.Status != store.RecordingReady {
			t.Errorf("left %+v", r)
		}
	}
	if w.recorder.most < 2 { // more when Stop is slow
		t.Errorf("%d recordings at once, want the old one until the new one runs", w.recorder.most)
	}
}

func TestBreaks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		pause   time.Duration
		running int
	}{{"begins another", time.Nanosecond, 1}, {"not at once", time.Hour, 0}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store.RecordContinuous, func(c *Config) { c.RestartPause = test.pause })
			w.PublisherUp(w.goLive())
			first := w.await(1, store.RecordingRunning)[0]
			w.recorder.mu.Lock()
			w.recorder.broken[first.ObjectKey] = errors.New("spool is full")
			w.recorder.mu.Unlock()
			if r := w.await(1, store.RecordingReady)[0]; r.ID != first.ID {
				t.Errorf("ready is %s, want %s", r.ID, first.ID)
			}
			w.await(test.running, store.RecordingRunning)
			w.looks()
			if n := len(w.rows()); n != 1+test.running {
				t.Errorf("%d recordings, want %d", n, 1+test.running)
			}
		})
	}
}

func TestCloseCompletes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, nil)
	id := w.goLive()
	w.PublisherUp(id)
	w.await(1, store.RecordingRunning)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := w.rows()[0]; r.Status != store.RecordingReady {
		t.Errorf("after Close %+v", r)
	}
	w.PublisherUp(id)
	w.Ended(id)
	if n := len(w.rows()); n != 1 {
		t.Errorf("%d recordings after Close, want 1", n)
	}
}

func TestCloseLeavesWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, nil)
	w.recorder.stop = func(ctx context.Context, _ string) (Result, error) {
		<-ctx.Done()
		return Result{}, ctx.Err()
	}
	w.PublisherUp(w.goLive())
	w.await(1, store.RecordingRunning)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := w.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close: %v", err)
	}
	if r := w.rows()[0]; r.Status != store.RecordingRunning {
		t.Errorf("after Close %+v, want it left to Recover", r)
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	tests := []struct {
		name   string
		result Result
		err    error
		object int64 // its size, 0 for none
		stat   error
		want   store.RecordingStatus
		reason string
	}{
		{name: "whole", result: Result{Duration: 1000, Size: 5}, object: 5, want: store.RecordingReady},
		{name: "no media", result: Result{Empty: true}, want: store.RecordingFailed, reason: "no_media"},
		{name: "shorter", result: Result{Duration: 1000, Size: 5}, err: broken, object: 5, want: store.RecordingReady},
		{name: "committed before", err: fs.ErrNotExist, object: 7, want: store.RecordingReady},
		{name: "lost", err: fmt.Errorf("resume: %w", fs.ErrNotExist), want: store.RecordingFailed, reason: "object_lost"},
		{name: "broken", err: broken, want: store.RecordingFailed, reason: "storage_failed"},
		{name: "broken and empty", result: Result{Empty: true}, err: broken, want: store.RecordingFailed, reason: "no_media"},
		{name: "store away", err: broken, stat: broken, want: store.RecordingRunning},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, store.RecordContinuous, nil)
			w.recorder.stop = func(_ context.Context, key string) (Result, error) {
				if test.object > 0 {
					w.objects.put(key, test.object)
				}
				w.objects.setErr(test.stat)
				return test.result, test.err
			}
			w.PublisherUp(w.goLive())
			w.await(1, store.RecordingRunning)
			if err := w.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			r := w.rows()[0]
			if r.Status != test.want || r.Error != test.reason || r.Status == store.RecordingReady && r.Size != test.object {
				t.Errorf("got %s %q, %d bytes; want %s %q", r.Status, r.Error, r.Size, test.want, test.reason)
			}
		})
	}
}

func TestNotStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, nil)
	w.recorder.startErr = errors.New("no such media session")
	w.PublisherUp(w.goLive())
	if r := w.await(1, store.RecordingFailed)[0]; r.Error != "not_started" {
		t.Errorf("row %+v", r)
	}
	w.looks()
	if n := len(w.rows()); n != 1 {
		t.Errorf("%d recordings, want 1: it must not try for ever", n)
	}
}

func TestRecover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, nil)
	id := w.goLive()
	add := func(key, nodeID string) {
		at := storetest.Now()
		err := w.db.CreateRecording(t.Context(), store.Recording{
			ID: storetest.ID(), OwnerUserID: w.user.UserID, CameraDeviceID: w.camera.DeviceID, MediaSessionID: id,
			NodeID: nodeID, Status: store.RecordingRunning, ObjectKey: key, ContentType: contentType,
			StartedAt: at.Add(-time.Minute), CreatedAt: at, UpdatedAt: at,
		}, store.Actor{})
		if err != nil {
			t.Fatal(err)
		}
	}
	add("unfinished", node)
	add("committed", node)
	add("empty", node)
	add("other-node", "node-2")
	w.objects.put("committed", 9)
	w.recorder.recover = func(key string) (Result, error) {
		switch key {
		case "unfinished":
			return Result{Duration: time.Second, Size: 3}, nil
		case "empty":
			return Result{Empty: true}, nil
		}
		return Result{}, fmt.Errorf("recover: %w", fs.ErrNotExist)
	}
	if err := w.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]store.Recording{}
	for _, r := range w.rows() {
		got[r.ObjectKey] = r
	}
	if r := got["unfinished"]; r.Status != store.RecordingReady || r.Duration != time.Second || r.Size != 3 {
		t.Errorf("unfinished: %+v", r)
	}
	if r := got["committed"]; r.Status != store.RecordingReady || r.Duration < time.Minute || r.Duration > time.Hour || r.Size != 9 {
		t.Errorf("committed: %+v", r)
	}
	if r := got["empty"]; r.Status != store.RecordingFailed || r.Error != "no_media" {
		t.Errorf("empty: %+v", r)
	}
	if r := got["other-node"]; r.Status != store.RecordingRunning {
		t.Errorf("another node's: %+v", r)
	}
}

// flaky is a database that fails sometimes.
type flaky struct {
	*store.DB
	fail chan error // each value fails one call
}

func (f flaky) next() error {
	select {
	case err := <-f.fail:
		return err
	default:
		return nil
	}
}

func (f flaky) MediaSession(ctx context.Context, id string) (store.MediaSession, error) {
	if err := f.next(); err != nil {
		return store.MediaSession{}, err
	}
	return f.DB.MediaSession(ctx, id)
}

func (f flaky) FinishRecording(ctx context.Context, id, contentType string, d time.Duration, size int64, at time.Time) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.DB.FinishRecording(ctx, id, contentType, d, size, at)
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	db := flaky{fail: make(chan error, 10)}
	w := newWorld(t, store.RecordContinuous, func(c *Config) {
		db.DB = c.Store.(*store.DB)
		c.Store = db
	})
	for range 3 {
		db.fail <- errors.New("away")
	}
	id := w.goLive()
	w.PublisherUp(id)
	w.await(1, store.RecordingRunning)
	for range 3 {
		db.fail <- errors.New("away")
	}
	w.looks()
	if n := len(w.await(1, store.RecordingRunning)); n != 1 {
		t.Errorf("%d recordings run, want 1", n)
	}
	w.Ended(id)
	w.await(1, store.RecordingReady)
}

func TestWriteRetries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	calls := 0
	err := w.write(t.Context(), func(context.Context) error {
		if calls++; calls == 1 {
			return errors.New("away")
		}
		return nil
	})
	if err != nil || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	calls = 0
	err = w.write(stopped, func(ctx context.Context) error {
		calls++
		return errors.Join(ctx.Err(), errors.New("away"))
	})
	if errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("when stopping: %v after %d calls", err, calls)
	}
}
