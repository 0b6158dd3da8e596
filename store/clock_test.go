package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// machine is the clock of the machine that the test's processes are on.
type machine struct {
	stopped time.Time    // zero while the clock goes
	read    [2]time.Time // what it showed the last two times
}

func (m *machine) now() time.Time {
	now := m.stopped
	if now.IsZero() {
		now = time.Now()
	}
	m.read = [2]time.Time{m.read[1], now}
	return now
}

// set has a process compare its clock with the database's. How exact that can be
// depends on how soon the database answers, so it is done again until that was
// within 20 ms.
func (m *machine) set(t *testing.T, db *store.DB) {
	t.Helper()
	m.stopped = time.Time{}
	for deadline := time.Now().Add(time.Minute); ; {
		wantErr(t, db.SetClock(t.Context()), nil)
		switch took := m.read[1].Sub(m.read[0]); {
		case took <= 20*time.Millisecond:
			return
		case time.Now().After(deadline):
			t.Fatalf("the database takes %v to tell the time", took)
		}
	}
}

// apart is how far one process's clock is ahead of another's.
func (m *machine) apart(one, other *store.DB) time.Duration {
	m.stopped = time.Now()
	defer func() { m.stopped = time.Time{} }()
	return one.Now().Sub(other.Now())
}

// TestClocksOfTwoProcesses has a process whose clock is ten minutes ahead
// leave alone what another one has leased, and come back to its own clock when
// that is put right.
func TestClocksOfTwoProcesses(t *testing.T) {
	t.Parallel()
	url := storetest.PostgresURL(t)
	m, ahead := &machine{}, 10*time.Minute
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
	right, wrong := open(m.now), open(func() time.Time { return m.now().Add(ahead) })
	wantErr(t, right.Migrate(t.Context()), nil)
	want(t, "apart before they looked", m.apart(wrong, right), ahead)
	m.set(t, right)
	m.set(t, wrong)
	// What does not matter is 50 ms, half of what the answer took, and as much by
	// which the measurement itself may be off.
	if d := m.apart(wrong, right).Abs(); d > 100*time.Millisecond {
		t.Errorf("the clocks are %v apart", d)
	}
	w := newWorld(t, right)
	w.auditedBy(t, m, []*store.DB{wrong, right, wrong})
	w.push(t)
	want(t, "claimed", len(claimPushes(t, right, right.Now(), 5*time.Minute)), 1)
	want(t, "claimed by the one that is ahead", len(claimPushes(t, wrong, wrong.Now(), 5*time.Minute)), 0)

	// What is much less than a complaint is still put right.
	for _, ahead = range []time.Duration{200 * time.Millisecond, 0} {
		m.set(t, wrong)
		if d := m.apart(wrong, right).Abs(); d > 100*time.Millisecond {
			t.Errorf("ahead by %v, the clocks are %v apart", ahead, d)
		}
	}
}

// auditedBy has processes change the same thing in turn, and holds that the
// audit log tells it in that order, if there is a fifth of a second between: what
// is closer may be told in any order.
func (w world) auditedBy(t *testing.T, m *machine, processes []*store.DB) {
	t.Helper()
	m.stopped = time.Now()
	defer func() { m.stopped = time.Time{} }()
	names := []string{}
	for i, db := range processes {
		name := string(rune('a' + i))
		names = append([]string{name}, names...) // newest first
		_, err := db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Name: &name}, w.by)
		wantErr(t, err, nil)
		m.stopped = m.stopped.Add(200 * time.Millisecond)
	}
	entries, err := w.db.AuditEntries(t.Context(), w.user.ID, store.AuditFilter{Action: "device.update"}, store.Page{})
	wantErr(t, err, nil)
	want(t, "entries", len(entries), len(names))
	for i, e := range entries {
		if !strings.Contains(string(e.Metadata), `"`+names[i]+`"`) || m.stopped.Sub(e.CreatedAt).Abs() > time.Second {
			t.Errorf("entry %d of %v is %s at %v", i, names, e.Metadata, e.CreatedAt)
		}
	}
}

func TestSQLiteHasThisClock(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	wantErr(t, db.SetClock(t.Context()), nil)
	before := time.Now()
	if now := db.Now(); now.Before(before) || now.After(time.Now()) {
		t.Errorf("the clock shows %v after %v", now, before)
	}
}
