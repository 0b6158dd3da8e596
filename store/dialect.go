package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"
)

// dialect is what differs between the engines; nothing outside this file may
// ask which one it talks to.
type dialect interface {
	name() string
	open() (writer, reader *sql.DB, err error)
	// migrator opens a connection of its own that runs migration files, each
	// as one transaction.
	migrator() (database.Driver, error)
	// lockSchema keeps every other process from migrating until unlock.
	lockSchema(ctx context.Context) (unlock func() error, err error)
	// unreachable strips what the driver knows of a failed connection down to
	// one line without credentials.
	unreachable(err error) error
	// clock is the query for the server's time in Unix milliseconds, "" where
	// that is this process's.
	clock() string
	retryable(err error) bool
	full(err error) bool // whether the disk is
	violation(err error) violation
}

type violation int

const (
	violatesNothing violation = iota
	violatesUnique
	violatesForeignKey
)

func dialectOf(rawURL string) (dialect, error) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	switch scheme {
	case "sqlite":
		path := strings.TrimPrefix(rest, "//")
		if path == "" {
			return nil, errors.New("store: a sqlite URL needs a path: sqlite:/path/to/file.db")
		}
		return sqliteDialect{path: path}, nil
	case "postgres", "postgresql":
		config, err := pgx.ParseConfig(rawURL)
		if err != nil {
			// pgx repeats the URL in its error, so it stays out of ours.
			return nil, errors.New("store: this is not a PostgreSQL URL: postgres://user:password@host/name expected")
		}
		if config.ConnectTimeout == 0 {
			config.ConnectTimeout = connectTimeout
		}
		return postgresDialect{config: config}, nil
	default:
		return nil, errors.New("store: the database URL must begin with sqlite or postgres")
	}
}

// unavailable reports whether an error of either engine says that the database
// does not answer now, rather than what it thinks of the question.
func unavailable(err error) bool {
	for _, lost := range []error{driver.ErrBadConn, sql.ErrConnDone, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	// pgx noticed that the connection is closed before it sent anything.
	if pgconn.SafeToRetry(err) {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		// Connection exceptions, insufficient resources, and a server that
		// shuts down, has crashed or is starting.
		class := e.Code[:min(2, len(e.Code))]
		return class == "08" || class == "53" || e.Code == "57P01" || e.Code == "57P02" || e.Code == "57P03"
	}
	return sqliteDialect{}.retryable(err)
}

// sqliteDialect is one file, one writer and many readers.
type sqliteDialect struct{ path string }

const (
	sqliteReaders = 4
	// A writer of this process never waits for another one: the pool holds
	// one connection. This is for other processes, such as a backup.
	sqliteBusyTimeout = 5 * time.Second
	// The whole migration of another process fits into this.
	sqliteMigrationTimeout = 5 * time.Minute
)

func (d sqliteDialect) name() string { return "sqlite file " + d.path }

func (d sqliteDialect) dsn(path string, busy time.Duration, options ...string) string {
	u := url.URL{Path: path}
	options = append(options, fmt.Sprintf("_pragma=busy_timeout(%d)", busy.Milliseconds()))
	return "file:" + u.EscapedPath() + "?" + strings.Join(options, "&")
}

func (d sqliteDialect) open() (writer, reader *sql.DB, err error) {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	// SQLite would make the file readable for everybody; it holds hashes.
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	// In WAL mode NORMAL survives the death of the process; the loss of power
	// may cost the last transactions, never the file.
	common := []string{"_pragma=foreign_keys(1)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(NORMAL)"}
	writer, err = openSQLite(d.dsn(d.path, sqliteBusyTimeout, append(common, "_txlock=immediate")...))
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	writer.SetMaxOpenConns(1)
	reader, err = openSQLite(d.dsn(d.path, sqliteBusyTimeout, append(common, "_pragma=query_only(1)")...))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("store: %w", err), writer.Close())
	}
	reader.SetMaxOpenConns(sqliteReaders)
	reader.SetMaxIdleConns(sqliteReaders)
	return writer, reader, nil
}

