package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// DeviceEvent is something that a device was told. The events of a device are
// numbered from 1 without a hole, in the order of their commits.
type DeviceEvent struct {
	Seq       int64
	Event     string
	Data      json.RawMessage
	CreatedAt time.Time
}

// AppendDeviceEvent numbers and keeps an event, and forgets all of the device's
// but the last keep. It returns ErrNotFound when there is no such device.
func (db *DB) AppendDeviceEvent(ctx context.Context, deviceID string, e DeviceEvent, keep int) (seq int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		seq, err = appendDeviceEvent(ctx, tx, deviceID, e, keep)
		return err
	})
	return seq, err
}

// AppendCommandEvent is AppendDeviceEvent for news of a command: as long as its
// status is that of c still, and it was not queued again since; or when c has
// ended and was deleted since. Otherwise it returns ErrConflict: whoever has
// changed it tells of that (see OnCommandsEnded), and nobody is to hear of what
// was before afterwards.
func (db *DB) AppendCommandEvent(
	ctx context.Context, c Command, deviceID string, e DeviceEvent, keep int,
) (seq int64, err error) {
	var queued int64
	if !c.QueuedAt.IsZero() {
		queued = c.QueuedAt.UnixMilli()
	}
	err = db.inTx(ctx, func(tx *txn) error {
		// The row is locked until the commit, so that what changes it is told of later.
		const hold = `UPDATE device_commands SET status = status
			WHERE id = $1 AND status = $2 AND COALESCE(queued_at, 0) = $3`
		n, err := change(ctx, tx, hold, c.ID, c.Status, queued)
		if err == nil && n == 0 {
			err = conflictIf(ctx, tx, `SELECT id FROM device_commands WHERE id = $1`, c.ID)
		}
		deleted := errors.Is(err, ErrNotFound)
		switch {
		case deleted && (c.Status == CommandQueued || c.Status == CommandSent):
			return ErrConflict // it has ended before it was deleted
		case err != nil && !deleted:
			return err
		}
		seq, err = appendDeviceEvent(ctx, tx, deviceID, e, keep)
		return err
	})
	return seq, err
}

func appendDeviceEvent(ctx context.Context, tx *txn, deviceID string, e DeviceEvent, keep int) (seq int64, err error) {
	// The head's row is locked until the commit, so that nobody sees a number
	// before all below it.
	const next = `INSERT INTO device_event_heads (device_id, seq)
		SELECT id, 1 FROM devices WHERE id = $1 AND deleted_at IS NULL
		ON CONFLICT (device_id) DO UPDATE SET seq = device_event_heads.seq + 1 RETURNING seq`
	if seq, err = one(ctx, tx, scanNumber, next, deviceID); err != nil {
		return 0, err
	}
	const columns = "device_id, seq, event, data, created_at"
	if err := insert(ctx, tx, "device_events", columns, deviceID, seq, e.Event, string(e.Data), ms(e.CreatedAt)); err != nil {
		return 0, err
	}
	_, err = change(ctx, tx, `DELETE FROM device_events WHERE device_id = $1 AND seq <= $2`, deviceID, seq-int64(keep))
	return seq, err
}

// DeviceEvents returns the device's events after a number, oldest first.
func (db *DB) DeviceEvents(ctx context.Context, deviceID string, after int64, limit int) ([]DeviceEvent, error) {
	const query = `SELECT seq, event, data, created_at FROM device_events
		WHERE device_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`
	return all(ctx, db.r, func(r row) (e DeviceEvent, err error) {
		err = r.Scan(&e.Seq, &e.Event, jsonColumn{&e.Data}, timeColumn{&e.CreatedAt})
		return e, err
	}, query, deviceID, after, limit)
}

// DeviceEventRange returns the number of the device's newest event and of the
// oldest that is kept; both are 0 for a device that was never told anything.
func (db *DB) DeviceEventRange(ctx context.Context, deviceID string) (oldest, newest int64, err error) {
	const query = `SELECT h.seq, COALESCE((SELECT MIN(e.seq) FROM device_events e WHERE e.device_id = h.device_id), h.seq + 1)
		FROM device_event_heads h WHERE h.device_id = $1`
	_, err = one(ctx, db.r, func(r row) (struct{}, error) { return struct{}{}, r.Scan(&newest, &oldest) }, query, deviceID)
	if errors.Is(err, ErrNotFound) {
		return 0, 0, nil
	}
	return oldest, newest, err
}

// forgetDeviceEvents is part of a device's deletion.
func forgetDeviceEvents(ctx context.Context, tx *txn, deviceID string) error {
	if _, err := change(ctx, tx, `DELETE FROM device_events WHERE device_id = $1`, deviceID); err != nil {
		return err
	}
	_, err := change(ctx, tx, `DELETE FROM device_event_heads WHERE device_id = $1`, deviceID)
	return err
}

// scanNumber reads a single integer column.
func scanNumber(r row) (n int64, err error) {
	err = r.Scan(&n)
	return n, err
}
