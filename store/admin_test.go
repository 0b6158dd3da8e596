package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestAdministratorsLists(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, other := newWorld(t, db), newWorld(t, db)
		wantErr(t, db.SetUserDisabled(ctx, other.user.ID, true, store.Actor{Admin: "root"}), nil)
		users, err := db.AllUsers(ctx, "", store.Page{})
		wantErr(t, err, nil)
		if len(users) != 2 || users[1].ID != w.user.ID || users[1].Devices != 2 || users[1].LastSeenAt.IsZero() ||
			!users[1].DisabledAt.IsZero() || users[0].DisabledAt.IsZero() {
			t.Errorf("users are %+v", users)
		}
		for text, n := range map[string]int{strings.ToUpper(w.user.Email): 1, "ADA": 2, "%": 0, "a_a": 0, "!": 0} {
			users, err = db.AllUsers(ctx, text, store.Page{})
			wantErr(t, err, nil)
			want(t, "users like "+text, len(users), n)
		}
		devices, err := db.AllDevices(ctx, "", store.Page{})
		wantErr(t, err, nil)
		want(t, "all devices", len(devices), 4)
		devices, err = db.AllDevices(ctx, w.user.ID, store.Page{})
		wantErr(t, err, nil)
		want(t, "one user's devices", len(devices), 2)
		want(t, "whose it is", devices[0].UserEmail, w.user.Email)
		live, err := db.LiveDevices(ctx)
		wantErr(t, err, nil)
		want(t, "devices that are live", len(live), 0)
		w.request(t)
		live, err = db.LiveDevices(ctx)
		wantErr(t, err, nil)
		want(t, "devices that are live", len(live), 2)
		want(t, "whose it is", live[0].UserEmail, w.user.Email)

		totals, err := db.Totals(ctx, storetest.Now().Add(-time.Hour))
		wantErr(t, err, nil)
		want(t, "totals", totals, store.Totals{Users: 2, Devices: 4, Online: 4, Streams: 1})
	})
}
