package store

import (
	"context"
	"errors"
	"time"
)

// PushSubscription is where a browser's push service takes messages for a
// device (RFC 8030), and the keys that only that browser can decrypt for (RFC
// 8291). Both keys are base64url.
type PushSubscription struct {
	DeviceID   string
	UserID     string
	Endpoint   string
	P256dh     string
	AuthSecret string
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

const subscriptionColumns = "device_id, user_id, endpoint, p256dh, auth_secret, created_at, updated_at"

func scanSubscription(r row) (s PushSubscription, err error) {
	err = r.Scan(&s.DeviceID, &s.UserID, &s.Endpoint, &s.P256dh, &s.AuthSecret, timeColumn{&s.CreatedAt},
		timeColumn{&s.UpdatedAt})
	return s, err
}

// SetPushSubscription gives the user's device a subscription in place of the
// one that it has. An endpoint belongs to one browser: another device that had
// it has none afterwards. Pushes that failed for want of one stay failed.
func (db *DB) SetPushSubscription(ctx context.Context, s PushSubscription, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if _, err := userDevice(ctx, tx, s.UserID, s.DeviceID); err != nil {
			return err
		}
		const elsewhere = `DELETE FROM push_subscriptions WHERE endpoint = $1 AND device_id <> $2`
		if _, err := change(ctx, tx, elsewhere, s.Endpoint, s.DeviceID); err != nil {
			return err
		}
		const upsert = `INSERT INTO push_subscriptions (` + subscriptionColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $6)
			ON CONFLICT (device_id) DO UPDATE SET endpoint = excluded.endpoint, p256dh = excluded.p256dh,
				auth_secret = excluded.auth_secret, updated_at = excluded.updated_at`
		_, err := change(ctx, tx, upsert, s.DeviceID, s.UserID, s.Endpoint, s.P256dh, s.AuthSecret, ms(s.CreatedAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, s.UserID, "push_subscription", "set", s.DeviceID, nil)
	})
}

// PushSubscription returns the subscription of the user's device.
func (db *DB) PushSubscription(ctx context.Context, userID, deviceID string) (PushSubscription, error) {
	const query = "SELECT " + subscriptionColumns + " FROM push_subscriptions WHERE device_id = $1 AND user_id = $2"
	return one(ctx, db.r, scanSubscription, query, deviceID, userID)
}

// DeletePushSubscription forgets the subscription of the user's device.
func (db *DB) DeletePushSubscription(ctx context.Context, userID, deviceID string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `DELETE FROM push_subscriptions WHERE device_id = $1 AND user_id = $2`
		if err := changeOne(ctx, tx, query, deviceID, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "push_subscription", "delete", deviceID, nil)
	})
}

// ForgetPushEndpoint deletes the subscription with an endpoint that its push
// service knows no more. That there is none is no error: the browser may have
// been faster.
func (db *DB) ForgetPushEndpoint(ctx context.Context, endpoint string) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `DELETE FROM push_subscriptions WHERE endpoint = $1 RETURNING ` + subscriptionColumns
		s, err := one(ctx, tx, scanSubscription, query, endpoint)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return audit(ctx, tx, Actor{}, s.UserID, "push_subscription", "expire", s.DeviceID, nil)
	})
}
