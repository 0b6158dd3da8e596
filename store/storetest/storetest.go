// Package storetest gives tests databases of their own, and rows to begin
// with.
package storetest

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/securecam/securecam/store"
)

// postgresEnv names a PostgreSQL database in which the tests may make schemas.
const postgresEnv = "TEST_DATABASE_URL"

// Each runs f on an empty SQLite database and on an empty PostgreSQL one, as
// two parallel subtests. The PostgreSQL server is the one that the environment
// variable TEST_DATABASE_URL names; without it the test fails.
func Each(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	EachURL(t, func(t *testing.T, databaseURL string) { f(t, open(t, databaseURL)) })
}

// EachURL is Each for tests that open the database, which has no schema yet,
// themselves.
func EachURL(t *testing.T, f func(t *testing.T, databaseURL string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, sqliteURL(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, PostgresURL(t))
	})
}

// SQLite returns an empty SQLite database, for tests of what is above it.
func SQLite(t *testing.T) *store.DB {
	t.Helper()
	return open(t, sqliteURL(t))
}

// open returns the database with its schema, until the test ends.
func open(t *testing.T, databaseURL string) *store.DB {
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
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func sqliteURL(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "securecam.db")
}

// PostgresURL makes a schema and returns the URL of a database that has only
// that one.
func PostgresURL(t *testing.T) string {
	t.Helper()
	server := os.Getenv(postgresEnv)
	if server == "" {
		t.Fatalf("%s is not set: it must name a PostgreSQL database for tests, postgres://user:password@host/name", postgresEnv)
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("%s is not a URL", postgresEnv)
	}
	schema := "test_" + strings.ReplaceAll(uuid.NewString(), "-", "")
	execute(t, server, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { execute(t, server, "DROP SCHEMA "+schema+" CASCADE") })
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}

func execute(t *testing.T, server, statement string) {
	t.Helper()
	// The test's own context is done when its cleanups run.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing was left unfinished
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
