package store_test

import (
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// TestGrants follows what media tokens stand on from the request of a stream
// to its end, with others' ids beside it.
func TestGrants(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, other := newWorld(t, db), newWorld(t, db)
		asked := w.stream()
		s, err := db.RequestStream(ctx, asked, w.command(), w.by)
		wantErr(t, err, nil)
		watch := func(device, user, stream string, want store.Grant, wantError error) {
			t.Helper()
			got, err := db.WatchGrant(ctx, device, user, stream)
			wantErr(t, err, wantError)
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		key := w.client.TokenKeyID
		watch(w.client.ID, w.user.ID, s.ID, store.Grant{TokenKeyID: key}, nil)
		m := w.media()
		_, _, err = db.AcceptStream(ctx, w.camera.ID, s.ID, m, w.by)
		wantErr(t, err, nil)
		watch(w.client.ID, w.user.ID, s.ID, store.Grant{TokenKeyID: key, Open: true}, nil)
		watch(w.client.ID, other.user.ID, s.ID, store.Grant{}, store.ErrNotFound)
		watch(storetest.ID(), w.user.ID, s.ID, store.Grant{}, store.ErrNotFound)
		watch(w.client.ID, w.user.ID, storetest.ID(), store.Grant{}, store.ErrNotFound)

		publish := func(device string, want store.Grant, wantError error) {
			t.Helper()
			got, err := db.PublishGrant(ctx, device, m.ID)
			wantErr(t, err, wantError)
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		publish(w.camera.ID, store.Grant{TokenKeyID: w.camera.TokenKeyID, Open: true}, nil)
		_, _, err = db.EndStream(ctx, w.user.ID, s.ID, store.StreamCompleted, "seen", storetest.Now(), w.by)
		wantErr(t, err, nil)
		publish(w.camera.ID, store.Grant{TokenKeyID: w.camera.TokenKeyID}, nil)
		watch(w.client.ID, w.user.ID, s.ID, store.Grant{TokenKeyID: key}, nil)
		publish(storetest.ID(), store.Grant{}, store.ErrNotFound)
	})
}
