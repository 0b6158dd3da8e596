package store

import "context"

// InstallationID names the database, the same for all processes that use it
// and no other; the first to ask makes it.
func (db *DB) InstallationID(ctx context.Context) (string, error) {
	const add = `INSERT INTO installation (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING`
	if _, err := change(ctx, db.w, add, NewID()); err != nil {
		return "", db.sentinel(ctx, err)
	}
	id, err := one(ctx, db.w, scanText, `SELECT id FROM installation WHERE one = 1`)
	return id, db.sentinel(ctx, err)
}
