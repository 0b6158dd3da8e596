package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestDeviceEvents(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		wantRange := func(oldest, newest int64) {
			t.Helper()
			gotOldest, gotNewest, err := db.DeviceEventRange(ctx, w.camera.ID)
			wantErr(t, err, nil)
			want(t, "range", [2]int64{gotOldest, gotNewest}, [2]int64{oldest, newest})
		}
		wantRange(0, 0)
		for i := range 5 {
			e := store.DeviceEvent{
				Event: "x", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i+1)), CreatedAt: storetest.Now(),
			}
			seq, err := db.AppendDeviceEvent(ctx, w.camera.ID, e, 3)
			wantErr(t, err, nil)
			want(t, "number", seq, int64(i+1))
		}
		wantRange(3, 5)
		for after, count := range map[int64]int{0: 3, 3: 2, 5: 0, 9: 0} {
			events, err := db.DeviceEvents(ctx, w.camera.ID, after, 10)
			wantErr(t, err, nil)
			want(t, "events", len(events), count)
		}
		events, err := db.DeviceEvents(ctx, w.camera.ID, 3, 1)
		wantErr(t, err, nil)
		want(t, "the next event", string(events[0].Data), `{"n":4}`)
		none, err := db.DeviceEvents(ctx, w.client.ID, 0, 10)
		wantErr(t, err, nil)
		want(t, "another device's events", len(none), 0)

		_, err = db.AppendDeviceEvent(ctx, "unknown", store.DeviceEvent{Data: json.RawMessage("{}")}, 3)
		wantErr(t, err, store.ErrNotFound)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.camera.ID, w.by), nil)
		wantRange(0, 0)
		_, err = db.AppendDeviceEvent(ctx, w.camera.ID, store.DeviceEvent{Data: json.RawMessage("{}")}, 3)
		wantErr(t, err, store.ErrNotFound)
	})
}

// TestDeviceEventsHaveNoHole reads while many write: what is seen is always a
// beginning of the whole.
func TestDeviceEventsHaveNoHole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		const writers, each = 4, 15
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					e := store.DeviceEvent{Event: "x", Data: json.RawMessage("{}"), CreatedAt: storetest.Now()}
					if _, err := db.AppendDeviceEvent(ctx, w.camera.ID, e, 1000); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for last := int64(0); last < writers*each && !t.Failed(); {
			events, err := db.DeviceEvents(ctx, w.camera.ID, last, 1000)
			wantErr(t, err, nil)
			for _, e := range events {
				if e.Seq != last+1 {
					t.Errorf("event %d follows %d", e.Seq, last)
				}
				last = e.Seq
			}
		}
		wg.Wait()
	})
}

// TestCommandEvents appends news of a command, which is none once the command
// has another status.
func TestCommandEvents(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, ctx, at := newWorld(t, db), t.Context(), storetest.Now()
		c := w.command()
		wantErr(t, db.CreateCommand(ctx, c, w.by), nil)
		news := func(status store.CommandStatus, device string) (int64, error) {
			e := store.DeviceEvent{Event: string(status), Data: []byte("{}"), CreatedAt: at}
			return db.AppendCommandEvent(ctx, c.ID, status, device, e, 10)
		}
		wantNews := func(status store.CommandStatus, seq int64, wanted error) {
			t.Helper()
			got, err := news(status, w.client.ID)
			wantErr(t, err, wanted)
			want(t, "number", got, seq)
		}
		wantNews(store.CommandSent, 0, store.ErrConflict)
		wantNews(store.CommandQueued, 1, nil)
		wantErr(t, db.MarkCommandSent(ctx, c.ID, c.Attempt, at), nil)
		wantNews(store.CommandQueued, 0, store.ErrConflict)
		wantNews(store.CommandSent, 2, nil)
		_, err := news(store.CommandSent, "nobody")
		wantErr(t, err, store.ErrNotFound)
		_, err = db.AckCommand(ctx, w.camera.ID, c.ID, store.CommandRejected, nil, "", at, w.by)
		wantErr(t, err, nil)
		wantNews(store.CommandSent, 0, store.ErrConflict)
		wantErr(t, db.DeleteCommand(ctx, w.user.ID, c.ID, w.by), nil)
		wantNews(store.CommandRejected, 3, nil) // nobody has told of it yet
	})
}

// TestCommandEventsInOrder has a camera answer at the same moment as somebody
// tells that the command was sent.
func TestCommandEventsInOrder(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, ctx, at := newWorld(t, db), t.Context(), storetest.Now()
		for range 20 {
			c := w.command()
			wantErr(t, db.CreateCommand(ctx, c, w.by), nil)
			wantErr(t, db.MarkCommandSent(ctx, c.ID, c.Attempt, at), nil)
			news := func(status store.CommandStatus) error {
				e := store.DeviceEvent{Event: string(status), Data: []byte("{}"), CreatedAt: at}
				return second(db.AppendCommandEvent(ctx, c.ID, status, w.client.ID, e, 2))
			}
			atOnce(t, 2, func(i int) error {
				if i == 0 {
					return news(store.CommandSent)
				}
				_, err := db.AckCommand(ctx, w.camera.ID, c.ID, store.CommandAcknowledged, nil, "", at, w.by)
				return errors.Join(err, news(store.CommandAcknowledged))
			})
			events, err := db.DeviceEvents(ctx, w.client.ID, 0, 2)
			wantErr(t, err, nil)
			if last := events[len(events)-1].Event; last != "acknowledged" {
				t.Fatalf("the last news is that it is %s", last)
			}
		}
	})
}
