package store_test

import (
	"strings"
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
	w := newWorld(t, right)
	w.auditedBy(t, []*store.DB{wrong, right, wrong})
	w.push(t)
	want(t, "claimed", len(claimPushes(t, right, right.Now(), 5*time.Minute)), 1)
	want(t, "claimed by the one that is ahead", len(claimPushes(t, wrong, wrong.Now(), 5*time.Minute)), 0)

	// What is much less than a complaint is still put right.
	ahead = 200 * time.Millisecond
	wantErr(t, wrong.SetClock(t.Context()), nil)
	if d := wrong.Now().Sub(right.Now()).Abs(); d > 150*time.Millisecond {
		t.Errorf("the clocks are %v apart", d)
	}
	ahead = 0
	wantErr(t, wrong.SetClock(t.Context()), nil)
	if d := time.Until(wrong.Now()).Abs(); d > time.Minute {
		t.Errorf("put right, the clock is off by %v", d)
	}
}

// auditedBy has processes change the same thing in turn, and holds that the
// audit log tells it in that order.
func (w world) auditedBy(t *testing.T, processes []*store.DB) {
	t.Helper()
	names := []string{}
	for i, db := range processes {
		name := string(rune('a' + i))
		names = append([]string{name}, names...) // newest first
		_, err := db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Name: &name}, w.by)
		wantErr(t, err, nil)
		<-time.After(200 * time.Millisecond) // what is closer may be told in any order
	}
	entries, err := w.db.AuditEntries(t.Context(), w.user.ID, store.AuditFilter{Action: "device.update"}, store.Page{})
	wantErr(t, err, nil)
	want(t, "entries", len(entries), len(names))
	for i, e := range entries {
		if !strings.Contains(string(e.Metadata), `"`+names[i]+`"`) || time.Since(e.CreatedAt).Abs() > time.Minute {
			t.Errorf("entry %d of %v is %s at %v", i, names, e.Metadata, e.CreatedAt)
		}
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
