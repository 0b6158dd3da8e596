package store

import (
	"context"
	"errors"
	"time"
)

// StreamStatus is the state of a stream session.
type StreamStatus string

// The reasons that the store itself gives, or judges by: a media session that
// ends for one of the first two has failed its streams. They are API.
const (
	ReasonCameraLost        = "camera_lost"
	ReasonCameraUnavailable = "camera_unavailable"
	ReasonLinkRevoked       = "link_revoked"
	ReasonDeviceDeleted     = "device_deleted"
	ReasonDeviceRevoked     = "device_revoked"
	ReasonUserRevoked       = "user_revoked"
)

// The stream states: requested -> streaming -> completed, cancelled or failed.
const (
	StreamRequested StreamStatus = "requested"
	StreamStreaming StreamStatus = "streaming"
	StreamCompleted StreamStatus = "completed"
	StreamCancelled StreamStatus = "cancelled"
	StreamFailed    StreamStatus = "failed"
)

// Stream is a stream session: one client watching one camera, from request to
// end.
type Stream struct {
	ID                string
	OwnerUserID       string
	CameraDeviceID    string
	RequesterDeviceID string
	Status            StreamStatus
	Reason            string
	MediaProvider     string
	MediaSessionID    string // empty until streaming
	StreamKey         string
	CreatedAt         time.Time
	UpdatedAt         time.Time
	StartedAt         time.Time
	EndedAt           time.Time
}

const streamColumns = "id, owner_user_id, camera_device_id, requester_device_id, status, reason, media_provider, " +
	"media_session_id, stream_key, created_at, updated_at, started_at, ended_at"

func scanStream(r row) (s Stream, err error) {
	err = r.Scan(&s.ID, &s.OwnerUserID, &s.CameraDeviceID, &s.RequesterDeviceID, &s.Status, &s.Reason,
		&s.MediaProvider, textColumn{&s.MediaSessionID}, &s.StreamKey, timeColumn{&s.CreatedAt},
		timeColumn{&s.UpdatedAt}, timeColumn{&s.StartedAt}, timeColumn{&s.EndedAt})
	return s, err
}

// RequestStream adds a stream. If the camera publishes already, the stream
// joins that media session and is streaming at once; otherwise it is requested
// and cmd, which wakes the camera, is added with it. It returns ErrNotFound
// unless the two devices are linked, and ErrConflict when the requester has an
// open stream with the camera.
func (db *DB) RequestStream(ctx context.Context, s Stream, cmd Command, by Actor) (made Stream, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		if err := lockCamera(ctx, tx, s.OwnerUserID, s.CameraDeviceID); err != nil {
			return err
		}
		if _, err := activeLink(ctx, tx, s.CameraDeviceID, s.RequesterDeviceID); err != nil {
			return err
		}
		m, err := runningMedia(ctx, tx, s.CameraDeviceID)
		publishing := err == nil
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		made = s
		made.Status, made.MediaSessionID, made.StartedAt, made.EndedAt = StreamRequested, "", time.Time{}, time.Time{}
		made.UpdatedAt = orElse(s.UpdatedAt, s.CreatedAt)
		if publishing {
			made.Status, made.MediaSessionID, made.StartedAt = StreamStreaming, m.ID, s.CreatedAt
		}
		if publishing {
			return insertStream(ctx, tx, made, "", by)
		}
		if err := insertCommand(ctx, tx, cmd, by); err != nil {
			return err
		}
		return insertStream(ctx, tx, made, cmd.ID, by)
	})
	return made, err
}

func insertStream(ctx context.Context, tx *txn, s Stream, commandID string, by Actor) error {
	err := insert(ctx, tx, "stream_sessions", streamColumns+", command_id", s.ID, s.OwnerUserID, s.CameraDeviceID,
		s.RequesterDeviceID, s.Status, s.Reason, s.MediaProvider, text(s.MediaSessionID), s.StreamKey,
		ms(s.CreatedAt), ms(s.UpdatedAt), ms(s.StartedAt), ms(s.EndedAt), text(commandID))
	if err != nil {
		return err
	}
	return audit(ctx, tx, by, s.OwnerUserID, "stream", "request", s.ID, details{"status": s.Status})
}

