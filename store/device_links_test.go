package store_test

import (
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestLinks(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		l, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		again := store.Link{
			ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, ClientDeviceID: w.client.ID,
			CreatedAt: storetest.Now(),
		}
		_, err = db.CreateLink(ctx, again, w.by)
		wantErr(t, err, store.ErrConflict)

		wantErr(t, db.RevokeLink(ctx, w.user.ID, l.ID, w.by), nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, l.ID, w.by), store.ErrConflict)
		_, err = db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.RequestStream(ctx, w.stream(), w.command(), w.by)
		wantErr(t, err, store.ErrNotFound)
		list, err := db.Links(ctx, w.user.ID, store.LinkFilter{DeviceID: w.client.ID}, store.Page{})
		wantErr(t, err, nil)
		if len(list) != 1 || list[0].ID != l.ID || list[0].Status != store.LinkRevoked {
			t.Errorf("got %+v, want the revoked link", list)
		}

		made, err := db.CreateLink(ctx, again, w.by)
		wantErr(t, err, nil)
		l.UpdatedAt = made.UpdatedAt
		want(t, "link that is active again", made, l)
		swapped := again
		swapped.CameraDeviceID, swapped.ClientDeviceID = w.client.ID, w.camera.ID
		_, err = db.CreateLink(ctx, swapped, w.by)
		wantErr(t, err, store.ErrConflict)
		list, err = db.Links(ctx, w.user.ID, store.LinkFilter{DeviceID: "another device"}, store.Page{})
		wantErr(t, err, nil)
		want(t, "links of another device", list, nil)
	})
}

func TestRevokeLinkEndsItsStreams(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		other := w
		other.client = storetest.Client(t, db, w.user.ID)
		s, stays := w.request(t), other.request(t)
		_, m := w.accept(t, s.ID)
		other.accept(t, stays.ID)
		l, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, l.ID, w.by), nil)

		s, err = db.Stream(ctx, w.user.ID, s.ID)
		wantErr(t, err, nil)
		want(t, "status", s.Status, store.StreamCompleted)
		want(t, "reason", s.Reason, "link_revoked")
		stays, err = db.Stream(ctx, w.user.ID, stays.ID)
		wantErr(t, err, nil)
		want(t, "the other client's stream", stays.Status, store.StreamStreaming)
		m, err = db.MediaSession(ctx, m.ID)
		wantErr(t, err, nil)
		if !m.EndedAt.IsZero() {
			t.Error("the media session ended though somebody watches")
		}
	})
}
