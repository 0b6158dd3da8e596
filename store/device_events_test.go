package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

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

// as returns the command with another status.
func as(c store.Command, status store.CommandStatus) store.Command {
	c.Status = status
	return c
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
			return db.AppendCommandEvent(ctx, as(c, status), device, e, 10)
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
		wantNews(store.CommandSent, 0, store.ErrConflict)
		wantNews(store.CommandRejected, 3, nil) // nobody has told of it yet
	})
}

// TestCommandEventsBeforeRetry appends news of a command that was queued again
// since, and has the same status once more.
func TestCommandEventsBeforeRetry(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w, ctx, at := newWorld(t, db), t.Context(), storetest.Now()
		first := w.command()
		wantErr(t, db.CreateCommand(ctx, first, w.by), nil)
		wantErr(t, db.MarkCommandSent(ctx, first.ID, first.Attempt, at), nil)
		news := func(c store.Command) error {
			e := store.DeviceEvent{Event: "x", Data: []byte("{}"), CreatedAt: at}
			return second(db.AppendCommandEvent(ctx, c, w.client.ID, e, 10))
		}
		expired, err := db.ExpireCommands(ctx, store.CommandExpiry{At: at, SentBefore: at, CreatedBefore: at, Limit: 1})
		wantErr(t, err, nil)
		want(t, "expired", len(expired), 1)
		again, err := db.RetryCommand(ctx, w.user.ID, first.ID, at.Add(time.Second), w.by)
		wantErr(t, err, nil)
		wantErr(t, news(expired[0]), store.ErrConflict)
		wantErr(t, news(as(first, store.CommandQueued)), store.ErrConflict)
		wantErr(t, news(again), nil)
		wantErr(t, db.MarkCommandSent(ctx, first.ID, again.Attempt, at.Add(time.Second)), nil)
		wantErr(t, news(as(first, store.CommandSent)), store.ErrConflict)
		// Whoever claims it next does not take away the news of who sent it.
		_, err = db.ClaimPendingCommands(ctx, w.camera.ID, 1, at.Add(time.Second))
		wantErr(t, err, nil)
		wantErr(t, news(as(again, store.CommandSent)), nil)
	})
}

// TestCommandsEndWithOthers ends commands by each change that ends them by the
// way: somebody is told of them as they are then, which is news.
func TestCommandsEndWithOthers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		by   func(t *testing.T, w world, stream string)
		want store.CommandStatus
		err  map[string]string // by command type
	}{
		"stream accepted": {func(t *testing.T, w world, s string) { t.Helper(); w.accept(t, s) }, store.CommandAcknowledged, nil},
		"stream ended": {
			func(t *testing.T, w world, s string) { t.Helper(); w.end(t, s) }, store.CommandFailed,
			map[string]string{"start_stream": "stream_ended"},
		},
		"camera deleted": {func(t *testing.T, w world, _ string) {
			t.Helper()
			wantErr(t, w.db.DeleteDevice(t.Context(), w.user.ID, w.camera.ID, w.by), nil)
		}, store.CommandFailed, map[string]string{"start_stream": "stream_ended", "zoom": "device_deleted"}},
		"link revoked": {func(t *testing.T, w world, _ string) {
			t.Helper()
			link, err := w.db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
			wantErr(t, err, nil)
			wantErr(t, w.db.RevokeLink(t.Context(), w.user.ID, link.ID, w.by), nil)
		}, store.CommandFailed, map[string]string{"start_stream": "stream_ended", "zoom": "link_revoked"}},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var told []store.Command
		db.OnCommandsEnded(func(_ context.Context, ended []store.Command) { told = append(told, ended...) })
		for name, test := range tests {
			w := newWorld(t, db)
			zoom := w.command()
			zoom.CommandType = "zoom"
			wantErr(t, db.CreateCommand(t.Context(), zoom, w.by), nil)
			stream := w.request(t)
			want(t, "told before "+name, len(told), 0)
			test.by(t, w, stream.ID)
			want(t, "told after "+name, len(told), max(len(test.err), 1))
			for _, c := range told {
				want(t, name, c.Status, test.want)
				want(t, name, c.Error, test.err[c.CommandType])
				e := store.DeviceEvent{Event: "x", Data: []byte("{}"), CreatedAt: storetest.Now()}
				wantErr(t, second(db.AppendCommandEvent(t.Context(), c, w.client.ID, e, 10)), nil)
			}
			told = nil
		}
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
				return second(db.AppendCommandEvent(ctx, as(c, status), w.client.ID, e, 2))
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