// AcceptStream makes a requested stream of the camera streaming, with the
// camera's open media session or, if there is none, with m, at m.CreatedAt. It
// returns ErrConflict when the stream is not requested any more.
func (db *DB) AcceptStream(ctx context.Context, cameraID, id string, m MediaSession, by Actor) (
	s Stream, open MediaSession, err error,
) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		asked, err := lockStream(ctx, tx, `id = $1 AND camera_device_id = $2`, id, cameraID)
		if err != nil {
			return err
		}
		if asked.Status != StreamRequested {
			return ErrConflict
		}
		wanted := m
		wanted.OwnerUserID, wanted.CameraDeviceID = asked.OwnerUserID, cameraID
		if open, err = openMedia(ctx, tx, wanted, by); err != nil {
			return err
		}
		const accept = `UPDATE stream_sessions SET status = 'streaming', media_session_id = $2, started_at = $3,
			updated_at = $3 WHERE id = $1 AND status = 'requested' RETURNING ` + streamColumns
		if s, err = one(ctx, tx, scanStream, accept, id, open.ID, ms(m.CreatedAt)); err != nil {
			return err
		}
		// Accepting is the answer, whether or not the camera also acknowledges.
		const answered = `UPDATE device_commands SET status = 'acknowledged', ack_at = $2, updated_at = $2
			WHERE id = (SELECT command_id FROM stream_sessions WHERE id = $1) AND status IN ('queued', 'sent') RETURNING ` + commandColumns
		if err := endCommands(ctx, tx, answered, id, ms(m.CreatedAt)); err != nil {
			return err
		}
		return audit(ctx, tx, by, s.OwnerUserID, "stream", "accept", id, details{"mediaSessionId": open.ID})
	})
	return s, open, err
}

// lockStream finds a stream, locks its camera, and returns the stream as it is
// under that lock.
func lockStream(ctx context.Context, tx *txn, where string, args ...any) (Stream, error) {
	query := "SELECT " + streamColumns + " FROM stream_sessions WHERE " + where
	s, err := one(ctx, tx, scanStream, query, args...)
	if err != nil {
		return Stream{}, err
	}
	if err := lockCamera(ctx, tx, s.OwnerUserID, s.CameraDeviceID); err != nil {
		return Stream{}, err
	}
	return one(ctx, tx, scanStream, query, args...)
}

// EndStream ends the user's stream, and its media session when nobody else
// watches and it is not continuous: that one is returned then, the zero
// MediaSession otherwise. Status is StreamFailed, or anything else for an
// orderly end: completed if the stream was streaming, cancelled if it was only
// requested. The command that asked the camera for it fails with it, unless it
// was answered. An empty reason keeps the one that the request gave. It returns
// ErrConflict when the stream has ended before.
func (db *DB) EndStream(ctx context.Context, userID, id string, status StreamStatus, reason string, at time.Time,
	by Actor,
) (s Stream, m MediaSession, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		open, err := lockStream(ctx, tx, `id = $1 AND owner_user_id = $2`, id, userID)
		if err != nil {
			return err
		}
		s, m, err = endStream(ctx, tx, open, status, reason, at, by)
		return err
	})
	return s, m, err
}

// endStream does EndStream. The caller holds the camera's lock.
func endStream(ctx context.Context, tx *txn, s Stream, status StreamStatus, reason string, at time.Time,
	by Actor,
) (Stream, MediaSession, error) {
	s, err := closeStream(ctx, tx, s, status, reason, at, by)
	if err != nil || s.MediaSessionID == "" {
		return s, MediaSession{}, err
	}
	m, err := endUnwatchedMedia(ctx, tx, s.MediaSessionID, reason, at, by)
	return s, m, err
}

