package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestRegisterDeviceLinksOppositeRoles(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		u, stranger := storetest.User(t, db), storetest.User(t, db)
		camera1, camera2 := storetest.Camera(t, db, u.ID), storetest.Camera(t, db, u.ID)
		storetest.Camera(t, db, stranger.ID)

		client := camera1
		client.ID, client.Role = storetest.ID(), store.RoleClient
		links, err := db.RegisterDevice(ctx, client, store.Actor{UserID: u.ID})
		wantErr(t, err, nil)
		if len(links) != 2 {
			t.Fatalf("got %d links, want 2", len(links))
		}
		for i, camera := range []store.Device{camera1, camera2} {
			l, err := db.ActiveLink(ctx, camera.ID, client.ID)
			wantErr(t, err, nil)
			want(t, "link", links[i], l)
		}

		_, err = db.RegisterDevice(ctx, client, store.Actor{})
		wantErr(t, err, store.ErrConflict)
		client.ID, client.UserID = storetest.ID(), storetest.ID()
		_, err = db.RegisterDevice(ctx, client, store.Actor{})
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestUpdateDevice(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		u := storetest.User(t, db)
		by := store.Actor{UserID: u.ID}
		d := storetest.Camera(t, db, u.ID)

		got, err := db.UpdateDevice(ctx, u.ID, d.ID, store.DeviceChange{}, by)
		wantErr(t, err, nil)
		d.UpdatedAt = got.UpdatedAt
		want(t, "unchanged device", got, d)

		d.Name, d.Platform, d.AppVersion, d.PushToken, d.RecordingPolicy = "door", "linux", "2", "p", store.RecordContinuous
		got, err = db.UpdateDevice(ctx, u.ID, d.ID, store.DeviceChange{
			Name: &d.Name, Platform: &d.Platform, AppVersion: &d.AppVersion, PushToken: &d.PushToken,
			RecordingPolicy: &d.RecordingPolicy,
		}, by)
		wantErr(t, err, nil)
		d.UpdatedAt = got.UpdatedAt
		want(t, "changed device", got, d)

		at := storetest.Now().Add(time.Minute)
		wantErr(t, db.SetPresence(ctx, d.ID, store.DeviceOffline, at), nil)
		wantErr(t, db.SetPresence(ctx, "unknown", store.DeviceOffline, at), store.ErrNotFound)
		wantErr(t, db.SetDeviceKey(ctx, u.ID, d.ID, "key 2", by), nil)
		got, err = db.DeviceByID(ctx, d.ID)
		wantErr(t, err, nil)
		d.Status, d.LastSeenAt, d.TokenKeyID, d.UpdatedAt = store.DeviceOffline, at, "key 2", got.UpdatedAt
		want(t, "device", got, d)
	})
}

func TestUpdateDeviceRole(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		camera2 := storetest.Camera(t, db, w.user.ID)
		role := store.RoleClient
		change := store.DeviceChange{Role: &role}

		s := w.request(t)
		_, err := db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, change, w.by)
		wantErr(t, err, store.ErrConflict)
		w.end(t, s.ID)
		m, err := db.OpenMediaSession(t.Context(), w.media(), w.by)
		wantErr(t, err, nil)
		_, err = db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, change, w.by)
		wantErr(t, err, store.ErrConflict)
		_, err = db.EndMediaSession(t.Context(), m.ID, "done", storetest.Now(), w.by)
		wantErr(t, err, nil)

		_, err = db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, change, w.by)
		wantErr(t, err, nil)
		_, err = db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.ActiveLink(t.Context(), camera2.ID, w.camera.ID)
		wantErr(t, err, nil)
		role = store.RoleCamera
		_, err = db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, change, w.by)
		wantErr(t, err, nil)
		_, err = db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		_, err = db.ActiveLink(t.Context(), camera2.ID, w.camera.ID)
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestRoleThereAndBackRevokesTokens(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		keys := map[string]bool{w.camera.TokenKeyID: true}
		for _, role := range []store.DeviceRole{store.RoleClient, store.RoleCamera, store.RoleClient, store.RoleCamera} {
			d, err := db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Role: &role}, w.by)
			wantErr(t, err, nil)
			kept, err := db.DeviceByID(t.Context(), d.ID)
			wantErr(t, err, nil)
			want(t, "key", kept.TokenKeyID, d.TokenKeyID)
			if keys[d.TokenKeyID] {
				t.Errorf("the key of the %s is one that it had before", role)
			}
			keys[d.TokenKeyID] = true
			same, err := db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Role: &role}, w.by)
			wantErr(t, err, nil)
			want(t, "key of an unchanged role", same.TokenKeyID, d.TokenKeyID)
		}
	})
}

