package store

import (
	"context"
	"errors"
	"time"
)

// MediaSession is one camera publishing into the SFU. A camera has at most
// one that is not ended, however many stream sessions watch it.
type MediaSession struct {
	ID             string
	OwnerUserID    string
	CameraDeviceID string
	NodeID         string // the node that has it in its SFU
	Continuous     bool   // outlives the last stream session that watches it
	EndReason      string
	RenewedAt      time.Time // when its node last said that it still runs
	CreatedAt      time.Time
	EndedAt        time.Time // zero while open
}

// MediaSessionStatus says whether a media session goes on.
type MediaSessionStatus string

// The media session states: open -> ended.
const (
	MediaSessionOpen  MediaSessionStatus = "open"
	MediaSessionEnded MediaSessionStatus = "ended"
)

// MediaSessionFilter narrows a list of media sessions; empty fields do not.
type MediaSessionFilter struct {
	CameraDeviceID string
	DeviceID       string // the camera, or a client that has an active link with it
	Status         MediaSessionStatus
	Since, Until   time.Time // of CreatedAt: from Since, before Until
}

// endStatus is what becomes of the streams of a media session that ends.
func endStatus(reason string) StreamStatus {
	if reason == ReasonCameraLost || reason == ReasonCameraUnavailable {
		return StreamFailed
	}
	return StreamCompleted
}

const mediaColumns = "id, owner_user_id, camera_device_id, node_id, continuous, end_reason, renewed_at, created_at, ended_at"

func scanMediaSession(r row) (m MediaSession, err error) {
	err = r.Scan(&m.ID, &m.OwnerUserID, &m.CameraDeviceID, &m.NodeID, &m.Continuous, &m.EndReason,
		timeColumn{&m.RenewedAt}, timeColumn{&m.CreatedAt}, timeColumn{&m.EndedAt})
	return m, err
}

// MediaSession returns a media session whoever owns it.
func (db *DB) MediaSession(ctx context.Context, id string) (MediaSession, error) {
	return mediaSession(ctx, db.r, id)
}

func mediaSession(ctx context.Context, q querier, id string) (MediaSession, error) {
	return one(ctx, q, scanMediaSession, "SELECT "+mediaColumns+" FROM media_sessions WHERE id = $1", id)
}

// UserMediaSession returns the user's media session.
func (db *DB) UserMediaSession(ctx context.Context, userID, id string) (MediaSession, error) {
	const query = "SELECT " + mediaColumns + " FROM media_sessions WHERE id = $1 AND owner_user_id = $2"
	return one(ctx, db.r, scanMediaSession, query, id, userID)
}

// MediaSessions lists the user's media sessions that pass the filter.
func (db *DB) MediaSessions(ctx context.Context, userID string, by MediaSessionFilter, p Page) ([]MediaSession, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	if by.CameraDeviceID != "" {
		f.and("camera_device_id = ?", by.CameraDeviceID)
	}
	f.visibleTo(by.DeviceID, "media_sessions", "camera_device_id")
	switch by.Status {
	case MediaSessionOpen:
		f.and("ended_at IS NULL")
	case MediaSessionEnded:
		f.and("ended_at IS NOT NULL")
	}
	f.between("created_at", by.Since, by.Until)
	clauses, args := f.page(p)
	return all(ctx, db.r, scanMediaSession, "SELECT "+mediaColumns+" FROM media_sessions"+clauses, args...)
}

// OpenMediaSessions returns every media session that has not ended.
func (db *DB) OpenMediaSessions(ctx context.Context) ([]MediaSession, error) {
	const query = "SELECT " + mediaColumns + " FROM media_sessions WHERE ended_at IS NULL ORDER BY created_at, id"
	return all(ctx, db.r, scanMediaSession, query)
}