// closeStream ends a stream and leaves its media session alone.
func closeStream(ctx context.Context, tx *txn, s Stream, status StreamStatus, reason string, at time.Time,
	by Actor,
) (Stream, error) {
	switch {
	case s.Status != StreamRequested && s.Status != StreamStreaming:
		return Stream{}, ErrConflict
	case status == StreamFailed:
	case s.Status == StreamStreaming:
		status = StreamCompleted
	default:
		status = StreamCancelled
	}
	if reason == "" {
		reason = s.Reason
	}
	const end = `UPDATE stream_sessions SET status = $3, reason = $4, ended_at = $5, updated_at = $5
		WHERE id = $1 AND status = $2 RETURNING ` + streamColumns
	ended, err := one(ctx, tx, scanStream, end, s.ID, s.Status, status, reason, ms(at))
	if err != nil {
		return Stream{}, err
	}
	const asked = `id = (SELECT command_id FROM stream_sessions WHERE id = $3)`
	if err := failPending(ctx, tx, errStreamEnded, at, asked, s.ID); err != nil {
		return Stream{}, err
	}
	if err := expectUpload(ctx, tx, s, reason, at, by); err != nil {
		return Stream{}, err
	}
	return ended, audit(ctx, tx, by, s.OwnerUserID, "stream", "end", s.ID, details{"status": status, "reason": reason})
}

// endDevice ends what a device takes part in. The caller holds the lock on the
// devices of its user.
func endDevice(ctx context.Context, tx *txn, id, reason string, at time.Time, by Actor) error {
	m, err := runningMedia(ctx, tx, id)
	if err == nil {
		_, err = endMedia(ctx, tx, m.ID, reason, at, by)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	const open = "SELECT " + streamColumns + ` FROM stream_sessions
		WHERE (camera_device_id = $1 OR requester_device_id = $1) AND status IN ('requested', 'streaming')`
	streams, err := all(ctx, tx, scanStream, open, id)
	if err != nil {
		return err
	}
	for _, s := range streams {
		if _, _, err := endStream(ctx, tx, s, StreamCompleted, reason, at, by); err != nil {
			return err
		}
	}
	return nil
}

// Stream returns the user's stream.
func (db *DB) Stream(ctx context.Context, userID, id string) (Stream, error) {
	const query = "SELECT " + streamColumns + " FROM stream_sessions WHERE id = $1 AND owner_user_id = $2"
	return one(ctx, db.r, scanStream, query, id, userID)
}

// FirstWatcher returns the oldest stream that watches a media session, whoever
// owns it, or ErrNotFound when nobody watches.
func (db *DB) FirstWatcher(ctx context.Context, mediaSessionID string) (Stream, error) {
	const query = "SELECT " + streamColumns + ` FROM stream_sessions
		WHERE media_session_id = $1 AND status = 'streaming' ORDER BY created_at, id LIMIT 1`
	return one(ctx, db.r, scanStream, query, mediaSessionID)
}

// StreamFilter narrows a list of streams; empty fields do not.
type StreamFilter struct {
	DeviceID          string // on either side
	CameraDeviceID    string
	RequesterDeviceID string
	Status            StreamStatus
	Since, Until      time.Time // of CreatedAt: from Since, before Until
}

// Streams lists the user's streams that pass the filter.
func (db *DB) Streams(ctx context.Context, userID string, by StreamFilter, p Page) ([]Stream, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	if by.DeviceID != "" {
		f.and("(camera_device_id = ? OR requester_device_id = ?)", by.DeviceID, by.DeviceID)
	}
	if by.CameraDeviceID != "" {
		f.and("camera_device_id = ?", by.CameraDeviceID)
	}
	if by.RequesterDeviceID != "" {
		f.and("requester_device_id = ?", by.RequesterDeviceID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	f.between("created_at", by.Since, by.Until)
	clauses, args := f.page(p)
	return all(ctx, db.r, scanStream, "SELECT "+streamColumns+" FROM stream_sessions"+clauses, args...)
}

// OpenStreams returns every stream that has not ended, oldest first.
func (db *DB) OpenStreams(ctx context.Context) ([]Stream, error) {
	const query = "SELECT " + streamColumns + ` FROM stream_sessions
		WHERE status IN ('requested', 'streaming') ORDER BY created_at, id`
	return all(ctx, db.r, scanStream, query)
}
