package store

import (
	"context"
	"strings"
)

// Object is what a row keeps in the object store.
type Object struct {
	Type        string // recording, video or event
	ID          string // of the row
	OwnerUserID string
}

// ObjectOf returns whose an object is, or ErrNotFound for one that no row names.
func (db *DB) ObjectOf(ctx context.Context, key string) (Object, error) {
	// A thumbnail's key tells its camera, by which its event is found.
	var camera string
	if parts := strings.Split(key, "/"); len(parts) > 1 {
		camera = parts[1]
	}
	const query = `SELECT 'recording', id, owner_user_id FROM recordings WHERE object_key = $1
		UNION ALL SELECT 'video', id, user_id FROM videos WHERE object_key = $1
		UNION ALL SELECT 'event', id, user_id FROM events WHERE device_id = $2 AND thumbnail_key = $1 LIMIT 1`
	o, err := one(ctx, db.r, func(r row) (o Object, err error) {
		err = r.Scan(&o.Type, &o.ID, &o.OwnerUserID)
		return o, err
	}, query, key, camera)
	return o, db.sentinel(ctx, err)
}
