package store

import (
	"context"
	"time"
)

// doom has the object of a row that is being deleted deleted once more, when no
// URL to upload it works any longer.
func (db *DB) doom(ctx context.Context, tx *txn, key string) error {
	if db.limits.UploadLife <= 0 || key == "" {
		return nil
	}
	return db.abandon(ctx, tx, key)
}

// abandon has an object that no row names any more deleted, when no URL to
// upload it works any longer.
func (db *DB) abandon(ctx context.Context, tx *txn, key string) error {
	return doomAt(ctx, tx, key, db.Now().Add(db.limits.UploadLife))
}

// ExpectObject says that an object is about to be made whose row comes
// afterwards: unless a transaction has claimed it by then, it is deleted at the
// time until. So nothing is left of one whose row never came, and whoever does
// not know whether it did, since the connection broke during the commit, has
// nothing to decide.
func (db *DB) ExpectObject(ctx context.Context, key string, until time.Time) error {
	return db.inTx(ctx, func(tx *txn) error { return doomAt(ctx, tx, key, until) })
}

// claimObject says that a row names the object now.
func claimObject(ctx context.Context, tx *txn, key string) error {
	if key == "" {
		return nil
	}
	_, err := change(ctx, tx, `DELETE FROM doomed_objects WHERE object_key = $1`, key)
	return err
}

func doomAt(ctx context.Context, tx *txn, key string, at time.Time) error {
	const query = `INSERT INTO doomed_objects (object_key, due_at) VALUES ($1, $2)
		ON CONFLICT (object_key) DO UPDATE SET due_at = excluded.due_at`
	_, err := change(ctx, tx, query, key, ms(at))
	return err
}

// DoomedObjects returns the keys of objects that were doomed and are due, those
// first that are so for longest.
func (db *DB) DoomedObjects(ctx context.Context, at time.Time, limit int) ([]string, error) {
	const query = `SELECT object_key FROM doomed_objects WHERE due_at <= $1 ORDER BY due_at, object_key LIMIT $2`
	return all(ctx, db.r, scanText, query, ms(at), limit)
}

// ForgetDoomed says that a doomed object is gone for good.
func (db *DB) ForgetDoomed(ctx context.Context, key string) error {
	_, err := change(ctx, db.w, `DELETE FROM doomed_objects WHERE object_key = $1`, key)
	return db.sentinel(ctx, err)
}

// PostponeDoomed has a doomed object that could not be deleted come again
// later, behind the others.
func (db *DB) PostponeDoomed(ctx context.Context, key string, until time.Time) error {
	_, err := change(ctx, db.w, `UPDATE doomed_objects SET due_at = $2 WHERE object_key = $1`, key, ms(until))
	return db.sentinel(ctx, err)
}

// AwaitsUpload says whether there is a video or a recording that awaits the
// object with that key.
func (db *DB) AwaitsUpload(ctx context.Context, key string) (bool, error) {
	const query = `SELECT (SELECT COUNT(*) FROM videos WHERE object_key = $1 AND status = 'awaiting_upload') +
		(SELECT COUNT(*) FROM recordings WHERE object_key = $1 AND status = 'awaiting_upload')`
	n, err := one(ctx, db.r, scanCount, query, key)
	return n > 0, err
}

func scanCount(r row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}
