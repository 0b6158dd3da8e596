package store_test

import (
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestInstallationID(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		first, err := db.InstallationID(t.Context())
		if err != nil || first == "" {
			t.Fatalf("got %q, %v", first, err)
		}
		if again, err := db.InstallationID(t.Context()); again != first || err != nil {
			t.Errorf("got %q, %v the second time, want %q", again, err, first)
		}
	})
}
