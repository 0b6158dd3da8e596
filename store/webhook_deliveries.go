package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Delivery is one message for one webhook, and the log of how that went.
type Delivery struct {
	ID             string
	UserID         string
	WebhookID      string
	MessageID      string // the same when a message is sent again
	Type           string
	Payload        json.RawMessage
	Status         WorkStatus
	Attempts       int
	ResponseStatus int           // HTTP status of the last attempt, 0 for none
	ResponseTime   time.Duration // of the last attempt
	Error          string
	NextAttemptAt  time.Time
	SentAt         time.Time
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Claim          int64 // the number of the last claim, as of a Push
}

// DeliveryFilter narrows a list of deliveries; empty fields do not.
type DeliveryFilter struct {
	WebhookID string
	Status    WorkStatus
	Type      string
}

// DeliveryOutcome is how an attempt to deliver ended.
type DeliveryOutcome struct {
	Outcome
	ResponseStatus int
	ResponseTime   time.Duration
}

const deliveryColumns = "id, user_id, webhook_id, message_id, type, payload, status, attempts, response_status, " +
	"response_ms, error, next_attempt_at, sent_at, created_at, updated_at, claims"

func deliveryQueue() queue {
	return queue{table: "webhook_deliveries", columns: deliveryColumns, owner: "user_id", recipient: "webhook_id"}
}

func scanDelivery(r row) (d Delivery, err error) {
	var responseMS int64
	err = r.Scan(&d.ID, &d.UserID, &d.WebhookID, &d.MessageID, &d.Type, jsonColumn{&d.Payload}, &d.Status, &d.Attempts,
		&d.ResponseStatus, &responseMS, &d.Error, timeColumn{&d.NextAttemptAt}, timeColumn{&d.SentAt},
		timeColumn{&d.CreatedAt}, timeColumn{&d.UpdatedAt}, &d.Claim)
	d.ResponseTime = time.Duration(responseMS) * time.Millisecond
	return d, err
}

func insertDelivery(ctx context.Context, tx *txn, d Delivery) error {
	const query = `INSERT INTO webhook_deliveries (` + deliveryColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, 0, 0, '', $7, NULL, $7, $7, 0) ON CONFLICT (id) DO NOTHING`
	_, err := change(ctx, tx, query, d.ID, d.UserID, d.WebhookID, d.MessageID, d.Type, string(d.Payload), ms(d.CreatedAt))
	return err
}

// insertDeliveries queues a message for every webhook of the user that takes
// it. A message without a type is for none.
func insertDeliveries(ctx context.Context, tx *txn, userID string, m Message, at time.Time) error {
	if m.Type == "" {
		return nil
	}
	const query = "SELECT " + webhookColumns + " FROM webhooks WHERE user_id = $1 AND enabled ORDER BY id"
	hooks, err := all(ctx, tx, scanWebhook, query, userID)
	if err != nil {
		return err
	}
	message := keyedID(m.Key, "")
	for _, w := range hooks {
		if !w.takes(m.Type) {
			continue
		}
		d := Delivery{
			ID: keyedID(m.Key, w.ID), UserID: userID, WebhookID: w.ID, MessageID: message, Type: m.Type, Payload: m.Payload, CreatedAt: at,
		}
		if err := insertDelivery(ctx, tx, d); err != nil {
			return err
		}
	}
	return nil
}

// keyedID returns the id of a row that there is to be once for a key and a
// recipient, or a new one without a key.
func keyedID(key, recipient string) string {
	if key == "" {
		return NewID()
	}
	return uuid.NewSHA1(uuid.Nil, []byte(key+"\n"+recipient)).String()
}

// QueueMessage queues a message for every webhook of the user that takes it.
func (db *DB) QueueMessage(ctx context.Context, userID string, m Message, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error { return insertDeliveries(ctx, tx, userID, m, at) })
}

// QueueDelivery queues a message for one webhook of the user, whatever types
// it takes.
func (db *DB) QueueDelivery(ctx context.Context, d Delivery, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if _, err := userWebhook(ctx, tx, d.UserID, d.WebhookID); err != nil {
			return err
		}
		if err := insertDelivery(ctx, tx, d); err != nil {
			return err
		}
		return audit(ctx, tx, by, d.UserID, "webhook_delivery", "queue", d.ID, details{"type": d.Type, "webhookId": d.WebhookID})
	})
}

// ClaimDeliveries takes deliveries that are due, as ClaimPushes does.
func (db *DB) ClaimDeliveries(ctx context.Context, c Claim) (claimed []Delivery, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		query := deliveryQueue().claim()
		claimed, err = all(ctx, tx, scanDelivery, query, ms(c.At), ms(c.Until), c.Limit)
		return err
	})
	return claimed, err
}

// SettleDelivery writes down how an attempt ended, as SettlePush does.
func (db *DB) SettleDelivery(ctx context.Context, id string, claim int64, o DeliveryOutcome) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE webhook_deliveries SET status = $3, error = $4, next_attempt_at = $5, leased = FALSE,
			updated_at = $6, sent_at = CASE WHEN $3 = 'sent' THEN $6 ELSE sent_at END, response_status = $7, response_ms = $8
			WHERE id = $1 AND claims = $2 AND status = 'queued' RETURNING user_id`
		owner, err := one(ctx, tx, scanText, query, id, claim, o.Status, o.Error, ms(o.NextAttemptAt), ms(o.At),
			o.ResponseStatus, o.ResponseTime.Milliseconds())
		if errors.Is(err, ErrNotFound) {
			return ErrConflict
		}
		if err != nil || o.Status != WorkFailed {
			return err
		}
		return audit(ctx, tx, Actor{}, owner, "webhook_delivery", "fail", id, details{"error": o.Error})
	})
}

