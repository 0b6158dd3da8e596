package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Processes on one database must agree on the time: a lease that one of them
// has taken would have ended already for another whose clock is ahead, what one
// signs would not hold yet for another, and what they both did would be told in
// the wrong order. So they all go by the database's, as far as their own is
// wrong.
//
// Ids hold a time of this machine's own: they put into order only what has the
// same time otherwise. How long something takes is measured by this machine.
const (
	// clockTolerance is what does not matter: the clocks of two processes differ
	// by twice as much at most, and by what the way to the database took.
	clockTolerance = 50 * time.Millisecond
	// clockComplaint is what an operator should do something about.
	clockComplaint = 500 * time.Millisecond
	clockInterval  = 30 * time.Second
	clockTimeout   = 5 * time.Second
)

// Now is the time by the database's clock, as far as SetClock or RunClock have
// learnt it: this machine's, unless that is wrong by more than a twentieth of a
// second.
func (db *DB) Now() time.Time { return db.clock().Add(time.Duration(db.skew.Load())) }

// SetClock compares this machine's clock with the database's. One that is
// wrong is complained about, and put right for Now.
func (db *DB) SetClock(ctx context.Context) error {
	query := db.dialect.clock()
	if query == "" {
		return nil // the database is in this process
	}
	ctx, cancel := context.WithTimeout(ctx, clockTimeout)
	defer cancel()
	before := db.clock()
	there, err := one(ctx, db.r, scanCount, query)
	if err != nil {
		return fmt.Errorf("store: compare clocks: %w", db.sentinel(ctx, err))
	}
	took := db.clock().Sub(before)
	skew, known := time.UnixMilli(there).Sub(before.Add(took/2)), time.Duration(db.skew.Load())
	if took/2+clockTolerance >= (skew - known).Abs() {
		return nil // as before
	}
	if skew.Abs() < clockTolerance {
		skew = 0
	}
	db.skew.Store(int64(skew))
	switch {
	case skew.Abs() >= clockComplaint:
		db.log.WarnContext(ctx, "clock of this machine or of the database is wrong: the database's is used", slog.Duration("off", -skew))
	case known.Abs() >= clockComplaint:
		db.log.InfoContext(ctx, "clock agrees with the database's again", slog.Duration("off", -skew))
	}
	return nil
}

// RunClock does SetClock now and then, until ctx ends. While the database is
// away, what was learnt last counts.
func (db *DB) RunClock(ctx context.Context) error {
	tick := time.NewTicker(clockInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			_ = db.SetClock(ctx) // whoever asks the database for more complains
		}
	}
}
