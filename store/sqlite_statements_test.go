package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

func openStatements(tb testing.TB) *sql.DB {
	tb.Helper()
	db, err := openSQLite("file:" + filepath.Join(tb.TempDir(), "test.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(tb.Context(), "CREATE TABLE numbers (n INTEGER PRIMARY KEY)"); err != nil {
		tb.Fatal(err)
	}
	for i := range 10 {
		if _, err := db.ExecContext(tb.Context(), "INSERT INTO numbers VALUES ($1)", i); err != nil {
			tb.Fatal(err)
		}
	}
	return db
}

func count(tb testing.TB, q querier, query string, args ...any) (n int) {
	tb.Helper()
	if err := q.QueryRowContext(tb.Context(), query, args...).Scan(&n); err != nil {
		tb.Fatal(err)
	}
	return n
}

// TestStatementWithinItself runs a text while the rows of the same one are open, as one transaction may.
func TestStatementWithinItself(t *testing.T) {
	t.Parallel()
	db := openStatements(t)
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it only reads
	const query = "SELECT n FROM numbers WHERE n >= $1 ORDER BY n"
	for range 2 {
		rows, err := tx.QueryContext(t.Context(), query, 3)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close() //nolint:errcheck // Err tells
		for want := 3; rows.Next(); want++ {
			var got int
			if err := rows.Scan(&got); err != nil || got != want {
				t.Fatalf("got %d, %v; want %d", got, err, want)
			}
			if inner := count(t, tx, query, 9-want); inner != 9-want {
				t.Fatalf("within: got %d, want %d", inner, 9-want)
			}
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStatementAfterFailure uses a text again that failed, was left half read, or met another schema.
func TestStatementAfterFailure(t *testing.T) {
	t.Parallel()
	db := openStatements(t)
	insert := "INSERT INTO numbers VALUES ($1)"
	for range 2 {
		if _, err := db.ExecContext(t.Context(), insert, 5); err == nil {
			t.Fatal("a number was taken twice")
		}
	}
	if _, err := db.ExecContext(t.Context(), insert, 10); err != nil {
		t.Fatal(err)
	}
	all := "SELECT * FROM numbers ORDER BY n"
	if got := count(t, db, all); got != 0 { // leaves ten rows unread
		t.Fatalf("got %d", got)
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM numbers WHERE n = 0"); err != nil {
		t.Fatal(err)
	}
	if got := count(t, db, all); got != 1 {
		t.Fatalf("a half-read statement holds the past: got %d", got)
	}
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE numbers RENAME COLUMN n TO m"); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(t.Context(), all).Scan(new(int)); err == nil {
		t.Fatal("the old column is still known")
	}
	if got := count(t, db, "SELECT * FROM numbers ORDER BY m"); got != 1 {
		t.Fatalf("got %d", got)
	}
}

func TestStatementsAreBounded(t *testing.T) {
	t.Parallel()
	db := openStatements(t)
	for i := range 2*maxStatements + 1 {
		if got := count(t, db, fmt.Sprintf("SELECT %d", i)); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // gives it back
	err = conn.Raw(func(c any) error {
		if n := len(c.(*preparedConn).statements); n == 0 || n > maxStatements {
			return fmt.Errorf("%d statements are kept", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkSQLiteStatements(b *testing.B) {
	const query = "SELECT count(*) FROM numbers WHERE n >= $1 AND n < $2 AND EXISTS (SELECT 1 FROM numbers WHERE n = $1)"
	plain, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "plain.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer plain.Close() //nolint:errcheck // it is only read
	if _, err := plain.ExecContext(b.Context(), "CREATE TABLE numbers (n INTEGER PRIMARY KEY)"); err != nil {
		b.Fatal(err)
	}
	for name, db := range map[string]*sql.DB{"parsed each time": plain, "prepared once": openStatements(b)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				count(b, db, query, 2, 7)
			}
		})
	}
}
