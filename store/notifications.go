package store

import (
	"context"
	"time"
)

// NotificationStatus says how far a notification has come.
type NotificationStatus string

// The notification states: sent -> delivered -> read, never back.
const (
	NotificationSent      NotificationStatus = "sent"
	NotificationDelivered NotificationStatus = "delivered"
	NotificationRead      NotificationStatus = "read"
)

// Notification is one client being told of one event.
type Notification struct {
	ID                string
	UserID            string
	EventID           string
	RecipientDeviceID string
	Status            NotificationStatus
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// NotificationFilter narrows a list of notifications; empty fields do not.
type NotificationFilter struct {
	RecipientDeviceID string
	EventID           string
	Status            NotificationStatus
	Unread            bool
}

const notificationColumns = "id, user_id, event_id, recipient_device_id, status, created_at, updated_at"

func scanNotification(r row) (n Notification, err error) {
	err = r.Scan(&n.ID, &n.UserID, &n.EventID, &n.RecipientDeviceID, &n.Status, timeColumn{&n.CreatedAt},
		timeColumn{&n.UpdatedAt})
	return n, err
}

func insertNotification(ctx context.Context, tx *txn, n Notification) error {
	return insert(ctx, tx, "notifications", notificationColumns, n.ID, n.UserID, n.EventID, n.RecipientDeviceID, n.Status,
		ms(n.CreatedAt), ms(n.UpdatedAt))
}

// ofRecipient limits a condition to one device, whose id is $2, or to none when
// that is empty.
const ofRecipient = `($2 = '' OR recipient_device_id = $2)`

// Notification returns the user's notification, with a device's id only if it
// is that device's.
func (db *DB) Notification(ctx context.Context, userID, deviceID, id string) (Notification, error) {
	const query = "SELECT " + notificationColumns + " FROM notifications WHERE id = $1 AND user_id = $3 AND " + ofRecipient
	return one(ctx, db.r, scanNotification, query, id, deviceID, userID)
}

// Notifications lists the user's notifications that pass the filter.
func (db *DB) Notifications(ctx context.Context, userID string, by NotificationFilter, p Page) ([]Notification, error) {
	var f filter
	f.and("user_id = ?", userID)
	if by.RecipientDeviceID != "" {
		f.and("recipient_device_id = ?", by.RecipientDeviceID)
	}
	if by.EventID != "" {
		f.and("event_id = ?", by.EventID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	if by.Unread {
		f.and("status <> 'read'")
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanNotification, "SELECT "+notificationColumns+" FROM notifications"+clauses, args...)
}

// AdvanceNotification brings a notification to a later state; one that is
// there already, or further, stays as it is.
func (db *DB) AdvanceNotification(
	ctx context.Context, userID, deviceID, id string, to NotificationStatus, at time.Time, by Actor,
) (n Notification, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE notifications SET status = $4, updated_at = $5
			WHERE id = $1 AND user_id = $3 AND ` + ofRecipient + `
			AND (status = 'sent' OR (status = 'delivered' AND $4 = 'read')) AND status <> $4 RETURNING ` + notificationColumns
		changed, err := all(ctx, tx, scanNotification, query, id, deviceID, userID, to, ms(at))
		if err != nil {
			return err
		}
		if len(changed) == 1 {
			n = changed[0]
			return audit(ctx, tx, by, userID, "notification", "advance", id, details{"status": to})
		}
		const unchanged = "SELECT " + notificationColumns + " FROM notifications WHERE id = $1 AND user_id = $3 AND " + ofRecipient
		n, err = one(ctx, tx, scanNotification, unchanged, id, deviceID, userID)
		return err
	})
	return n, err
}

// ReadNotifications marks every unread notification of the user, or of one
// device, as read and returns how many there were.
func (db *DB) ReadNotifications(ctx context.Context, userID, deviceID string, at time.Time, by Actor) (n int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE notifications SET status = 'read', updated_at = $3
			WHERE user_id = $1 AND ` + ofRecipient + ` AND status <> 'read'`
		n, err = change(ctx, tx, query, userID, deviceID, ms(at))
		if err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, by, userID, "notification", "read_all", userID, details{"count": n})
	})
	return n, err
}

// DeleteNotification deletes the user's notification.
func (db *DB) DeleteNotification(ctx context.Context, userID, deviceID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `DELETE FROM notifications WHERE id = $1 AND user_id = $3 AND ` + ofRecipient
		if err := changeOne(ctx, tx, query, id, deviceID, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "notification", "delete", id, nil)
	})
}

func markDelivered(ctx context.Context, tx *txn, eventID, deviceID string, at time.Time) error {
	const query = `UPDATE notifications SET status = 'delivered', updated_at = $3
		WHERE event_id = $1 AND recipient_device_id = $2 AND status = 'sent'`
	_, err := change(ctx, tx, query, eventID, deviceID, ms(at))
	return err
}
