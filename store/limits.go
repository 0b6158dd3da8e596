package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNoStorage reports that the user's videos and recordings take up all that
// they may.
var ErrNoStorage = errors.New("store: storage limit reached")

// ErrFull reports that the user has as many of something as one may have.
var ErrFull = errors.New("store: full")

// Limits bound what one user may have; zero is no bound.
type Limits struct {
	Devices         int // links follow: each is a pair of devices
	PendingCommands int // that one camera has not answered
	Sessions        int // the oldest makes room for a new one

	// Storage is how many bytes of videos and recordings: nothing is begun when
	// it is reached. What is being recorded counts when it ends, what is being
	// uploaded from when its URL was given out.
	Storage int64
	// UploadLife is for how long after it was given out a URL to upload an
	// object may make one.
	UploadLife time.Duration
}

// SetLimits bounds what users may have from now on. It must be called before
// the DB is shared.
func (db *DB) SetLimits(l Limits) { db.limits = l }

// checkRoom returns ErrFull when the query counts limit rows or more. A limit
// of zero is none. The transaction must be the only one that adds such rows.
func checkRoom(ctx context.Context, q querier, limit int, query string, args ...any) error {
	if limit <= 0 {
		return nil
	}
	n, err := one(ctx, q, scanCount, query, args...)
	if err == nil && n >= int64(limit) {
		return fmt.Errorf("%w: %d of %d", ErrFull, n, limit)
	}
	return err
}

// storageFor returns ErrNoStorage when the user's videos and recordings and so
// many bytes more are too much.
func (db *DB) storageFor(ctx context.Context, q querier, userID string, size int64) error {
	if db.limits.Storage <= 0 {
		return nil
	}
	const query = `SELECT CAST(COALESCE((SELECT SUM(size) FROM videos WHERE user_id = $1), 0) +
		COALESCE((SELECT SUM(size) FROM recordings WHERE owner_user_id = $1), 0) AS BIGINT)`
	used, err := one(ctx, q, scanCount, query, userID)
	if err == nil && used+size > db.limits.Storage {
		return fmt.Errorf("%w: %d bytes of %d, and %d more", ErrNoStorage, used, db.limits.Storage, size)
	}
	return err
}
