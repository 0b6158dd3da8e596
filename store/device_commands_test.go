package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestCommands(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		first, second := w.command(), w.command()
		second.Payload = nil
		for _, c := range []store.Command{first, second} {
			wantErr(t, db.CreateCommand(ctx, c, w.by), nil)
		}
		got, err := db.Command(ctx, w.user.ID, first.ID)
		wantErr(t, err, nil)
		want(t, "command", got, first)
		claimedAt := at.Add(time.Second)
		pending, err := db.ClaimPendingCommands(ctx, w.camera.ID, 10, claimedAt)
		wantErr(t, err, nil)
		first.Attempt, second.Attempt = 1, 1
		first.UpdatedAt, second.UpdatedAt = claimedAt, claimedAt
		want(t, "pending", pending, []store.Command{first, second})

		wantErr(t, db.MarkCommandSent(ctx, first.ID, 1, at), nil)
		wantErr(t, db.MarkCommandSent(ctx, first.ID, 1, at.Add(time.Second)), nil)
		wantErr(t, db.MarkCommandSent(ctx, "unknown", 0, at), store.ErrNotFound)

		ackAt := at.Add(time.Minute)
		_, err = db.AckCommand(ctx, w.client.ID, first.ID, store.CommandAcknowledged, nil, "", ackAt, w.by)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.AckCommand(ctx, w.camera.ID, first.ID, store.CommandSent, nil, "", ackAt, w.by)
		wantErr(t, err, store.ErrConflict)
		got, err = db.AckCommand(ctx, w.camera.ID, first.ID, store.CommandRejected, json.RawMessage(`[1]`), "no", ackAt, w.by)
		wantErr(t, err, nil)
		first.Status, first.RetryCount, first.SentAt = store.CommandRejected, 1, at.Add(time.Second)
		first.Result, first.Error, first.AckAt, first.UpdatedAt = json.RawMessage(`[1]`), "no", ackAt, ackAt
		want(t, "answered command", got, first)
		_, err = db.AckCommand(ctx, w.camera.ID, first.ID, store.CommandAcknowledged, nil, "", ackAt, w.by)
		wantErr(t, err, store.ErrConflict)
		wantErr(t, db.MarkCommandSent(ctx, first.ID, 1, at), store.ErrConflict)

		both := []store.Command{second, first}
		for name, tt := range map[string]struct {
			by   store.CommandFilter
			list []store.Command
		}{
			"all":          {store.CommandFilter{}, both},
			"camera":       {store.CommandFilter{DeviceIDs: []string{w.camera.ID}}, both},
			"both devices": {store.CommandFilter{DeviceIDs: []string{w.client.ID, w.camera.ID}}, both},
			"other device": {store.CommandFilter{DeviceIDs: []string{w.client.ID, "other"}}, nil},
			"status":       {store.CommandFilter{Status: store.CommandRejected}, both[1:]},
			"type":         {store.CommandFilter{CommandType: "start_stream"}, both},
			"other type":   {store.CommandFilter{CommandType: "x", Status: store.CommandQueued}, nil},
		} {
			list, err := db.Commands(ctx, w.user.ID, tt.by, store.Page{})
			wantErr(t, err, nil)
			want(t, name, list, tt.list)
		}
	})
}