func TestRevokedLinkOutlivesRoles(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		client2 := storetest.Client(t, db, w.user.ID)
		l, err := db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		wantErr(t, db.RevokeLink(t.Context(), w.user.ID, l.ID, w.by), nil)
		for _, device := range []string{w.camera.ID, w.client.ID} {
			there, err := db.Device(t.Context(), w.user.ID, device)
			wantErr(t, err, nil)
			other := store.RoleCamera
			if there.Role == other {
				other = store.RoleClient
			}
			for _, role := range []store.DeviceRole{other, there.Role} {
				_, err = db.UpdateDevice(t.Context(), w.user.ID, device, store.DeviceChange{Role: &role}, w.by)
				wantErr(t, err, nil)
			}
		}
		_, err = db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.ActiveLink(t.Context(), w.camera.ID, client2.ID)
		wantErr(t, err, nil)

		kept, err := db.Link(t.Context(), w.user.ID, l.ID)
		wantErr(t, err, nil)
		want(t, "status", kept.Status, store.LinkRevoked)
		l.CreatedAt = storetest.Now()
		made, err := db.CreateLink(t.Context(), l, w.by)
		wantErr(t, err, nil)
		want(t, "id of what the user links again", made.ID, l.ID)
	})
}

func TestDeleteCamera(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		watching := w.request(t)
		_, m := w.accept(t, watching.ID)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.camera.ID, w.by), nil)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.camera.ID, w.by), store.ErrNotFound)

		s, err := db.Stream(ctx, w.user.ID, watching.ID)
		wantErr(t, err, nil)
		want(t, "status", s.Status, store.StreamCompleted)
		want(t, "reason", s.Reason, "device_deleted")
		m, err = db.MediaSession(ctx, m.ID)
		wantErr(t, err, nil)
		if m.EndedAt.IsZero() {
			t.Error("the media session goes on")
		}
		_, err = db.DeviceByID(ctx, w.camera.ID)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.Device(ctx, w.user.ID, w.camera.ID)
		wantErr(t, err, store.ErrNotFound)
		wantErr(t, db.SetPresence(ctx, w.camera.ID, store.DeviceOnline, storetest.Now()), store.ErrNotFound)
		list, err := db.Devices(ctx, w.user.ID, store.DeviceFilter{}, store.Page{})
		wantErr(t, err, nil)
		want(t, "devices", list, []store.Device{w.client})
		links, err := db.Links(ctx, w.user.ID, store.LinkFilter{}, store.Page{})
		wantErr(t, err, nil)
		want(t, "links", links, nil)
		pending, err := db.ClaimPendingCommands(ctx, w.camera.ID, 10, storetest.Now())
		wantErr(t, err, nil)
		want(t, "pending commands", pending, nil)
		_, err = db.OpenMediaSession(ctx, w.media(), w.by)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.RequestStream(ctx, w.stream(), w.command(), w.by)
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestDeleteClient(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		camera2 := storetest.Camera(t, db, w.user.ID)
		watching := w.request(t)
		_, m := w.accept(t, watching.ID)
		asking := w.stream()
		asking.CameraDeviceID = camera2.ID
		cmd := w.command()
		cmd.TargetDeviceID = camera2.ID
		asking, err := db.RequestStream(ctx, asking, cmd, w.by)
		wantErr(t, err, nil)

		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.client.ID, w.by), nil)
		for id, status := range map[string]store.StreamStatus{
			watching.ID: store.StreamCompleted, asking.ID: store.StreamCancelled,
		} {
			s, err := db.Stream(ctx, w.user.ID, id)
			wantErr(t, err, nil)
			want(t, "status", s.Status, status)
		}
		m, err = db.MediaSession(ctx, m.ID)
		wantErr(t, err, nil)
		if m.EndedAt.IsZero() {
			t.Error("the media session that nobody watches goes on")
		}
	})
}
