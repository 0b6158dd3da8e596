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
		pending, err := db.PendingCommands(ctx, w.camera.ID, 10)
		wantErr(t, err, nil)
		want(t, "pending", pending, []store.Command{first, second})

		wantErr(t, db.MarkCommandSent(ctx, first.ID, at), nil)
		wantErr(t, db.MarkCommandSent(ctx, first.ID, at.Add(time.Second)), nil)
		wantErr(t, db.MarkCommandSent(ctx, "unknown", at), store.ErrNotFound)

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
		wantErr(t, db.MarkCommandSent(ctx, first.ID, at), store.ErrConflict)

		for _, device := range []string{"", w.camera.ID, w.client.ID} {
			list, err := db.Commands(ctx, w.user.ID, device, store.Page{})
			wantErr(t, err, nil)
			want(t, "commands", list, []store.Command{second, first})
		}
	})
}
