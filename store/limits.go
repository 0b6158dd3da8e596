package store

import (
	"context"
	"errors"
	"fmt"
)

// ErrFull reports that the user has as many of something as one may have.
var ErrFull = errors.New("store: full")

// Limits bound what one user may have; zero is no bound.
type Limits struct {
	Devices         int // links follow: each is a pair of devices
	PendingCommands int // that one camera has not answered
	Sessions        int // the oldest makes room for a new one
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
	scan := func(r row) (n int, err error) {
		err = r.Scan(&n)
		return n, err
	}
	n, err := one(ctx, q, scan, query, args...)
	if err == nil && n >= limit {
		return fmt.Errorf("%w: %d of %d", ErrFull, n, limit)
	}
	return err
}
