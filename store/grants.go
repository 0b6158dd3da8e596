package store

import "context"

// Grant is what a device's right to publish or to watch stands on.
type Grant struct {
	TokenKeyID string // of the device's token now
	Open       bool   // the media session or the stream goes on
}

// PublishGrant returns that of a camera and a media session. It fails with
// ErrNotFound if there is not both.
func (db *DB) PublishGrant(ctx context.Context, deviceID, mediaSessionID string) (Grant, error) {
	const query = `SELECT d.token_key_id, m.ended_at IS NULL FROM devices d, media_sessions m
		WHERE d.id = $1 AND d.deleted_at IS NULL AND m.id = $2`
	return one(ctx, db.r, scanGrant, query, deviceID, mediaSessionID)
}

// WatchGrant returns that of a device and a stream of the user. It fails with
// ErrNotFound if there is not both.
func (db *DB) WatchGrant(ctx context.Context, deviceID, userID, streamID string) (Grant, error) {
	const query = `SELECT d.token_key_id, s.status = 'streaming' FROM devices d, stream_sessions s
		WHERE d.id = $1 AND d.deleted_at IS NULL AND s.id = $2 AND s.owner_user_id = $3`
	return one(ctx, db.r, scanGrant, query, deviceID, streamID, userID)
}

func scanGrant(r row) (g Grant, err error) {
	err = r.Scan(&g.TokenKeyID, &g.Open)
	return g, err
}
