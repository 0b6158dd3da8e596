package store

import (
	"context"
	"errors"
	"time"
)

// RecordingStatus is the state of a recording.
type RecordingStatus string

// The recording states. The server's own recordings go recording -> ready or
// failed, a camera's uploads awaiting_upload -> ready or failed.
const (
	RecordingRunning        RecordingStatus = "recording"
	RecordingAwaitingUpload RecordingStatus = "awaiting_upload"
	RecordingReady          RecordingStatus = "ready"
	RecordingFailed         RecordingStatus = "failed"
)

// Recording is media recorded from a media session by the server, or
// uploaded by a camera.
type Recording struct {
	ID                string
	OwnerUserID       string
	CameraDeviceID    string
	RequesterDeviceID string // empty when nobody watched
	StreamID          string // the stream session that started it, empty when none
	MediaSessionID    string
	NodeID            string // the node whose spool holds it while it runs
	Status            RecordingStatus
	ObjectKey         string
	Bucket            string
	ContentType       string
	Duration          time.Duration
	Size              int64 // bytes
	Error             string
	StartedAt         time.Time
	EndedAt           time.Time
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// RecordingFilter narrows a list of recordings; empty fields do not.
type RecordingFilter struct {
	CameraDeviceID string
	DeviceID       string // the camera, or a client that has an active link with it
	StreamID       string
	Status         RecordingStatus
}

const recordingColumns = "id, owner_user_id, camera_device_id, requester_device_id, stream_session_id, " +
	"media_session_id, node_id, status, object_key, bucket, content_type, duration_ms, size, error, started_at, " +
	"ended_at, created_at, updated_at"

func scanRecording(r row) (v Recording, err error) {
	var durationMS int64
	err = r.Scan(&v.ID, &v.OwnerUserID, &v.CameraDeviceID, textColumn{&v.RequesterDeviceID}, textColumn{&v.StreamID},
		textColumn{&v.MediaSessionID}, &v.NodeID, &v.Status, &v.ObjectKey, &v.Bucket, &v.ContentType, &durationMS,
		&v.Size, &v.Error, timeColumn{&v.StartedAt}, timeColumn{&v.EndedAt}, timeColumn{&v.CreatedAt},
		timeColumn{&v.UpdatedAt})
	v.Duration = time.Duration(durationMS) * time.Millisecond
	return v, err
}

// CreateRecording adds a recording. It returns ErrNotFound when its camera,
// requester, stream or media session is not the owner's, ErrConflict when
// another recording has its object key, and ErrNoStorage when the owner may
// keep nothing more.
func (db *DB) CreateRecording(ctx context.Context, r Recording, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := db.storageFor(ctx, tx, r.OwnerUserID, 1); err != nil {
			return err
		}
		return insertRecording(ctx, tx, r, by)
	})
}

func insertRecording(ctx context.Context, tx *txn, r Recording, by Actor) error {
	err := insert(ctx, tx, "recordings", recordingColumns, r.ID, r.OwnerUserID, r.CameraDeviceID,
		text(r.RequesterDeviceID), text(r.StreamID), text(r.MediaSessionID), r.NodeID, r.Status, r.ObjectKey,
		r.Bucket, r.ContentType, r.Duration.Milliseconds(), r.Size, r.Error, ms(r.StartedAt), ms(r.EndedAt),
		ms(r.CreatedAt), ms(orElse(r.UpdatedAt, r.CreatedAt)))
	if err != nil {
		return err
	}
	return audit(ctx, tx, by, r.OwnerUserID, "recording", "create", r.ID, details{"cameraDeviceId": r.CameraDeviceID})
}

// FinishRecording makes a running recording ready. It returns ErrConflict when
// the recording has ended before.
//
// An empty contentType leaves the one that it has.
func (db *DB) FinishRecording(
	ctx context.Context, id, contentType string, duration time.Duration, size int64, at time.Time,
) error {
	return db.endRecording(ctx, id, RecordingReady, contentType, duration, size, "", at)
}

// FailRecording makes a running recording failed. It returns ErrConflict when
// the recording has ended before.
func (db *DB) FailRecording(ctx context.Context, id, reason string, at time.Time) error {
	return db.endRecording(ctx, id, RecordingFailed, "", 0, 0, reason, at)
}

func (db *DB) endRecording(ctx context.Context, id string, to RecordingStatus, contentType string, duration time.Duration,
	size int64, errText string, at time.Time,
) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE recordings SET status = $2, duration_ms = $3, size = $4, error = $5, ended_at = $6,
			updated_at = $6, content_type = CASE WHEN $7 = '' THEN content_type ELSE $7 END
			WHERE id = $1 AND status = 'recording' RETURNING owner_user_id`
		owner, err := one(ctx, tx, scanText, query, id, to, duration.Milliseconds(), size, errText, ms(at), contentType)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM recordings WHERE id = $1`, id)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, Actor{}, owner, "recording", "end", id, details{"status": to})
	})
}

// Recording returns the user's recording.
func (db *DB) Recording(ctx context.Context, userID, id string) (Recording, error) {
	const query = "SELECT " + recordingColumns + " FROM recordings WHERE id = $1 AND owner_user_id = $2"
	return one(ctx, db.r, scanRecording, query, id, userID)
}

// Recordings lists the user's recordings that pass the filter.
func (db *DB) Recordings(ctx context.Context, userID string, by RecordingFilter, p Page) ([]Recording, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	if by.CameraDeviceID != "" {
		f.and("camera_device_id = ?", by.CameraDeviceID)
	}
	f.visibleTo(by.DeviceID, "recordings", "camera_device_id")
	if by.StreamID != "" {
		f.and("stream_session_id = ?", by.StreamID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanRecording, "SELECT "+recordingColumns+" FROM recordings"+clauses, args...)
}

// DeleteRecording deletes the user's recording and returns it, so that the
// caller deletes its object. It returns ErrConflict while the recording runs
// or awaits its upload.
func (db *DB) DeleteRecording(ctx context.Context, userID, id string, by Actor) (r Recording, err error) {
	return db.deleteRecording(ctx, userID, id, "status IN ('ready', 'failed')", by)
}

// deleteRecording returns ErrConflict for a recording that the condition does
// not hold for.
func (db *DB) deleteRecording(ctx context.Context, userID, id, which string, by Actor) (r Recording, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		query := "DELETE FROM recordings WHERE id = $1 AND owner_user_id = $2 AND " + which + " RETURNING " + recordingColumns
		r, err = one(ctx, tx, scanRecording, query, id, userID)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM recordings WHERE id = $1 AND owner_user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		if err := db.doom(ctx, tx, r.ObjectKey); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "recording", "delete", id, details{"objectKey": r.ObjectKey})
	})
	return r, err
}

// UnfinishedRecordings returns what the node was recording, oldest first.
func (db *DB) UnfinishedRecordings(ctx context.Context, nodeID string) ([]Recording, error) {
	const query = "SELECT " + recordingColumns + ` FROM recordings
		WHERE node_id = $1 AND status = 'recording' ORDER BY created_at, id`
	return all(ctx, db.r, scanRecording, query, nodeID)
}
