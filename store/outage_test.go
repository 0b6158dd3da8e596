package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestOutageIsUnavailable(t *testing.T) {
	t.Parallel()
	db, line := storetest.PostgresLine(t)
	w := newWorld(t, db)
	calls := map[string]func(ctx context.Context) error{
		"row": func(ctx context.Context) error { return second(db.Device(ctx, w.user.ID, w.camera.ID)) },
		"rows": func(ctx context.Context) error {
			return second(db.Devices(ctx, w.user.ID, store.DeviceFilter{}, store.Page{}))
		},
		"change": func(ctx context.Context) error { return db.CreateCommand(ctx, w.command(), w.by) },
	}
	for range 2 {
		line.Cut()
		for name, call := range calls {
			for range 3 { // pooled connections, then new ones
				if err := call(t.Context()); !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s during the outage: %v", name, err)
				}
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		for name, call := range calls {
			if err := call(gone); errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.Canceled) {
				t.Errorf("%s that its caller gave up: %v", name, err)
			}
		}
		line.Mend()
		for name, call := range calls {
			if err := call(t.Context()); err != nil {
				t.Errorf("%s after the outage: %v", name, err)
			}
		}
	}
	_, err := db.Device(t.Context(), w.user.ID, "unknown")
	wantErr(t, err, store.ErrNotFound)
}

// TestOutageInATransaction breaks the connection between two statements.
func TestOutageInATransaction(t *testing.T) {
	t.Parallel()
	db, line := storetest.PostgresLine(t)
	if err := db.InTx(t.Context(), "SELECT 1", "SELECT 1", line.Cut); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want an unavailable database", err)
	}
}
