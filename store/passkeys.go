package store

import (
	"context"
	"encoding/json"
	"time"
)

// Passkey is a WebAuthn credential of a user.
type Passkey struct {
	ID           string
	UserID       string
	Name         string
	CredentialID string          // base64url
	Credential   json.RawMessage // as the caller keeps it
	SignCount    int64
	CreatedAt    time.Time
	LastUsedAt   time.Time // zero before the first use
}

const passkeyColumns = "id, user_id, name, credential_id, credential, sign_count, created_at, last_used_at"

func scanPasskey(r row) (k Passkey, err error) {
	err = r.Scan(&k.ID, &k.UserID, &k.Name, &k.CredentialID, jsonColumn{&k.Credential}, &k.SignCount,
		timeColumn{&k.CreatedAt}, timeColumn{&k.LastUsedAt})
	return k, err
}

// CreatePasskey adds a passkey. It returns ErrConflict when the credential is
// known and ErrFull when the user has as many passkeys as limit.
func (db *DB) CreatePasskey(ctx context.Context, k Passkey, limit int, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, k.UserID); err != nil {
			return err
		}
		if err := checkRoom(ctx, tx, limit, `SELECT COUNT(*) FROM passkeys WHERE user_id = $1`, k.UserID); err != nil {
			return err
		}
		err := insert(ctx, tx, "passkeys", passkeyColumns, k.ID, k.UserID, k.Name, k.CredentialID, string(k.Credential),
			k.SignCount, ms(k.CreatedAt), ms(k.LastUsedAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, k.UserID, "passkey", "create", k.ID, nil)
	})
}

// Passkeys lists the user's passkeys, oldest first.
func (db *DB) Passkeys(ctx context.Context, userID string) ([]Passkey, error) {
	const query = "SELECT " + passkeyColumns + " FROM passkeys WHERE user_id = $1 ORDER BY created_at, id"
	return all(ctx, db.r, scanPasskey, query, userID)
}

// PasskeyByCredential returns a passkey whoever owns it: it is for finding out
// who signs in with it.
func (db *DB) PasskeyByCredential(ctx context.Context, credentialID string) (Passkey, error) {
	const query = "SELECT " + passkeyColumns + " FROM passkeys WHERE credential_id = $1"
	return one(ctx, db.r, scanPasskey, query, credentialID)
}

// UsePasskey notes that a passkey was used and what it now is. It returns
// ErrConflict when its counter is not greater than the one that was seen
// before, which means that there are two of it; authenticators without a
// counter always say zero.
func (db *DB) UsePasskey(ctx context.Context, id string, credential json.RawMessage, signCount int64, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE passkeys SET credential = $2, sign_count = $3, last_used_at = $4
			WHERE id = $1 AND (sign_count < $3 OR (sign_count = 0 AND $3 = 0))`
		n, err := change(ctx, tx, query, id, string(credential), signCount, ms(at))
		if err == nil && n == 0 {
			return conflictIf(ctx, tx, `SELECT id FROM passkeys WHERE id = $1`, id)
		}
		return err
	})
}

// RenamePasskey names the user's passkey.
func (db *DB) RenamePasskey(ctx context.Context, userID, id, name string, by Actor) (k Passkey, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE passkeys SET name = $3 WHERE id = $1 AND user_id = $2 RETURNING ` + passkeyColumns
		if k, err = one(ctx, tx, scanPasskey, query, id, userID, name); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "passkey", "rename", id, nil)
	})
	return k, err
}

// DeletePasskey deletes the user's passkey.
func (db *DB) DeletePasskey(ctx context.Context, userID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := changeOne(ctx, tx, `DELETE FROM passkeys WHERE id = $1 AND user_id = $2`, id, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "passkey", "delete", id, nil)
	})
}