// RenewMediaSessions notes that the node still runs, and with it every open
// media session of its SFU. Their cameras are online: one that only speaks
// WHIP has no other way to say so.
func (db *DB) RenewMediaSessions(ctx context.Context, nodeID string, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE media_sessions SET renewed_at = $2 WHERE node_id = $1 AND ended_at IS NULL`
		if _, err := change(ctx, tx, query, nodeID, ms(at)); err != nil {
			return err
		}
		const publishing = `id IN (SELECT camera_device_id FROM media_sessions WHERE node_id = $2 AND ended_at IS NULL)`
		_, err := change(ctx, tx, setOnline+publishing, ms(at), nodeID)
		return err
	})
}

// setOnline is followed by which devices.
const setOnline = `UPDATE devices SET status = 'online', last_seen_at = $1 WHERE `

// OpenMediaSession returns the camera's open media session, whichever node has
// it, or makes m that, renewed at m.CreatedAt. An open one becomes
// continuous if m is. It returns ErrNotFound when the device is not the owner's
// camera.
func (db *DB) OpenMediaSession(ctx context.Context, m MediaSession, by Actor) (open MediaSession, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		if err := lockCamera(ctx, tx, m.OwnerUserID, m.CameraDeviceID); err != nil {
			return err
		}
		camera, err := userDevice(ctx, tx, m.OwnerUserID, m.CameraDeviceID)
		if err != nil {
			return err
		}
		if camera.Role != RoleCamera {
			return ErrNotFound
		}
		open, err = openMedia(ctx, tx, m, by)
		return err
	})
	return open, err
}

// openMedia does OpenMediaSession. The caller holds the camera's lock.
func openMedia(ctx context.Context, tx *txn, m MediaSession, by Actor) (MediaSession, error) {
	open, err := runningMedia(ctx, tx, m.CameraDeviceID)
	switch {
	case err == nil && (open.Continuous || !m.Continuous):
		return open, nil
	case err == nil:
		const query = `UPDATE media_sessions SET continuous = TRUE WHERE id = $1`
		if err := changeOne(ctx, tx, query, open.ID); err != nil {
			return MediaSession{}, err
		}
		open.Continuous = true
		return open, audit(ctx, tx, by, open.OwnerUserID, "media_session", "keep", open.ID, nil)
	case !errors.Is(err, ErrNotFound):
		return MediaSession{}, err
	}
	if err := changeOne(ctx, tx, setOnline+`id = $2`, ms(m.CreatedAt), m.CameraDeviceID); err != nil {
		return MediaSession{}, err
	}
	m.EndReason, m.RenewedAt, m.EndedAt = "", m.CreatedAt, time.Time{}
	err = insert(ctx, tx, "media_sessions", mediaColumns, m.ID, m.OwnerUserID, m.CameraDeviceID, m.NodeID,
		m.Continuous, m.EndReason, ms(m.RenewedAt), ms(m.CreatedAt), ms(m.EndedAt))
	if err != nil {
		return MediaSession{}, err
	}
	return m, audit(ctx, tx, by, m.OwnerUserID, "media_session", "open", m.ID, details{"continuous": m.Continuous})
}

// runningMedia returns the camera's open media session, or ErrNotFound.
func runningMedia(ctx context.Context, tx *txn, cameraID string) (MediaSession, error) {
	const query = "SELECT " + mediaColumns + " FROM media_sessions WHERE camera_device_id = $1 AND ended_at IS NULL"
	return one(ctx, tx, scanMediaSession, query, cameraID)
}

// EndMediaSession ends a media session and the streams that watch it, which it
// returns: failed for ReasonCameraLost and ReasonCameraUnavailable, otherwise
// completed. It returns ErrConflict when the media session has ended before.
func (db *DB) EndMediaSession(ctx context.Context, id, reason string, at time.Time, by Actor) (ended []Stream, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		m, err := mediaSession(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := lockCamera(ctx, tx, m.OwnerUserID, m.CameraDeviceID); err != nil {
			return err
		}
		ended, err = endMedia(ctx, tx, id, reason, at, by)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// endMedia does EndMediaSession. The caller holds the camera's lock.
func endMedia(ctx context.Context, tx *txn, id, reason string, at time.Time, by Actor) ([]Stream, error) {
	const end = `UPDATE media_sessions SET end_reason = $2, ended_at = $3 WHERE id = $1 AND ended_at IS NULL
		RETURNING ` + mediaColumns
	m, err := one(ctx, tx, scanMediaSession, end, id, reason, ms(at))
	if errors.Is(err, ErrNotFound) {
		return nil, ErrConflict
	}
	if err != nil {
		return nil, err
	}
	if err := auditMediaEnd(ctx, tx, by, m); err != nil {
		return nil, err
	}
	const watching = "SELECT " + streamColumns + ` FROM stream_sessions
		WHERE media_session_id = $1 AND status = 'streaming' ORDER BY created_at, id`
	streams, err := all(ctx, tx, scanStream, watching, id)
	if err != nil {
		return nil, err
	}
	for i := range streams {
		if streams[i], err = closeStream(ctx, tx, streams[i], endStatus(reason), reason, at, by); err != nil {
			return nil, err
		}
	}
	return streams, nil
}

// endUnwatchedMedia ends a media session that nobody watches any more, unless
// it is continuous. It returns the zero MediaSession when it goes on.
func endUnwatchedMedia(ctx context.Context, tx *txn, id, reason string, at time.Time, by Actor) (MediaSession, error) {
	const end = `UPDATE media_sessions SET end_reason = $2, ended_at = $3
		WHERE id = $1 AND ended_at IS NULL AND NOT continuous AND NOT EXISTS (
			SELECT 1 FROM stream_sessions WHERE media_session_id = $1 AND status = 'streaming')
		RETURNING ` + mediaColumns
	m, err := one(ctx, tx, scanMediaSession, end, id, reason, ms(at))
	if errors.Is(err, ErrNotFound) {
		return MediaSession{}, nil
	}
	if err != nil {
		return MediaSession{}, err
	}
	return m, auditMediaEnd(ctx, tx, by, m)
}

func auditMediaEnd(ctx context.Context, tx *txn, by Actor, m MediaSession) error {
	return audit(ctx, tx, by, m.OwnerUserID, "media_session", "end", m.ID, details{"reason": m.EndReason})
}
