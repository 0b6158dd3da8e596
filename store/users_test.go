package store_test

import (
	"crypto/sha256"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// wantErr fails the test unless err is want.
func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// want fails the test unless the two are deeply equal.
func want[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		u := store.User{
			ID: storetest.ID(), Name: "Ada", Email: "ada@example.org", EmailVerified: true, Image: "a.png",
			CreatedAt: at, UpdatedAt: at,
		}
		by := store.Actor{UserID: u.ID, IP: "192.0.2.1"}
		wantErr(t, db.CreateUser(ctx, u, "hash", by), nil)

		got, err := db.User(ctx, u.ID)
		wantErr(t, err, nil)
		want(t, "user", got, u)
		got, hash, err := db.UserByEmail(ctx, "Ada@Example.ORG")
		wantErr(t, err, nil)
		want(t, "user by e-mail", got, u)
		want(t, "hash", hash, "hash")

		again := u
		again.ID, again.Email = storetest.ID(), "ADA@example.org"
		wantErr(t, db.CreateUser(ctx, again, "hash", store.Actor{}), store.ErrConflict)
		_, err = db.User(ctx, again.ID)
		wantErr(t, err, store.ErrNotFound)
		_, _, err = db.UserByEmail(ctx, "nobody@example.org")
		wantErr(t, err, store.ErrNotFound)

		entries, err := db.AuditEntries(ctx, u.ID, store.AuditFilter{}, store.Page{})
		wantErr(t, err, nil)
		if len(entries) != 1 {
			t.Fatalf("got %d audit entries, want 1", len(entries))
		}
		e := entries[0]
		if e.ID == "" || e.CreatedAt.Before(at) {
			t.Errorf("the entry has no id or no time: %+v", e)
		}
		e.ID, e.CreatedAt = "", time.Time{}
		want(t, "audit entry", e, store.AuditEntry{
			OwnerUserID: u.ID, ActorUserID: u.ID, Action: "user.create",
			TargetType: "user", TargetID: u.ID, IPAddress: "192.0.2.1",
		})
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		u := storetest.User(t, db)
		by := store.Actor{UserID: u.ID}
		session := func(token string, expires time.Time) store.Session {
			sum := sha256.Sum256([]byte(token))
			s := store.Session{
				ID: storetest.ID(), UserID: u.ID, TokenSHA256: sum[:], IPAddress: "::1", UserAgent: "test",
				CreatedAt: at, UpdatedAt: at, ExpiresAt: expires,
			}
			wantErr(t, db.CreateSession(ctx, s, by), nil)
			return s
		}
		old := session("old", at.Add(-time.Second))
		s := session("new", at.Add(time.Hour))

		got, owner, err := db.SessionByToken(ctx, s.TokenSHA256)
		wantErr(t, err, nil)
		want(t, "session", got, s)
		want(t, "its user", owner, u)
		_, _, err = db.SessionByToken(ctx, []byte("unknown"))
		wantErr(t, err, store.ErrNotFound)
		copied := s
		copied.ID = storetest.ID()
		wantErr(t, db.CreateSession(ctx, copied, by), store.ErrConflict)

		s.UpdatedAt, s.ExpiresAt = at.Add(time.Minute), at.Add(2*time.Hour)
		wantErr(t, db.TouchSession(ctx, s.ID, s.UpdatedAt, s.ExpiresAt), nil)
		wantErr(t, db.TouchSession(ctx, "unknown", at, at), store.ErrNotFound)
		got, _, err = db.SessionByToken(ctx, s.TokenSHA256)
		wantErr(t, err, nil)
		want(t, "touched session", got, s)

		n, err := db.DeleteExpiredSessions(ctx, at)
		wantErr(t, err, nil)
		want(t, "expired sessions", n, 1)
		_, _, err = db.SessionByToken(ctx, old.TokenSHA256)
		wantErr(t, err, store.ErrNotFound)

		wantErr(t, db.DeleteSession(ctx, storetest.User(t, db).ID, s.ID, by), store.ErrNotFound)
		wantErr(t, db.DeleteSession(ctx, u.ID, s.ID, by), nil)
		wantErr(t, db.DeleteSession(ctx, u.ID, s.ID, by), store.ErrNotFound)
	})
}
