// Package store is the database: one type per row, one method per question.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Config says where the database is.
type Config struct {
	// URL is "sqlite:/path/to/file.db", whose folder is made when absent, or
	// "postgres://user:password@host/name".
	URL string
	// Logger may be nil.
	Logger *slog.Logger
	// Now is this machine's clock, time.Now if nil.
	Now func() time.Time
}

// DB is the database. It is safe for concurrent use.
type DB struct {
	dialect dialect
	w       *sql.DB // everything that changes a row
	r       *sql.DB // everything else; the same pool as w on PostgreSQL
	log     *slog.Logger

	clock func() time.Time
	skew  atomic.Int64 // nanoseconds; what the database's clock is ahead of it

	onRevocation    func()                           // nil, or what OnRevocation was given
	onCommandsEnded func(context.Context, []Command) // nil, or what OnCommandsEnded was given

	limits Limits
}

// Open connects to the database and answers an error when that is not
// possible. It does not touch the schema: see Migrate and SchemaReady. The
// error never shows credentials.
func Open(ctx context.Context, c Config) (*DB, error) {
	d, err := dialectOf(c.URL)
	if err != nil {
		return nil, err
	}
	db := &DB{dialect: d, log: c.Logger, clock: c.Now}
	if db.clock == nil {
		db.clock = time.Now
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.w, db.r, err = d.open(); err != nil {
		return nil, err
	}
	if err := db.Ping(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	// The writer goes first: on SQLite it makes the file.
	for _, pool := range []*sql.DB{db.w, db.r} {
		if err := pool.PingContext(ctx); err != nil {
			return fmt.Errorf("store: %s: %w", db.dialect.name(), db.dialect.unreachable(err))
		}
		if db.w == db.r {
			break
		}
	}
	return nil
}

// Close waits for running queries and disconnects.
func (db *DB) Close() error {
	if db.w == db.r {
		return db.w.Close()
	}
	return errors.Join(db.r.Close(), db.w.Close())
}

const (
	maxAttempts  = 10
	firstBackoff = 5 * time.Millisecond
	maxBackoff   = 200 * time.Millisecond
)

// inTx runs f in a transaction. It may run f again, in a new transaction,
// when the engine gave up one for the sake of another; so f must set, not
// accumulate, what it leaves behind. Driver errors become sentinels.
func (db *DB) inTx(ctx context.Context, f func(tx *txn) error) error {
	ended, err := db.run(ctx, f)
	db.tellCommandsEnded(ctx, ended)
	return err
}

// run is inTx that leaves it to the caller to tell of the commands that ended.
func (db *DB) run(ctx context.Context, f func(tx *txn) error) (ended []Command, err error) {
	backoff := firstBackoff
	for attempt := 1; ; attempt++ {
		ended, err := db.once(ctx, f)
		if err == nil || attempt == maxAttempts || !db.dialect.retryable(err) {
			return ended, db.sentinel(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (db *DB) once(ctx context.Context, f func(tx *txn) error) (ended []Command, err error) {
	begun, err := db.w.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	tx := &txn{Tx: begun, now: db.now}
	if err := f(tx); err != nil {
		if rollback := tx.Rollback(); rollback != nil && !errors.Is(rollback, sql.ErrTxDone) {
			return nil, errors.Join(err, rollback)
		}
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return tx.ended, nil
}

// sentinel turns what the driver reports about a row into ErrNotFound or
// ErrConflict, about its connection into ErrUnavailable, and leaves every other
// error alone.
func (db *DB) sentinel(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrNotFound), errors.Is(err, ErrConflict):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case db.dialect.violation(err) == violatesUnique:
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case db.dialect.violation(err) == violatesForeignKey:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case db.dialect.full(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	default:
		return outage(ctx, err)
	}
}

// outage makes an error an ErrUnavailable if that is what it means. When the
// caller itself has given up, that is not the database's fault.
func outage(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrUnavailable) || !unavailable(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// NewID returns an id for a new row: a UUIDv7, of which the later one is the
// greater one.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// txn is a transaction that knows the time by the database's clock.
type txn struct {
	*sql.Tx
	now   func() time.Time
	ended []Command // for OnCommandsEnded
}

// now is Now in the resolution that rows keep.
func (db *DB) now() time.Time { return db.Now().UTC().Truncate(time.Millisecond) }
