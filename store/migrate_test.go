package store_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/securecam/securecam/migrations"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func openURL(t *testing.T, databaseURL string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: databaseURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		db := openURL(t, databaseURL)
		ctx := t.Context()
		wantSchemaError(t, db.SchemaReady(ctx), "no schema")
		for range 2 {
			if err := db.Migrate(ctx); err != nil {
				t.Fatal(err)
			}
			if err := db.SchemaReady(ctx); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.MigrateDown(migrations.FS); err != nil {
			t.Fatal(err)
		}
		wantSchemaError(t, db.SchemaReady(ctx), "no schema")
		if err := db.Migrate(ctx); err != nil {
			t.Fatalf("after taking everything back: %v", err)
		}
	})
}

func TestMigrateRefusesNewerSchema(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		db := openURL(t, databaseURL)
		if err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := db.Exec(t.Context(), `UPDATE schema_migrations SET version = 9999`); err != nil {
			t.Fatal(err)
		}
		wantSchemaError(t, db.SchemaReady(t.Context()), "run a newer one")
		wantSchemaError(t, db.Migrate(t.Context()), "run a newer one")
	})
}

func wantSchemaError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v, want an error with %q", err, want)
	}
}

func TestMigrateFromManyProcesses(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		var wg sync.WaitGroup
		for range 6 {
			db := openURL(t, databaseURL)
			wg.Go(func() {
				if err := db.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
				if err := db.SchemaReady(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

const (
	goodFile = `CREATE TABLE one (id TEXT NOT NULL PRIMARY KEY);`
	badFile  = `CREATE TABLE two (id TEXT NOT NULL PRIMARY KEY); INSERT INTO nowhere (id) VALUES ('x');`
	fixed    = `CREATE TABLE two (id TEXT NOT NULL PRIMARY KEY); INSERT INTO one (id) VALUES ('x');`
)

func files(first, second string) fstest.MapFS {
	return fstest.MapFS{
		"0001_one.up.sql":   {Data: []byte(first)},
		"0001_one.down.sql": {Data: []byte(`DROP TABLE one;`)},
		"0002_two.up.sql":   {Data: []byte(second)},
		"0002_two.down.sql": {Data: []byte(`DROP TABLE two;`)},
	}
}

func TestMigrateFailedFileLeavesNothing(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		first, second string
		version       int
	}{
		{"first file", badFile, goodFile, 0},
		{"second file", goodFile, badFile, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storetest.EachURL(t, func(t *testing.T, databaseURL string) {
				db := openURL(t, databaseURL)
				for range 2 {
					if err := db.MigrateFS(t.Context(), files(tt.first, tt.second)); err == nil {
						t.Fatal("a bad file was applied")
					}
					wantCount(t, db, tt.version, `SELECT COALESCE(SUM(version), 0) FROM schema_migrations WHERE NOT dirty`)
					wantCount(t, db, 0, `SELECT COUNT(*) FROM schema_migrations WHERE dirty`)
				}
				if err := db.MigrateFS(t.Context(), files(goodFile, fixed)); err != nil {
					t.Fatal(err)
				}
				wantCount(t, db, 1, `SELECT COUNT(*) FROM one`)
			})
		})
	}
}

// TestMigrateAfterKill migrates after a process that died before a file, and
// after one that died behind it: both leave a dirty flag when nothing helps.
func TestMigrateAfterKill(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		db := openURL(t, databaseURL)
		if err := db.MigrateKilled(files(goodFile, fixed)); err == nil {
			t.Fatal("the process did not die")
		}
		wantCount(t, db, 1, `SELECT COUNT(*) FROM schema_migrations WHERE version = 1 AND NOT dirty`)
		if err := db.Exec(t.Context(), `UPDATE schema_migrations SET version = 2, dirty = TRUE`); err != nil {
			t.Fatal(err)
		}
		if err := db.MigrateFS(t.Context(), files(goodFile, fixed)); err != nil {
			t.Fatal(err)
		}
		wantCount(t, db, 1, `SELECT COUNT(*) FROM one`)
	})
}

func TestMigrateStopsWithItsContext(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		db := openURL(t, databaseURL)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Migrate(ctx); err == nil {
			t.Error("migrated with a context that is done")
		}
		if err := db.Migrate(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func wantCount(t *testing.T, db *store.DB, want int, query string, args ...any) {
	t.Helper()
	got, err := db.Count(t.Context(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s: got %d, want %d", query, got, want)
	}
}
