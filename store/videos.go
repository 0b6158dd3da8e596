package store

import (
	"context"
	"errors"
	"time"
)

// VideoStatus is the state of a video.
type VideoStatus string

// The video states: awaiting_upload -> ready or failed.
const (
	VideoAwaitingUpload VideoStatus = "awaiting_upload"
	VideoReady          VideoStatus = "ready"
	VideoFailed         VideoStatus = "failed"
)

// Video is a file that a user or a device uploads.
type Video struct {
	ID          string
	UserID      string
	DeviceID    string // whose video it is, empty when no device's
	EventID     string // what it shows, empty when no event
	Name        string // of the file
	Status      VideoStatus
	ObjectKey   string
	Bucket      string
	ContentType string
	Size        int64     // bytes, as announced until it is ready
	ExpiresAt   time.Time // until when the upload may come; zero when it has ended
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// VideoFilter narrows a list of videos; empty fields do not.
type VideoFilter struct {
	OfDeviceID string
	DeviceID   string // of the device itself, or of a camera that it has an active link with
	EventID    string
	Status     VideoStatus
}

const videoColumns = "id, user_id, device_id, event_id, name, status, object_key, bucket, content_type, size, " +
	"expires_at, created_at, updated_at"

func scanVideo(r row) (v Video, err error) {
	err = r.Scan(&v.ID, &v.UserID, textColumn{&v.DeviceID}, textColumn{&v.EventID}, &v.Name, &v.Status, &v.ObjectKey,
		&v.Bucket, &v.ContentType, &v.Size, timeColumn{&v.ExpiresAt}, timeColumn{&v.CreatedAt}, timeColumn{&v.UpdatedAt})
	return v, err
}

// CreateVideo adds a video that awaits its upload. It returns ErrNotFound when
// its device or event is not the user's, ErrConflict when so many of the
// user's videos await theirs already, and ErrNoStorage when it is too large for
// what the user may keep.
func (db *DB) CreateVideo(ctx context.Context, v Video, limit int, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, v.UserID); err != nil {
			return err
		}
		if v.DeviceID != "" {
			if _, err := userDevice(ctx, tx, v.UserID, v.DeviceID); err != nil {
				return err
			}
		}
		if v.EventID != "" {
			if _, err := userEvent(ctx, tx, v.UserID, v.EventID); err != nil {
				return err
			}
		}
		const awaiting = `SELECT COUNT(*) FROM videos WHERE user_id = $1 AND status = 'awaiting_upload'`
		var count int
		if err := tx.QueryRowContext(ctx, awaiting, v.UserID).Scan(&count); err != nil {
			return err
		}
		if count >= limit {
			return ErrConflict
		}
		if err := db.storageFor(ctx, tx, v.UserID, v.Size); err != nil {
			return err
		}
		err := insert(ctx, tx, "videos", videoColumns, v.ID, v.UserID, text(v.DeviceID), text(v.EventID), v.Name,
			VideoAwaitingUpload, v.ObjectKey, v.Bucket, v.ContentType, v.Size, ms(v.ExpiresAt), ms(v.CreatedAt), ms(v.CreatedAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, v.UserID, "video", "create", v.ID, details{"size": v.Size, "deviceId": v.DeviceID})
	})
}

// FinishVideo makes a video whose object is there ready, and tells its event
// where to find it. It returns ErrConflict when the video awaits nothing any
// more.
func (db *DB) FinishVideo(ctx context.Context, userID, id string, size int64, at time.Time, by Actor) (v Video, err error) {
	return db.endVideo(ctx, userID, id, VideoReady, size, at, by)
}

// FailVideo gives up a video whose upload did not come.
func (db *DB) FailVideo(ctx context.Context, userID, id string, at time.Time) error {
	_, err := db.endVideo(ctx, userID, id, VideoFailed, 0, at, Actor{})
	return err
}

func (db *DB) endVideo(
	ctx context.Context, userID, id string, to VideoStatus, size int64, at time.Time, by Actor,
) (v Video, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE videos SET status = $3, size = $4, expires_at = NULL, updated_at = $5
			WHERE id = $1 AND user_id = $2 AND status = 'awaiting_upload' RETURNING ` + videoColumns
		v, err = one(ctx, tx, scanVideo, query, id, userID, to, size, ms(at))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM videos WHERE id = $1 AND user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		if to == VideoReady && v.EventID != "" {
			const tell = `UPDATE events SET video_url = $2 WHERE id = $1`
			if _, err := change(ctx, tx, tell, v.EventID, "/videos/"+id+"/download-url"); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, userID, "video", "end", id, details{"status": to})
	})
	return v, err
}

// Video returns the user's video.
func (db *DB) Video(ctx context.Context, userID, id string) (Video, error) {
	return one(ctx, db.r, scanVideo, "SELECT "+videoColumns+" FROM videos WHERE id = $1 AND user_id = $2", id, userID)
}

// Videos lists the user's videos that pass the filter.
func (db *DB) Videos(ctx context.Context, userID string, by VideoFilter, p Page) ([]Video, error) {
	var f filter
	f.and("user_id = ?", userID)
	if by.OfDeviceID != "" {
		f.and("device_id = ?", by.OfDeviceID)
	}
	f.visibleTo(by.DeviceID, "videos", "device_id")
	if by.EventID != "" {
		f.and("event_id = ?", by.EventID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanVideo, "SELECT "+videoColumns+" FROM videos"+clauses, args...)
}

// ExpiredVideos returns videos whose upload is overdue, whoever owns them,
// those first that are so for longest.
func (db *DB) ExpiredVideos(ctx context.Context, before time.Time, limit int) ([]Video, error) {
	const query = "SELECT " + videoColumns + ` FROM videos WHERE status = 'awaiting_upload' AND expires_at < $1
		ORDER BY expires_at, id LIMIT $2`
	return all(ctx, db.r, scanVideo, query, ms(before), limit)
}

// DeleteVideo deletes the user's video, and what its event says of it. It
// returns ErrConflict while the video awaits its upload.
func (db *DB) DeleteVideo(ctx context.Context, userID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `DELETE FROM videos WHERE id = $1 AND user_id = $2 AND status <> 'awaiting_upload' RETURNING ` + videoColumns
		v, err := one(ctx, tx, scanVideo, query, id, userID)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM videos WHERE id = $1 AND user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		if v.EventID != "" {
			const forget = `UPDATE events SET video_url = '' WHERE id = $1 AND video_url = $2`
			if _, err := change(ctx, tx, forget, v.EventID, "/videos/"+id+"/download-url"); err != nil {
				return err
			}
		}
		if err := db.doom(ctx, tx, v.ObjectKey); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "video", "delete", id, details{"objectKey": v.ObjectKey})
	})
}
