package store

import (
	"context"
	"time"
)

// RevocationKind says what lost its rights.
type RevocationKind string

// The kinds. A user who is revoked loses all sessions and devices with it.
const (
	RevokedUser    RevocationKind = "user"
	RevokedSession RevocationKind = "session"
	RevokedDevice  RevocationKind = "device"
	RevokedLink    RevocationKind = "link"
)

// Revocation says that what was opened by a right until CreatedAt is to end.
// The right itself ended in the transaction that wrote the row.
type Revocation struct {
	ID             string
	OwnerUserID    string
	Kind           RevocationKind
	TargetID       string // of the user, session, device or link
	CameraDeviceID string // of a link
	ClientDeviceID string // of a link
	CreatedAt      time.Time
}

const revocationColumns = "id, owner_user_id, kind, target_id, camera_device_id, client_device_id, created_at"

func scanRevocation(r row) (v Revocation, err error) {
	err = r.Scan(&v.ID, &v.OwnerUserID, &v.Kind, &v.TargetID, &v.CameraDeviceID, &v.ClientDeviceID,
		timeColumn{&v.CreatedAt})
	return v, err
}

// OnRevocation has f called after every transaction of this process that wrote
// a Revocation. It must be set before the DB is shared, and f must not block.
func (db *DB) OnRevocation(f func()) { db.onRevocation = f }

// inRevokingTx is inTx for changes that take rights away: they call revoke.
func (db *DB) inRevokingTx(ctx context.Context, f func(tx *txn) error) error {
	ended, err := db.run(ctx, f)
	if err == nil && db.onRevocation != nil {
		db.onRevocation()
	}
	db.tellCommandsEnded(ctx, ended)
	return err
}

// revoke writes a Revocation in the transaction that takes the right away.
func (db *DB) revoke(ctx context.Context, tx *txn, r Revocation) error {
	return insert(ctx, tx, "revocations", revocationColumns, NewID(), r.OwnerUserID, r.Kind, r.TargetID,
		r.CameraDeviceID, r.ClientDeviceID, ms(db.Now()))
}

// Revocations lists what was revoked at since or later, oldest first.
func (db *DB) Revocations(ctx context.Context, since time.Time) ([]Revocation, error) {
	const query = "SELECT " + revocationColumns + " FROM revocations WHERE created_at >= $1 ORDER BY created_at, id"
	return all(ctx, db.r, scanRevocation, query, ms(since))
}

// DeleteRevocations forgets what was revoked before a time and returns how many
// revocations that were.
func (db *DB) DeleteRevocations(ctx context.Context, before time.Time) (n int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		n, err = change(ctx, tx, `DELETE FROM revocations WHERE created_at < $1`, ms(before))
		return err
	})
	return n, err
}

// UserHolds returns ErrNotFound for a user who does not exist or was revoked
// since, and ErrDisabled for one who is disabled.
func (db *DB) UserHolds(ctx context.Context, userID string, since time.Time) error {
	const query = `SELECT CASE WHEN disabled_at IS NOT NULL THEN 'disabled' ELSE 'holds' END FROM users
		WHERE id = $1 AND deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM revocations
			WHERE owner_user_id = $1 AND kind = 'user' AND created_at >= $2)`
	state, err := one(ctx, db.r, scanText, query, userID, ms(since))
	if err == nil && state == "disabled" {
		return ErrDisabled
	}
	return err
}

// RevokeUser signs the user out everywhere: it deletes all sessions, forgets
// trusted browsers, challenges and links to choose a password, revokes the
// tokens of all devices, and ends what they stream and publish. The devices
// need new tokens.
func (db *DB) RevokeUser(ctx context.Context, userID string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, userID); err != nil {
			return err
		}
		if err := db.revokeUser(ctx, tx, userID, by); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "user", "revoke", userID, nil)
	})
}

// revokeUser does RevokeUser. The caller holds the lock on the user's devices.
func (db *DB) revokeUser(ctx context.Context, tx *txn, userID string, by Actor) error {
	for _, from := range []string{"sessions", "verifications"} {
		if _, err := change(ctx, tx, "DELETE FROM "+from+" WHERE user_id = $1", userID); err != nil {
			return err
		}
	}
	const devices = `SELECT id FROM devices WHERE user_id = $1 AND deleted_at IS NULL ORDER BY created_at, id`
	ids, err := all(ctx, tx, scanText, devices, userID)
	if err != nil {
		return err
	}
	at := tx.now()
	for _, id := range ids {
		if err := endDevice(ctx, tx, id, ReasonUserRevoked, at, by); err != nil {
			return err
		}
		const rotate = `UPDATE devices SET token_key_id = $2, updated_at = $3 WHERE id = $1`
		if err := changeOne(ctx, tx, rotate, id, NewID(), ms(at)); err != nil {
			return err
		}
	}
	return db.revoke(ctx, tx, Revocation{OwnerUserID: userID, Kind: RevokedUser, TargetID: userID})
}

// SetUserDisabled keeps a user from signing in, and revokes all that the user
// has, or lets the user sign in again. It returns ErrConflict when nothing
// would change.
func (db *DB) SetUserDisabled(ctx context.Context, userID string, disabled bool, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, userID); err != nil {
			return err
		}
		verb, at, query := "enable", time.Time{}, `UPDATE users SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NOT NULL`
		if disabled {
			verb, at, query = "disable", tx.now(), `UPDATE users SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL`
		}
		switch n, err := change(ctx, tx, query, userID, ms(at)); {
		case err != nil:
			return err
		case n == 0:
			return ErrConflict
		}
		if disabled {
			if err := db.revokeUser(ctx, tx, userID, by); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, userID, "user", verb, userID, nil)
	})
}
