package store

import (
	"context"
	"errors"
	"time"
)

// Uploaded is what a camera has uploaded for a recording.
type Uploaded struct {
	ObjectKey   string // in place of the recording's, empty to keep it
	ContentType string
	Duration    time.Duration // 0 when the camera does not say
	Size        int64
}

// providerP2P is the media provider whose media this server never has: what is
// to be kept of it, the camera uploads.
const providerP2P = "p2p"

// expectUpload adds the recording that a camera is to upload of a stream that
// was streaming from peer to peer and has ended, unless the camera is not
// recorded or is gone.
func expectUpload(ctx context.Context, tx *txn, s Stream, reason string, at time.Time, by Actor) error {
	if s.MediaProvider != providerP2P || s.Status != StreamStreaming || reason == ReasonDeviceDeleted {
		return nil
	}
	camera, err := userDevice(ctx, tx, s.OwnerUserID, s.CameraDeviceID)
	if errors.Is(err, ErrNotFound) || (err == nil && camera.RecordingPolicy == RecordOff) {
		return nil
	}
	if err != nil {
		return err
	}
	id := NewID()
	return insertRecording(ctx, tx, Recording{
		ID: id, OwnerUserID: s.OwnerUserID, CameraDeviceID: s.CameraDeviceID, RequesterDeviceID: s.RequesterDeviceID,
		StreamID: s.ID, MediaSessionID: s.MediaSessionID, Status: RecordingAwaitingUpload,
		ObjectKey: "recordings/" + s.CameraDeviceID + "/" + id + ".webm", ContentType: "video/webm",
		Duration: max(0, at.Sub(s.StartedAt)), StartedAt: s.StartedAt, EndedAt: at, CreatedAt: at, UpdatedAt: at,
	}, by)
}

// ReserveUpload has the size that is to be uploaded for the user's recording
// count as if it were there. What was reserved before stays when it is more: a
// URL to upload that was given out still works. It returns ErrNoStorage when
// the owner may not keep as much, and ErrConflict when the recording awaits
// nothing any more.
func (db *DB) ReserveUpload(ctx context.Context, userID, id string, size int64) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		const query = `UPDATE recordings SET size = CASE WHEN size > $3 THEN size ELSE $3 END
			WHERE id = $1 AND owner_user_id = $2 AND status = 'awaiting_upload'`
		err := changeOne(ctx, tx, query, id, userID, size)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM recordings WHERE id = $1 AND owner_user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		return db.storageFor(ctx, tx, userID, 0)
	})
}

// FinalizeRecording makes a recording that awaits the upload of its camera
// ready. It is given as the caller knows it, who has looked for its object since:
// it returns ErrConflict when it awaits nothing, or another object, by now.
func (db *DB) FinalizeRecording(
	ctx context.Context, known Recording, u Uploaded, at time.Time, by Actor,
) (r Recording, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE recordings SET status = 'ready', content_type = $2, size = $3, updated_at = $4,
			duration_ms = CASE WHEN CAST($5 AS BIGINT) > 0 THEN CAST($5 AS BIGINT) ELSE duration_ms END,
			object_key = CASE WHEN $6 = '' THEN object_key ELSE $6 END,
			ended_at = CASE WHEN ended_at IS NULL THEN $4 ELSE ended_at END
			WHERE id = $1 AND object_key = $7 AND status = 'awaiting_upload' RETURNING ` + recordingColumns
		r, err = one(ctx, tx, scanRecording, query, known.ID, u.ContentType, u.Size, ms(at), u.Duration.Milliseconds(),
			u.ObjectKey, known.ObjectKey)
		if err != nil {
			return notAwaiting(ctx, tx, known.ID, err)
		}
		if known.ObjectKey != r.ObjectKey { // the camera may have uploaded that one all the same
			if err := db.abandon(ctx, tx, known.ObjectKey); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, r.OwnerUserID, "recording", "finalize", r.ID, details{"size": u.Size, "objectKey": r.ObjectKey})
	})
	return r, err
}

// GiveUpRecording fails a recording whose upload did not come. It is given as
// the caller knows it, who has looked for its object since: it returns
// ErrConflict when it awaits nothing, or another object, by now.
func (db *DB) GiveUpRecording(ctx context.Context, known Recording, reason string, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE recordings SET status = 'failed', size = 0, error = $2, updated_at = $3
			WHERE id = $1 AND object_key = $4 AND status = 'awaiting_upload' RETURNING ` + recordingColumns
		r, err := one(ctx, tx, scanRecording, query, known.ID, reason, ms(at), known.ObjectKey)
		if err != nil {
			return notAwaiting(ctx, tx, known.ID, err)
		}
		if err := db.doom(ctx, tx, r.ObjectKey); err != nil { // it may come yet
			return err
		}
		return audit(ctx, tx, Actor{}, r.OwnerUserID, "recording", "fail", r.ID, details{"error": reason})
	})
}

// AwaitUpload has the user's recording, whose upload did not come, await it once
// more. It returns ErrConflict for any other recording, and when its camera is
// gone.
//
// What it awaits has another key than before: the object of that one stays
// doomed, and whoever deletes it may have begun already.
func (db *DB) AwaitUpload(ctx context.Context, userID, id string, at time.Time, by Actor) (r Recording, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE recordings SET status = 'awaiting_upload', error = '', updated_at = $3,
			object_key = 'recordings/' || camera_device_id || '/' || CAST($4 AS TEXT) || '.webm'
			WHERE id = $1 AND owner_user_id = $2 AND ` + uploaded + ` AND ` + deadUpload + ` RETURNING ` + recordingColumns
		r, err = one(ctx, tx, scanRecording, query, id, userID, ms(at), NewID())
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM recordings WHERE id = $1 AND owner_user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "recording", "await_upload", id, details{"objectKey": r.ObjectKey})
	})
	return r, err
}

// uploaded is the condition for a recording that its camera makes: no process
// of ours does.
const uploaded = `node_id = ''`

// deadUpload is the condition for one of those that may be awaited once more:
// its camera is there still.
const deadUpload = `(status = 'failed' AND EXISTS (SELECT 1 FROM devices d WHERE d.id = camera_device_id AND d.deleted_at IS NULL))`

func notAwaiting(ctx context.Context, tx *txn, id string, err error) error {
	if errors.Is(err, ErrNotFound) {
		return conflictIf(ctx, tx, `SELECT id FROM recordings WHERE id = $1`, id)
	}
	return err
}

// StaleUploads returns recordings that have awaited their upload since before,
// whoever owns them, those first that have for longest.
func (db *DB) StaleUploads(ctx context.Context, before time.Time, limit int) ([]Recording, error) {
	const query = "SELECT " + recordingColumns + ` FROM recordings WHERE status = 'awaiting_upload' AND updated_at < $1
		ORDER BY updated_at, id LIMIT $2`
	return all(ctx, db.r, scanRecording, query, ms(before), limit)
}
