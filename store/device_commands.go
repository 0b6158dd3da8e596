package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// CommandStatus is how far a command has come.
type CommandStatus string

// The command states. A command ends acknowledged, rejected or failed.
const (
	CommandQueued       CommandStatus = "queued"
	CommandSent         CommandStatus = "sent"
	CommandAcknowledged CommandStatus = "acknowledged"
	CommandRejected     CommandStatus = "rejected"
	CommandFailed       CommandStatus = "failed"
)

// Command is an instruction from a client device to a camera device.
type Command struct {
	ID             string
	OwnerUserID    string
	SourceDeviceID string
	TargetDeviceID string
	CommandType    string
	Payload        json.RawMessage
	Status         CommandStatus
	RetryCount     int
	Result         json.RawMessage
	Error          string
	SentAt         time.Time
	AckAt          time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
	// Attempt counts who set out to deliver the command after whoever made it,
	// which is attempt 0. Only the last one counts.
	Attempt int64
	// QueuedAt is when RetryCommand last queued the command, zero for never:
	// with it all begins anew.
	QueuedAt time.Time
}

const commandColumns = "id, owner_user_id, source_device_id, target_device_id, command_type, payload, status, " +
	"retry_count, result, error, sent_at, ack_at, created_at, updated_at, attempt, queued_at"

func scanCommand(r row) (c Command, err error) {
	err = r.Scan(&c.ID, &c.OwnerUserID, &c.SourceDeviceID, &c.TargetDeviceID, &c.CommandType, jsonColumn{&c.Payload},
		&c.Status, &c.RetryCount, jsonColumn{&c.Result}, &c.Error, timeColumn{&c.SentAt}, timeColumn{&c.AckAt},
		timeColumn{&c.CreatedAt}, timeColumn{&c.UpdatedAt},
		&c.Attempt, timeColumn{&c.QueuedAt})
	return c, err
}

// CreateCommand adds a command from a client to a camera. It returns
// ErrNotFound unless the two devices are the owner's and linked.
func (db *DB) CreateCommand(ctx context.Context, c Command, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := db.admitCommand(ctx, tx, c); err != nil {
			return err
		}
		return insertCommand(ctx, tx, c, by)
	})
}

// admitCommand locks a command's camera and says whether it may wait for it.
func (db *DB) admitCommand(ctx context.Context, tx *txn, c Command) error {
	if err := lockCamera(ctx, tx, c.OwnerUserID, c.TargetDeviceID); err != nil {
		return err
	}
	if _, err := activeLink(ctx, tx, c.TargetDeviceID, c.SourceDeviceID); err != nil {
		return err
	}
	const pending = `SELECT COUNT(*) FROM device_commands WHERE target_device_id = $1 AND status IN ('queued', 'sent')`
	return checkRoom(ctx, tx, db.limits.PendingCommands, pending, c.TargetDeviceID)
}

func insertCommand(ctx context.Context, tx *txn, c Command, by Actor) error {
	err := insert(ctx, tx, "device_commands", commandColumns, c.ID, c.OwnerUserID, c.SourceDeviceID, c.TargetDeviceID,
		c.CommandType, text(c.Payload), c.Status, c.RetryCount, text(c.Result), c.Error, ms(c.SentAt), ms(c.AckAt),
		ms(c.CreatedAt), ms(orElse(c.UpdatedAt, c.CreatedAt)), 0, nil)
	if err != nil {
		return err
	}
	return audit(ctx, tx, by, c.OwnerUserID, "command", "create", c.ID,
		details{"commandType": c.CommandType, "targetDeviceId": c.TargetDeviceID})
}

// Command returns the user's command.
func (db *DB) Command(ctx context.Context, userID, id string) (Command, error) {
	const query = "SELECT " + commandColumns + " FROM device_commands WHERE id = $1 AND owner_user_id = $2"
	return one(ctx, db.r, scanCommand, query, id, userID)
}

// CommandFilter selects commands of a list; what is empty selects all.
type CommandFilter struct {
	DeviceIDs   []string // each of them is the source or the target
	Status      CommandStatus
	CommandType string
}

