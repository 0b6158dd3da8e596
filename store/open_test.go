package store_test

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

const secret = "s3cr3t"

func TestOpenFailsInOneLineWithoutCredentials(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	tests := []struct{ name, url, want string }{
		{"no scheme", secret, "must begin with"},
		{"unknown scheme", "mysql://me:" + secret + "@host/db", "must begin with"},
		{"no path", "sqlite:", "needs a path"},
		{"bad port", "postgres://me:" + secret + "@host:port/db", "not a PostgreSQL URL"},
		{"bad option", "postgres://me:" + secret + "@host/db?sslmode=" + secret, "not a PostgreSQL URL"},
		{"nobody listens", "postgres://me:" + secret + "@" + closedPort + "/db", closedPort + "/db: dial tcp"},
		{"no such host", "postgres://me:" + secret + "@nowhere.invalid/db", "nowhere.invalid"},
		{"a folder", "sqlite:" + folder, "is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Open(t.Context(), store.Config{URL: tt.url})
			wantPlainError(t, err, tt.want)
		})
	}
}

func wantPlainError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("Open succeeded")
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
	if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is not fit for a log: %q", err)
	}
}

func TestOpenNamesWhatPostgresRefuses(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		u, err := url.Parse(databaseURL)
		if err != nil || u.Scheme == "sqlite" {
			return
		}
		u.Path = "/no_such_database"
		_, err = store.Open(t.Context(), store.Config{URL: u.String()})
		wantPlainError(t, err, `database "no_such_database" does not exist`)
	})
}

func TestOpenMakesAPrivateFileAtAnyPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new folder", "50%?#1.db")
	db, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file's mode is %v, want 0600", mode)
	}
}
