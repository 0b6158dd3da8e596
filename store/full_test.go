package store_test

import (
	"strings"
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// TestFullDisk lets SQLite have no more pages, which it reports as a full disk.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	w := newWorld(t, db)
	wantErr(t, db.Exec(t.Context(), `PRAGMA max_page_count = 1`), nil) // that is, what there is
	var err error
	for i := range 100 {
		name := strings.Repeat("x", 100_000*(i+1))
		if _, err = db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Platform: &name}, w.by); err != nil {
			break
		}
	}
	wantErr(t, err, store.ErrNoSpace)
	wantErr(t, db.Exec(t.Context(), `PRAGMA max_page_count = 1000000`), nil)
	name := "works again"
	_, err = db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{Name: &name}, w.by)
	wantErr(t, err, nil)
}
