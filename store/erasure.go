package store

import (
	"context"
)

// Erasure is an object of a user who was deleted, with the row that names it.
type Erasure struct {
	Table     string // recordings, videos or events
	ID        string
	ObjectKey string
}

// Erasures returns objects of deleted users that are to be deleted, beginning
// behind the id after, at most so many. What is still being recorded is not
// among them yet.
func (db *DB) Erasures(ctx context.Context, after string, limit int) ([]Erasure, error) {
	scan := func(r row) (e Erasure, err error) {
		err = r.Scan(&e.Table, &e.ID, &e.ObjectKey)
		return e, err
	}
	const query = `SELECT 'recordings', r.id AS id, r.object_key FROM recordings r
			JOIN users u ON u.id = r.owner_user_id WHERE u.deleted_at IS NOT NULL AND r.status <> 'recording' AND r.id > $1
		UNION ALL SELECT 'videos', v.id, v.object_key FROM videos v
			JOIN users u ON u.id = v.user_id WHERE u.deleted_at IS NOT NULL AND v.id > $1
		UNION ALL SELECT 'events', e.id, e.thumbnail_key FROM events e
			JOIN users u ON u.id = e.user_id WHERE u.deleted_at IS NOT NULL AND e.thumbnail_key <> '' AND e.id > $1
		ORDER BY id LIMIT $2`
	return all(ctx, db.r, scan, query, after, limit)
}

// Erase deletes the row of an object that is gone, or its name from the row of
// an event.
func (db *DB) Erase(ctx context.Context, e Erasure) error {
	query := `DELETE FROM recordings WHERE id = $1`
	switch e.Table {
	case "videos":
		query = `DELETE FROM videos WHERE id = $1`
	case "events":
		query = `UPDATE events SET thumbnail_key = '' WHERE id = $1`
	}
	return db.inTx(ctx, func(tx *txn) error {
		if err := changeOne(ctx, tx, query, e.ID); err != nil {
			return err
		}
		return db.doom(ctx, tx, e.ObjectKey)
	})
}