// Delivery returns the user's delivery.
func (db *DB) Delivery(ctx context.Context, userID, id string) (Delivery, error) {
	const query = "SELECT " + deliveryColumns + " FROM webhook_deliveries WHERE id = $1 AND user_id = $2"
	return one(ctx, db.r, scanDelivery, query, id, userID)
}

// Deliveries lists the user's deliveries that pass the filter.
func (db *DB) Deliveries(ctx context.Context, userID string, by DeliveryFilter, p Page) ([]Delivery, error) {
	var f filter
	f.and("user_id = ?", userID)
	if by.WebhookID != "" {
		f.and("webhook_id = ?", by.WebhookID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	if by.Type != "" {
		f.and("type = ?", by.Type)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanDelivery, "SELECT "+deliveryColumns+" FROM webhook_deliveries"+clauses, args...)
}

// RetryDelivery queues a dead letter again, as RetryPush does.
func (db *DB) RetryDelivery(ctx context.Context, userID, id string, at time.Time, by Actor) (d Delivery, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE webhook_deliveries SET status = 'queued', attempts = 0, next_attempt_at = $3, updated_at = $3
			WHERE id = $1 AND user_id = $2 AND status = 'failed' RETURNING ` + deliveryColumns
		d, err = one(ctx, tx, scanDelivery, query, id, userID, ms(at))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT id FROM webhook_deliveries WHERE id = $1 AND user_id = $2`, id, userID)
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "webhook_delivery", "retry", id, details{"webhookId": d.WebhookID})
	})
	return d, err
}

// DeleteDelivery deletes the user's delivery, also one that waits.
func (db *DB) DeleteDelivery(ctx context.Context, userID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := changeOne(ctx, tx, `DELETE FROM webhook_deliveries WHERE id = $1 AND user_id = $2`, id, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "webhook_delivery", "delete", id, nil)
	})
}

// PruneDeliveries deletes at most limit deliveries that were sent, or failed,
// before a time, and returns how many there were.
func (db *DB) PruneDeliveries(ctx context.Context, before time.Time, limit int) (int64, error) {
	return db.prune(ctx, "webhook_deliveries", before, limit)
}

// DeliveryStats returns the state of the queue.
func (db *DB) DeliveryStats(ctx context.Context) (QueueStats, error) {
	return db.queueStats(ctx, "webhook_deliveries")
}
