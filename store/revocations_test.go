package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// kinds returns what was revoked, oldest first, as "kind target".
func kinds(t *testing.T, db *store.DB, owner string) []string {
	t.Helper()
	list, err := db.Revocations(t.Context(), storetest.Now().Add(-time.Hour))
	wantErr(t, err, nil)
	var got []string
	for _, r := range list {
		if r.OwnerUserID == owner {
			got = append(got, string(r.Kind)+" "+r.TargetID)
		}
	}
	return got
}

func TestWhatIsRevoked(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		told := 0
		db.OnRevocation(func() { told++ })
		w := newWorld(t, db)
		want(t, "told before anything was revoked", told, 0)
		session := store.Session{
			ID: storetest.ID(), UserID: w.user.ID, TokenSHA256: []byte(w.user.ID), CreatedAt: storetest.Now(), ExpiresAt: storetest.Now(),
		}
		wantErr(t, db.CreateSession(ctx, session, w.by), nil)
		link, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)

		wantErr(t, db.DeleteSession(ctx, w.user.ID, session.ID, w.by), nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, link.ID, w.by), nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, link.ID, w.by), store.ErrConflict)
		wantErr(t, db.SetDeviceKey(ctx, w.user.ID, w.camera.ID, storetest.ID(), w.by), nil)
		role, name := store.RoleCamera, "porch"
		_, err = db.UpdateDevice(ctx, w.user.ID, w.client.ID, store.DeviceChange{Role: &role}, w.by)
		wantErr(t, err, nil)
		_, err = db.UpdateDevice(ctx, w.user.ID, w.client.ID, store.DeviceChange{Name: &name}, w.by)
		wantErr(t, err, nil)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.client.ID, w.by), nil)
		wantErr(t, db.RevokeUser(ctx, w.user.ID, w.by), nil)

		want(t, "revocations", kinds(t, db, w.user.ID), []string{
			"session " + session.ID, "link " + link.ID, "device " + w.camera.ID,
			"device " + w.client.ID, "device " + w.client.ID, "user " + w.user.ID,
		})
		if told < 6 {
			t.Errorf("told %d times of six revocations", told)
		}
		list, err := db.Revocations(ctx, storetest.Now().Add(-time.Hour))
		wantErr(t, err, nil)
		for _, r := range list {
			if r.Kind == store.RevokedLink && (r.CameraDeviceID != w.camera.ID || r.ClientDeviceID != w.client.ID) {
				t.Errorf("the revoked link is %+v", r)
			}
		}
		_, err = db.DeleteRevocations(ctx, storetest.Now().Add(time.Hour))
		wantErr(t, err, nil)
		want(t, "revocations left", len(kinds(t, db, w.user.ID)), 0)
	})
}

func TestRevokedUserHoldsNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, other := newWorld(t, db), newWorld(t, db)
		s := w.request(t)
		_, media := w.accept(t, s.ID)
		session := store.Session{
			ID: storetest.ID(), UserID: w.user.ID, TokenSHA256: []byte(w.user.ID), CreatedAt: storetest.Now(), ExpiresAt: storetest.Now(),
		}
		wantErr(t, db.CreateSession(ctx, session, w.by), nil)

		wantErr(t, db.SetUserDisabled(ctx, w.user.ID, false, w.by), store.ErrConflict)
		wantErr(t, db.SetUserDisabled(ctx, w.user.ID, true, w.by), nil)
		wantErr(t, db.SetUserDisabled(ctx, w.user.ID, true, w.by), store.ErrConflict)

		wantErr(t, second(db.Session(ctx, w.user.ID, session.ID)), store.ErrNotFound)
		wantErr(t, db.CreateSession(ctx, session, w.by), store.ErrDisabled)
		ended, err := db.Stream(ctx, w.user.ID, s.ID)
		wantErr(t, err, nil)
		want(t, "reason", ended.Reason, store.ReasonUserRevoked)
		m, err := db.MediaSession(ctx, media.ID)
		wantErr(t, err, nil)
		if m.EndedAt.IsZero() {
			t.Error("the media session goes on")
		}
		for _, before := range []store.Device{w.camera, w.client} {
			d, err := db.Device(ctx, w.user.ID, before.ID)
			wantErr(t, err, nil)
			if d.TokenKeyID == before.TokenKeyID || d.TokenKeyID == "" {
				t.Errorf("the token key of the %s is %q", d.Role, d.TokenKeyID)
			}
		}
		untouched, err := db.Device(ctx, other.user.ID, other.camera.ID)
		wantErr(t, err, nil)
		want(t, "another user's device", untouched.TokenKeyID, other.camera.TokenKeyID)

		wantErr(t, db.SetUserDisabled(ctx, w.user.ID, false, w.by), nil)
		wantErr(t, db.CreateSession(ctx, session, w.by), nil)
		wantErr(t, db.RevokeUser(ctx, storetest.ID(), w.by), store.ErrNotFound)
	})
}