// Commands lists the user's commands.
func (db *DB) Commands(ctx context.Context, userID string, by CommandFilter, p Page) ([]Command, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	for _, id := range by.DeviceIDs {
		f.and("(source_device_id = ? OR target_device_id = ?)", id, id)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	if by.CommandType != "" {
		f.and("command_type = ?", by.CommandType)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanCommand, "SELECT "+commandColumns+" FROM device_commands"+clauses, args...)
}

// ClaimPendingCommands returns commands that the device has not answered, oldest
// first, as the caller's to deliver. When there are more than limit, those come
// that were never sent, or not for longest: a device that never answers does not
// block its new commands.
func (db *DB) ClaimPendingCommands(ctx context.Context, targetDeviceID string, limit int, at time.Time) (claimed []Command, err error) {
	const query = `UPDATE device_commands SET attempt = attempt + 1, updated_at = $3 WHERE id IN (
			SELECT id FROM device_commands WHERE target_device_id = $1 AND status IN ('queued', 'sent')
			ORDER BY COALESCE(sent_at, 0), created_at, id LIMIT $2)
		AND status IN ('queued', 'sent') RETURNING ` + commandColumns
	err = db.inTx(ctx, func(tx *txn) (err error) {
		claimed, err = all(ctx, tx, scanCommand, query, targetDeviceID, limit, ms(at))
		return err
	})
	sortCommands(claimed)
	return claimed, err
}

// MarkCommandSent notes that a command went out; when it had gone out before,
// that this was a retry. It returns ErrConflict when the command has ended, or
// is another attempt's by now.
func (db *DB) MarkCommandSent(ctx context.Context, id string, attempt int64, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE device_commands SET retry_count = retry_count + CASE WHEN status = 'sent' THEN 1 ELSE 0 END,
			status = 'sent', sent_at = $2, updated_at = $2 WHERE id = $1 AND attempt = $3 AND status IN ('queued', 'sent')`
		n, err := change(ctx, tx, query, id, ms(at), attempt)
		if err != nil || n == 1 {
			return err
		}
		return conflictIf(ctx, tx, `SELECT id FROM device_commands WHERE id = $1`, id)
	})
}

// CancelCommand fails the user's command before its answer. It returns
// ErrConflict when the command has ended before.
func (db *DB) CancelCommand(ctx context.Context, userID, id string, at time.Time, by Actor) (c Command, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE device_commands SET status = 'failed', error = '` + errCancelled + `', updated_at = $3
			WHERE id = $1 AND owner_user_id = $2 AND status IN ('queued', 'sent') RETURNING ` + commandColumns
		c, err = one(ctx, tx, scanCommand, query, id, userID, ms(at))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM device_commands WHERE id = $1 AND owner_user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "command", "cancel", id, nil)
	})
	return c, err
}

// AckCommand ends a command that was queued or sent, with the answer of its
// target device. It returns ErrConflict when the command has ended before.
func (db *DB) AckCommand(ctx context.Context, targetDeviceID, id string, to CommandStatus, result json.RawMessage,
	errText string, at time.Time, by Actor,
) (c Command, err error) {
	if to != CommandAcknowledged && to != CommandRejected {
		return Command{}, ErrConflict
	}
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE device_commands SET status = $3, result = $4, error = $5, ack_at = $6, updated_at = $6
			WHERE id = $1 AND target_device_id = $2 AND status IN ('queued', 'sent') RETURNING ` + commandColumns
		c, err = one(ctx, tx, scanCommand, query, id, targetDeviceID, to, text(result), errText, ms(at))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM device_commands WHERE id = $1 AND target_device_id = $2`,
				id, targetDeviceID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, c.OwnerUserID, "command", "ack", id, details{"status": to})
	})
	return c, err
}

// OnCommandsEnded has f called after every transaction of this process that
// ended commands as part of another change: with an accepted stream, one that
// ended, a revoked link or a deleted device. The commands are as they are then,
// and ctx is that of the change. It must be set before the DB is shared; who
// made the change waits for f.
func (db *DB) OnCommandsEnded(f func(ctx context.Context, ended []Command)) { db.onCommandsEnded = f }

func (db *DB) tellCommandsEnded(ctx context.Context, ended []Command) {
	if len(ended) > 0 && db.onCommandsEnded != nil {
		db.onCommandsEnded(ctx, ended)
	}
}

// endCommands runs a statement that ends commands and returns commandColumns.
func endCommands(ctx context.Context, tx *txn, query string, args ...any) error {
	ended, err := all(ctx, tx, scanCommand, query, args...)
	tx.ended = append(tx.ended, ended...)
	return err
}
