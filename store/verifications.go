package store

import (
	"context"
	"errors"
	"time"
)

// Verification is something that the server waits for a person to come back
// with: the token of a letter, a challenge. Whoever knows the identifier has it.
type Verification struct {
	Identifier string // a digest of it
	UserID     string // may be empty
	Value      string
	Attempts   int
	CreatedAt  time.Time
	ExpiresAt  time.Time
}

const verificationColumns = "identifier, user_id, value, attempts, created_at, expires_at"

func scanVerification(r row) (v Verification, err error) {
	err = r.Scan(&v.Identifier, textColumn{&v.UserID}, &v.Value, &v.Attempts, timeColumn{&v.CreatedAt}, timeColumn{&v.ExpiresAt})
	return v, err
}

// CreateVerification adds a verification. It returns ErrNotFound when its user
// does not exist.
func (db *DB) CreateVerification(ctx context.Context, v Verification) error {
	return db.inTx(ctx, func(tx *txn) error {
		if v.UserID != "" {
			if err := lockUser(ctx, tx, v.UserID); err != nil {
				return err
			}
		}
		return insert(ctx, tx, "verifications", verificationColumns, v.Identifier, text(v.UserID), v.Value, v.Attempts,
			ms(v.CreatedAt), ms(v.ExpiresAt))
	})
}

// Verification returns a verification that has not expired at now.
func (db *DB) Verification(ctx context.Context, identifier string, now time.Time) (Verification, error) {
	const query = "SELECT " + verificationColumns + " FROM verifications WHERE identifier = $1 AND expires_at > $2"
	return one(ctx, db.r, scanVerification, query, identifier, ms(now))
}

// TakeVerification deletes a verification and returns it if it has not expired
// at now. Of several callers one gets it; the others get ErrNotFound.
func (db *DB) TakeVerification(ctx context.Context, identifier string, now time.Time) (v Verification, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = "DELETE FROM verifications WHERE identifier = $1 RETURNING " + verificationColumns
		v, err = one(ctx, tx, scanVerification, query, identifier)
		return err
	})
	if err == nil && !now.Before(v.ExpiresAt) {
		return Verification{}, ErrNotFound
	}
	return v, err
}

// TryVerification counts an attempt at a verification that has not expired at
// now and returns it. It returns ErrConflict when as many as limit were counted
// before.
func (db *DB) TryVerification(ctx context.Context, identifier string, limit int, now time.Time) (v Verification, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const query = `UPDATE verifications SET attempts = attempts + 1
			WHERE identifier = $1 AND expires_at > $2 AND attempts < $3 RETURNING ` + verificationColumns
		v, err = one(ctx, tx, scanVerification, query, identifier, ms(now), limit)
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT identifier FROM verifications WHERE identifier = $1 AND expires_at > $2`,
				identifier, ms(now))
		}
		return err
	})
	return v, err
}

// DeleteExpiredVerifications deletes what expired at now or before and returns
// how many verifications that were.
func (db *DB) DeleteExpiredVerifications(ctx context.Context, now time.Time) (n int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		n, err = change(ctx, tx, `DELETE FROM verifications WHERE expires_at <= $1`, ms(now))
		return err
	})
	return n, err
}
