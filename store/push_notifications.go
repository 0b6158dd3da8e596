package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Push is one message for one device that is not connected. NextAttemptAt is
// also the end of the lease of whoever is sending it.
type Push struct {
	ID                string
	OwnerUserID       string
	RecipientDeviceID string
	EventID           string // what it is about, empty when that is no event
	Type              string
	Payload           json.RawMessage
	Status            WorkStatus
	Attempts          int
	Error             string
	NextAttemptAt     time.Time
	SentAt            time.Time
	CreatedAt         time.Time
	UpdatedAt         time.Time
	// Claim is the number of the last claim, which is not given again as long as
	// the row is there; unlike Attempts, which begin anew with a dead letter that
	// is sent again. A push that is deleted and queued anew with the same key
	// begins anew in this, too.
	Claim int64
}

// PushFilter narrows a list of pushes; empty fields do not.
type PushFilter struct {
	RecipientDeviceID string
	Status            WorkStatus
	Type              string
}

const pushColumns = "id, owner_user_id, recipient_device_id, event_id, type, payload, status, attempts, error, " +
	"next_attempt_at, sent_at, created_at, updated_at, claims"

func pushQueue() queue {
	return queue{table: "push_notifications", columns: pushColumns, owner: "owner_user_id", recipient: "recipient_device_id"}
}

func scanPush(r row) (p Push, err error) {
	err = r.Scan(&p.ID, &p.OwnerUserID, &p.RecipientDeviceID, textColumn{&p.EventID}, &p.Type, jsonColumn{&p.Payload},
		&p.Status, &p.Attempts, &p.Error, timeColumn{&p.NextAttemptAt}, timeColumn{&p.SentAt}, timeColumn{&p.CreatedAt},
		timeColumn{&p.UpdatedAt}, &p.Claim)
	return p, err
}

func insertPush(ctx context.Context, tx *txn, p Push) error {
	return insert(ctx, tx, "push_notifications", pushColumns, p.ID, p.OwnerUserID, p.RecipientDeviceID, text(p.EventID),
		p.Type, string(p.Payload), p.Status, p.Attempts, p.Error, ms(p.NextAttemptAt), ms(p.SentAt), ms(p.CreatedAt),
		ms(p.UpdatedAt), 0)
}

// QueuePush adds a push that is due at once and returns it. It returns
// ErrNotFound when the recipient is not the owner's, and ErrConflict when the
// recipient's push with that key, unless empty, is there already.
func (db *DB) QueuePush(ctx context.Context, p Push, key string, by Actor) (Push, error) {
	p.ID = keyedID(key, p.RecipientDeviceID)
	p.Status, p.Attempts, p.NextAttemptAt, p.UpdatedAt = WorkQueued, 0, p.CreatedAt, p.CreatedAt
	err := db.inTx(ctx, func(tx *txn) error {
		if _, err := userDevice(ctx, tx, p.OwnerUserID, p.RecipientDeviceID); err != nil {
			return err
		}
		if err := insertPush(ctx, tx, p); err != nil {
			return err
		}
		return audit(ctx, tx, by, p.OwnerUserID, "push_notification", "queue", p.ID,
			details{"type": p.Type, "recipientDeviceId": p.RecipientDeviceID})
	})
	return p, err
}

// ClaimPushes takes pushes that are due, each for one worker: nobody else gets
// it before the lease ends, and SettlePush knows the claim by its number. Of
// one user's it leaves some that are due, so that others' get their turn: look
// again when one is settled.
func (db *DB) ClaimPushes(ctx context.Context, c Claim) (claimed []Push, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		claimed, err = all(ctx, tx, scanPush, pushQueue().claim(), ms(c.At), ms(c.Until), c.Limit)
		return err
	})
	return claimed, err
}

