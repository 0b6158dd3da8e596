package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// TestClocksOfTwoProcesses has a process whose clock is ten minutes ahead
// leave alone what another one has leased, and come back to its own clock when
// that is put right.
func TestClocksOfTwoProcesses(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	ahead := 10 * time.Minute
	open := func(now func() time.Time) *store.DB {
		db, err := store.Open(t.Context(), store.Config{URL: url, Now: now})
		wantErr(t, err, nil)
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		return db
	}
	right, wrong := open(nil), open(func() time.Time { return time.Now().Add(ahead) })
	wantErr(t, right.Migrate(t.Context()), nil)
	if d := wrong.Now().Sub(right.Now()); d < 9*time.Minute {
		t.Fatalf("before they looked the clocks are only %v apart", d)
	}
	for _, db := range []*store.DB{right, wrong} {
		wantErr(t, db.SetClock(t.Context()), nil)
	}
	if d := wrong.Now().Sub(right.Now()).Abs(); d > time.Minute {
		t.Errorf("the clocks are %v apart", d)
	}
	newWorld(t, right).push(t)
	want(t, "claimed", len(claimPushes(t, right, right.Now(), 5*time.Minute)), 1)
	want(t, "claimed by the one that is ahead", len(claimPushes(t, wrong, wrong.Now(), 5*time.Minute)), 0)

	ahead = 0
	wantErr(t, wrong.SetClock(t.Context()), nil)
	if d := time.Until(wrong.Now()).Abs(); d > time.Minute {
		t.Errorf("put right, the clock is off by %v", d)
	}
}

func TestSQLiteHasThisClock(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	wantErr(t, db.SetClock(t.Context()), nil)
	if d := time.Since(db.Now()); d < 0 || d > time.Minute {
		t.Errorf("the clock is off by %v", d)
	}
}
