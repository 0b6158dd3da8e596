package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestVerifications(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		u := storetest.User(t, db)
		v := store.Verification{Identifier: "a", UserID: u.ID, Value: "1", CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
		wantErr(t, db.CreateVerification(ctx, v), nil)
		wantErr(t, db.CreateVerification(ctx, v), store.ErrConflict)
		nobodys := store.Verification{Identifier: "b", UserID: storetest.ID(), CreatedAt: at, ExpiresAt: at}
		wantErr(t, db.CreateVerification(ctx, nobodys), store.ErrNotFound)
		nobodys.UserID = ""
		wantErr(t, db.CreateVerification(ctx, nobodys), nil)

		got, err := db.Verification(ctx, "a", at)
		wantErr(t, err, nil)
		want(t, "verification", got, v)
		for i := range 3 {
			got, err := db.TryVerification(ctx, "a", 3, at)
			wantErr(t, err, nil)
			want(t, "attempts", got.Attempts, i+1)
		}
		_, err = db.TryVerification(ctx, "a", 3, at)
		wantErr(t, err, store.ErrConflict)
		_, err = db.TryVerification(ctx, "b", 3, at)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.TakeVerification(ctx, "b", at)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.TakeVerification(ctx, "a", at)
		wantErr(t, err, nil)
		_, err = db.TakeVerification(ctx, "a", at)
		wantErr(t, err, store.ErrNotFound)

		v.Identifier = "c"
		wantErr(t, db.CreateVerification(ctx, v), nil)
		n, err := db.DeleteExpiredVerifications(ctx, at)
		wantErr(t, err, nil)
		want(t, "early", n, 0)
		n, err = db.DeleteExpiredVerifications(ctx, v.ExpiresAt)
		wantErr(t, err, nil)
		want(t, "expired", n, 1)
	})
}

func TestDeletedUserLeavesNothingButHistory(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, other := newWorld(t, db), newWorld(t, db)
		s := w.request(t)
		w.accept(t, s.ID)
		running, ready, foreign := w.recording(), w.recording(), other.recording()
		for _, r := range []store.Recording{running, ready, foreign} {
			wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		}
		for _, r := range []store.Recording{ready, foreign} {
			wantErr(t, db.FinishRecording(ctx, r.ID, "", 0, 0, storetest.Now()), nil)
		}
		wantErr(t, db.DeleteUser(ctx, w.user.ID, w.by), nil)
		wantErr(t, db.DeleteUser(ctx, w.user.ID, w.by), store.ErrNotFound)
		wantErr(t, db.UserHolds(ctx, w.user.ID, time.Now().Add(time.Hour)), store.ErrNotFound)
		_, err := db.User(ctx, w.user.ID)
		wantErr(t, err, store.ErrNotFound)
		_, _, err = db.UserByEmail(ctx, w.user.Email)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.DeviceByID(ctx, w.camera.ID)
		wantErr(t, err, store.ErrNotFound)
		_, err = db.RegisterDevice(ctx, store.Device{ID: storetest.ID(), UserID: w.user.ID, Role: store.RoleCamera}, w.by)
		wantErr(t, err, store.ErrNotFound)
		for _, table := range []string{"accounts", "sessions", "passkeys", "two_factors", "verifications"} {
			n, err := db.Count(ctx, "SELECT COUNT(*) FROM "+table+" WHERE user_id = $1", w.user.ID)
			wantErr(t, err, nil)
			want(t, table, n, 0)
		}
		n, err := db.Count(ctx, "SELECT COUNT(*) FROM stream_sessions WHERE owner_user_id = $1 AND ended_at IS NULL", w.user.ID)
		wantErr(t, err, nil)
		want(t, "open streams", n, 0)

		// Objects go when they are whole, and only the user's.
		erase := func() []store.Erasure {
			list, err := db.Erasures(ctx, "", 10)
			wantErr(t, err, nil)
			return list
		}
		first := store.Erasure{Table: "recordings", ID: ready.ID, ObjectKey: ready.ObjectKey}
		want(t, "erasures", erase(), []store.Erasure{first})
		wantErr(t, db.Erase(ctx, first), nil)
		wantErr(t, db.Erase(ctx, first), store.ErrNotFound)
		wantErr(t, db.FinishRecording(ctx, running.ID, "", 0, 0, storetest.Now()), nil)
		second := store.Erasure{Table: "recordings", ID: running.ID, ObjectKey: running.ObjectKey}
		want(t, "erasures", erase(), []store.Erasure{second})
		list, err := db.Erasures(ctx, second.ID, 10)
		wantErr(t, err, nil)
		want(t, "erasures behind the last", len(list), 0)
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		db.SetLimits(store.Limits{Devices: 3, PendingCommands: 2, Sessions: 2})
		w, other := newWorld(t, db), newWorld(t, db) // two devices each
		third := storetest.Camera(t, db, w.user.ID)
		fourth := third
		fourth.ID, fourth.TokenKeyID = storetest.ID(), storetest.ID()
		_, err := db.RegisterDevice(ctx, fourth, w.by)
		wantErr(t, err, store.ErrFull)
		storetest.Camera(t, db, other.user.ID)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, third.ID, w.by), nil)
		_, err = db.RegisterDevice(ctx, fourth, w.by)
		wantErr(t, err, nil)

		for _, err := range []error{nil, nil, store.ErrFull} {
			wantErr(t, db.CreateCommand(ctx, w.command(), w.by), err)
		}
		wantErr(t, db.CreateCommand(ctx, other.command(), other.by), nil)

		session := func(n int) store.Session {
			at := storetest.Now().Add(time.Duration(n) * time.Second)
			id := storetest.ID()
			return store.Session{ID: id, UserID: w.user.ID, TokenSHA256: []byte(id), CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
		}
		oldest, middle, newest := session(1), session(2), session(3)
		for _, s := range []store.Session{oldest, middle, newest} {
			wantErr(t, db.CreateSession(ctx, s, w.by), nil)
		}
		left, err := db.Sessions(ctx, w.user.ID, storetest.Now(), 10)
		wantErr(t, err, nil)
		if len(left) != 2 || left[0].ID != newest.ID || left[1].ID != middle.ID {
			t.Errorf("got sessions %+v", left)
		}
		ended, err := db.AuditEntries(ctx, w.user.ID, store.AuditFilter{Action: "session.delete"}, store.Page{})
		wantErr(t, err, nil)
		if len(ended) != 1 || ended[0].TargetID != oldest.ID {
			t.Errorf("the audit log says %+v", ended)
		}
	})
}