// SettlePush writes down how an attempt ended. It returns ErrConflict when the
// push has been settled, or claimed by somebody else since its lease ended.
func (db *DB) SettlePush(ctx context.Context, id string, claim int64, o Outcome) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE push_notifications SET status = $3, error = $4, next_attempt_at = $5, leased = FALSE, updated_at = $6,
			sent_at = CASE WHEN $3 = 'sent' THEN $6 ELSE sent_at END
			WHERE id = $1 AND claims = $2 AND status = 'queued' RETURNING ` + pushColumns
		p, err := one(ctx, tx, scanPush, query, id, claim, o.Status, o.Error, ms(o.NextAttemptAt), ms(o.At))
		if errors.Is(err, ErrNotFound) {
			return ErrConflict
		}
		if err != nil {
			return err
		}
		switch {
		case o.Status == WorkSent && p.EventID != "":
			return markDelivered(ctx, tx, p.EventID, p.RecipientDeviceID, o.At)
		case o.Status == WorkFailed:
			return audit(ctx, tx, Actor{}, p.OwnerUserID, "push_notification", "fail", id, details{"error": o.Error})
		default:
			return nil
		}
	})
}

// Push returns the user's push, with a device's id only if it is that
// device's.
func (db *DB) Push(ctx context.Context, userID, deviceID, id string) (Push, error) {
	const query = "SELECT " + pushColumns + " FROM push_notifications WHERE id = $1 AND owner_user_id = $3 AND " + ofRecipient
	return one(ctx, db.r, scanPush, query, id, deviceID, userID)
}

// Pushes lists the user's pushes that pass the filter.
func (db *DB) Pushes(ctx context.Context, userID string, by PushFilter, p Page) ([]Push, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	if by.RecipientDeviceID != "" {
		f.and("recipient_device_id = ?", by.RecipientDeviceID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	if by.Type != "" {
		f.and("type = ?", by.Type)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanPush, "SELECT "+pushColumns+" FROM push_notifications"+clauses, args...)
}

// RetryPush queues a dead letter again, as if it were new. It returns
// ErrConflict for a push that has not failed.
func (db *DB) RetryPush(ctx context.Context, userID, deviceID, id string, at time.Time, by Actor) (p Push, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const mine = `id = $1 AND owner_user_id = $3 AND ` + ofRecipient
		const query = `UPDATE push_notifications SET status = 'queued', attempts = 0, next_attempt_at = $4, updated_at = $4
			WHERE ` + mine + ` AND status = 'failed' RETURNING ` + pushColumns
		p, err = one(ctx, tx, scanPush, query, id, deviceID, userID, ms(at))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM push_notifications WHERE `+mine, id, deviceID, userID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "push_notification", "retry", id, nil)
	})
	return p, err
}

// HastenPushes makes the user's queued pushes, or one device's, due at once,
// except those that are being sent, and returns how many those are.
func (db *DB) HastenPushes(ctx context.Context, userID, deviceID string, at time.Time) (n int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE push_notifications SET next_attempt_at = $3
			WHERE owner_user_id = $1 AND ` + ofRecipient + ` AND status = 'queued' AND NOT leased AND next_attempt_at > $3`
		n, err = change(ctx, tx, query, userID, deviceID, ms(at))
		return err
	})
	return n, err
}

// DeletePush deletes the user's push.
func (db *DB) DeletePush(ctx context.Context, userID, deviceID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `DELETE FROM push_notifications WHERE id = $1 AND owner_user_id = $3 AND ` + ofRecipient
		if err := changeOne(ctx, tx, query, id, deviceID, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "push_notification", "delete", id, nil)
	})
}

// PrunePushes deletes at most limit pushes that were sent, or failed, before a
// time, and returns how many there were.
func (db *DB) PrunePushes(ctx context.Context, before time.Time, limit int) (int64, error) {
	return db.prune(ctx, "push_notifications", before, limit)
}

// PushStats returns the state of the queue.
func (db *DB) PushStats(ctx context.Context) (QueueStats, error) {
	return db.queueStats(ctx, "push_notifications")
}
