package erasure_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/erasure"
	"github.com/securecam/securecam/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a database and an object store of which some objects do not go.
type world struct {
	mu      sync.Mutex
	rows    []store.Erasure
	objects map[string]bool
	stuck   string
	doomed  map[string]time.Time
}

func (w *world) DoomedObjects(_ context.Context, at time.Time, limit int) (keys []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, due := range w.doomed {
		if !due.After(at) && len(keys) < limit {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func (w *world) ForgetDoomed(_ context.Context, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.doomed, key)
	return nil
}

func (w *world) PostponeDoomed(_ context.Context, key string, until time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doomed[key] = until
	return nil
}

func (w *world) Erasures(_ context.Context, after string, limit int) ([]store.Erasure, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []store.Erasure
	for _, e := range w.rows {
		if e.ID > after && len(list) < limit {
			list = append(list, e)
		}
	}
	return list, nil
}

func (w *world) Erase(_ context.Context, gone store.Erasure) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, e := range w.rows {
		if e == gone {
			w.rows = append(w.rows[:i:i], w.rows[i+1:]...)
			return nil
		}
	}
	return store.ErrNotFound
}

func (w *world) Delete(_ context.Context, key string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key == w.stuck {
		return errors.New("not now")
	}
	delete(w.objects, key)
	return nil
}

func (w *world) add(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = append(w.rows, store.Erasure{Table: "recordings", ID: id, ObjectKey: "key " + id})
	w.objects["key "+id] = true
}

func (w *world) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rows) != len(w.objects) {
		return -1
	}
	return len(w.rows)
}

func TestEverythingGoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{objects: map[string]bool{}, stuck: "key b"}
		for _, id := range []string{"a", "b", "c"} {
			w.add(id)
		}
		s := erasure.New(erasure.Config{Store: w, Objects: w})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		synctest.Wait()
		if w.left() != 1 {
			t.Errorf("%d are left, want the one that is stuck", w.left())
		}
		w.add("d")
		s.Nudge()
		s.Nudge()
		synctest.Wait()
		if w.left() != 1 {
			t.Errorf("%d are left after a nudge", w.left())
		}
		w.mu.Lock()
		w.stuck = ""
		w.mu.Unlock()
		time.Sleep(time.Minute) //nolint:forbidigo // of the bubble's own clock
		synctest.Wait()
		if got := s.Stats(); w.left() != 0 || got.Erased != 4 || got.Failed < 2 {
			t.Errorf("%d are left, got %+v", w.left(), got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDoomed has uploads come by URLs whose rows are gone: they are deleted
// once the URL has expired, not before.
func TestDoomed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		soon, late := time.Now().Add(30*time.Second), time.Now().Add(time.Hour)
		w := &world{
			objects: map[string]bool{"a": true, "b": true, "c": true}, stuck: "b",
			doomed: map[string]time.Time{"a": soon, "b": soon, "c": late, "never came": soon},
		}
		s := erasure.New(erasure.Config{Store: w, Objects: w})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		for _, step := range []struct {
			after           time.Duration
			objects, doomed int
		}{{time.Second, 3, 4}, {time.Minute, 2, 2}, {2 * time.Minute, 1, 1}, {time.Hour, 0, 0}} {
			time.Sleep(step.after) //nolint:forbidigo // of the bubble's own clock
			synctest.Wait()
			w.mu.Lock()
			if len(w.objects) != step.objects || len(w.doomed) != step.doomed {
				t.Errorf("after %v: objects %v, doomed %v", step.after, w.objects, w.doomed)
			}
			w.stuck = ""
			if step.after == time.Second {
				w.stuck = "b"
			}
			w.mu.Unlock()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// hanging is an object store that answers nothing about some objects.
type hanging struct {
	*world
	keys map[string]bool
}

func (h hanging) Delete(ctx context.Context, key string) error {
	if h.keys[key] {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.world.Delete(ctx, key)
}

// TestHangingStore holds that what hangs takes a bounded time, and that the
// rest goes nevertheless: behind it, and what is doomed.
func TestHangingStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{objects: map[string]bool{"doomed": true}, doomed: map[string]time.Time{"doomed": time.Now()}}
		h := hanging{w, map[string]bool{}}
		for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
			w.add(id)
			h.keys["key "+id] = id < "e"
		}
		s := erasure.New(erasure.Config{Store: w, Objects: h})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		for _, step := range []struct {
			after        time.Duration
			rows, doomed int
		}{{35 * time.Second, 6, 0}, {time.Minute, 4, 0}} {
			time.Sleep(step.after) //nolint:forbidigo // of the bubble's own clock
			synctest.Wait()
			w.mu.Lock()
			if len(w.rows) != step.rows || len(w.doomed) != step.doomed {
				t.Errorf("after %v: rows %v, doomed %v", step.after, w.rows, w.doomed)
			}
			w.mu.Unlock()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