func (d sqliteDialect) migrator() (database.Driver, error) {
	db, err := sql.Open("sqlite", d.dsn(d.path, sqliteMigrationTimeout, "_txlock=immediate", "_pragma=foreign_keys(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	driver, err := migratesqlite.WithInstance(db, &migratesqlite.Config{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return driver, nil
}

// lockSchema holds an exclusive transaction in an empty database beside the
// real one: a file lock on every system SQLite runs on, which a dead process
// gives up. The driver's own Lock guards only against its own process.
func (d sqliteDialect) lockSchema(ctx context.Context) (func() error, error) {
	db, err := sql.Open("sqlite", d.dsn(d.path+".migrate.lock", sqliteMigrationTimeout, "_txlock=exclusive"))
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return func() error { return errors.Join(tx.Rollback(), db.Close()) }, nil
}

func (d sqliteDialect) unreachable(err error) error { return err }

func (d sqliteDialect) clock() string { return "" }

func (d sqliteDialect) retryable(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	primary := e.Code() & 0xff
	return primary == sqlitelib.SQLITE_BUSY || primary == sqlitelib.SQLITE_LOCKED
}

func (d sqliteDialect) full(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlitelib.SQLITE_FULL
}

func (d sqliteDialect) violation(err error) violation {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return violatesNothing
	}
	switch e.Code() {
	case sqlitelib.SQLITE_CONSTRAINT_UNIQUE, sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY:
		return violatesUnique
	case sqlitelib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return violatesForeignKey
	default:
		return violatesNothing
	}
}

// postgresDialect is a server, shared with other nodes.
type postgresDialect struct{ config *pgx.ConnConfig }

const (
	postgresConns  = 16
	connectTimeout = 5 * time.Second
)

func (d postgresDialect) name() string {
	return fmt.Sprintf("postgres at %s/%s",
		net.JoinHostPort(d.config.Host, fmt.Sprint(d.config.Port)), d.config.Database)
}

func (d postgresDialect) open() (writer, reader *sql.DB, err error) {
	db := stdlib.OpenDB(*d.config)
	db.SetMaxOpenConns(postgresConns)
	db.SetMaxIdleConns(postgresConns)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db, db, nil
}

func (d postgresDialect) migrator() (database.Driver, error) {
	db := stdlib.OpenDB(*d.config)
	driver, err := migratepgx.WithInstance(db, &migratepgx.Config{})
	if err != nil {
		return nil, errors.Join(d.unreachable(err), db.Close())
	}
	return driver, nil
}

// lockSchema takes an advisory lock, which ends with its connection. It is
// held around everything, because the driver's own ends before a failed file
// is cleared.
func (d postgresDialect) lockSchema(ctx context.Context) (func() error, error) {
	db := stdlib.OpenDB(*d.config)
	db.SetMaxOpenConns(1)
	const lock = `SELECT pg_advisory_lock(hashtextextended('securecam ' || current_database() || current_schema(), 0))`
	if _, err := db.ExecContext(ctx, lock); err != nil {
		return nil, errors.Join(d.unreachable(err), db.Close())
	}
	return db.Close, nil
}

func (d postgresDialect) clock() string {
	return `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`
}

func (d postgresDialect) unreachable(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return errors.New(e.Message)
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e
	}
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errors.New("cannot connect")
}

func (d postgresDialect) retryable(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	// serialization_failure and deadlock_detected
	return ok && (e.Code == "40001" || e.Code == "40P01")
}

func (d postgresDialect) full(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "53100" // disk_full
}

func (d postgresDialect) violation(err error) violation {
	e, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && e.Code == "23505":
		return violatesUnique
	case ok && e.Code == "23503":
		return violatesForeignKey
	default:
		return violatesNothing
	}
}
