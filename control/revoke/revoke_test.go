package revoke_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/revoke"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is one process's holders of a database and a bus.
type process struct {
	*revoke.Service
	mu   sync.Mutex
	told []store.Revocation
	news chan struct{}
}

func (p *process) hold(r store.Revocation) {
	p.mu.Lock()
	p.told = append(p.told, r)
	p.mu.Unlock()
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// await waits until the process was told n revocations, and returns them.
func (p *process) await(t *testing.T, n int) []store.Revocation {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		told := p.told
		p.mu.Unlock()
		if len(told) >= n {
			return told
		}
		select {
		case <-p.news:
		case <-deadline:
			t.Fatalf("told %+v, want %d", told, n)
		}
	}
}

func openBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b
}

// run starts a process; interval is how often it looks untold, now may be nil.
func run(t *testing.T, rows revoke.Store, b revoke.Bus, interval time.Duration, now func() time.Time) *process {
	t.Helper()
	p := &process{news: make(chan struct{}, 1)}
	p.Service = revoke.New(revoke.Config{Store: rows, Bus: b, Holders: []revoke.Holder{p.hold}, Interval: interval, Now: now})
	if err := p.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestEveryProcessIsToldOnce(t *testing.T) {
	t.Parallel()
	db, b := storetest.SQLite(t), openBus(t)
	user := storetest.User(t, db)
	camera := storetest.Camera(t, db, user.ID)
	by := store.Actor{UserID: user.ID}
	if err := db.SetDeviceKey(t.Context(), user.ID, camera.ID, storetest.ID(), by); err != nil {
		t.Fatal(err)
	}
	// Only the bus tells them in time.
	one, two := run(t, db, b, time.Hour, nil), run(t, db, b, time.Hour, nil)
	for _, p := range []*process{one, two} {
		if told := p.await(t, 1); told[0].Kind != store.RevokedDevice || told[0].TargetID != camera.ID {
			t.Errorf("what was revoked before the start is told as %+v", told)
		}
	}
	db.OnRevocation(one.Wake)
	if err := db.RevokeUser(t.Context(), user.ID, by); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*process{one, two} {
		if told := p.await(t, 2); len(told) != 2 || told[1].Kind != store.RevokedUser || told[1].TargetID != user.ID {
			t.Errorf("told %+v", told)
		}
	}
	one.Wake()
	if err := db.DeleteDevice(t.Context(), user.ID, camera.ID, by); err != nil {
		t.Fatal(err)
	}
	if told := two.await(t, 3); len(told) != 3 || two.Stats().Applied != 3 || two.Stats().Late != 0 {
		t.Errorf("told %+v, something of it twice", told)
	}
}

// deafBus loses every message.
type deafBus struct{ *bus.Bus }

func (deafBus) Publish(context.Context, string, []byte) error { return errors.New("the bus is down") }

// watched tells of looks.
type watched struct {
	revoke.Store
	looks chan struct{}
}

func (w watched) Revocations(ctx context.Context, since time.Time) ([]store.Revocation, error) {
	select {
	case w.looks <- struct{}{}:
	default: // nobody listens any more
	}
	return w.Store.Revocations(ctx, since)
}

func TestLostMessagesCostOnlyTime(t *testing.T) {
	t.Parallel()
	db, b := storetest.SQLite(t), openBus(t)
	user := storetest.User(t, db)
	later := func() time.Time { return time.Now().Add(time.Second) }
	rows := watched{Store: db, looks: make(chan struct{}, 3)}
	here, there := run(t, db, deafBus{b}, time.Hour, nil), run(t, rows, deafBus{b}, 20*time.Millisecond, later)
	// What is there at the start is not late: the look of Load, the first of
	// Run, and one that nobody asked for have begun.
	for range cap(rows.looks) {
		<-rows.looks
	}
	db.OnRevocation(here.Wake)
	if err := db.RevokeUser(t.Context(), user.ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	here.await(t, 1)
	there.await(t, 1)
	if late := []uint64{here.Stats().Late, there.Stats().Late}; late[0] != 0 || late[1] != 1 {
		t.Errorf("late are %v, want only what nobody told of", late)
	}
}

// flaky is a database that fails a number of times.
type flaky struct {
	revoke.Store
	mu       sync.Mutex
	failures int
}

func (f *flaky) fail(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = n
}

func (f *flaky) Revocations(ctx context.Context, since time.Time) ([]store.Revocation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failures > 0 {
		f.failures--
		return nil, store.ErrUnavailable
	}
	return f.Store.Revocations(ctx, since)
}

func TestOutageDelaysARevocation(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	user := storetest.User(t, db)
	rows := &flaky{Store: db}
	p := run(t, rows, openBus(t), time.Hour, nil)
	db.OnRevocation(p.Wake)
	rows.fail(2)
	if err := db.RevokeUser(t.Context(), user.ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	p.await(t, 1)
	if n := p.Stats().Failures; n != 2 {
		t.Errorf("%d failures are counted, want 2", n)
	}
	rows.fail(1)
	if err := revoke.New(revoke.Config{Store: rows}).Load(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a start without the database: %v", err)
	}
}

// held is a database that, from some time on, waits with what it has read.
type held struct {
	revoke.Store
	holds   atomic.Bool
	read    chan struct{}
	release chan struct{}
}

func (h *held) Revocations(ctx context.Context, since time.Time) ([]store.Revocation, error) {
	list, err := h.Store.Revocations(ctx, since)
	if h.holds.Load() {
		h.read <- struct{}{}
		<-h.release
	}
	return list, err
}

// TestWhatWasToldIsNotLate has the time to look untold come while the news
// waits, too.
func TestWhatWasToldIsNotLate(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	user := storetest.User(t, db)
	camera := storetest.Camera(t, db, user.ID)
	rows := &held{Store: db, read: make(chan struct{}), release: make(chan struct{})}
	later := func() time.Time { return time.Now().Add(time.Second) }
	const interval, count = time.Millisecond, 20
	p := run(t, rows, openBus(t), interval, later)
	rows.holds.Store(true)
	for range count {
		<-rows.read
		if err := db.SetDeviceKey(t.Context(), user.ID, camera.ID, storetest.ID(), store.Actor{}); err != nil {
			t.Fatal(err)
		}
		p.Wake()
		<-time.After(5 * interval)
		rows.release <- struct{}{}
	}
	<-rows.read
	rows.holds.Store(false)
	rows.release <- struct{}{}
	p.await(t, count)
	if late := p.Stats().Late; late != 0 {
		t.Errorf("%d of %d are late", late, count)
	}
}
