package store

import (
	"context"
	"errors"
	"time"
)

// TwoFactor is a user's authenticator app.
type TwoFactor struct {
	UserID      string
	Secret      string // sealed by the caller
	Verified    bool   // the user has shown a code
	LastStep    int64  // the time step of the last code that was used
	Failures    int    // wrong codes in a row
	LockedUntil time.Time
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

const twoFactorColumns = "user_id, secret, verified, last_step, failures, locked_until, created_at, updated_at"

func scanTwoFactor(r row) (f TwoFactor, err error) {
	err = r.Scan(&f.UserID, &f.Secret, &f.Verified, &f.LastStep, &f.Failures, timeColumn{&f.LockedUntil},
		timeColumn{&f.CreatedAt}, timeColumn{&f.UpdatedAt})
	return f, err
}

// TwoFactor returns the user's authenticator app, verified or not.
func (db *DB) TwoFactor(ctx context.Context, userID string) (TwoFactor, error) {
	return one(ctx, db.r, scanTwoFactor, "SELECT "+twoFactorColumns+" FROM two_factors WHERE user_id = $1", userID)
}

// ProposeTwoFactor keeps the secret and the digests of the backup codes of an
// authenticator app that the user is about to set up, instead of those that
// were proposed before. It returns ErrConflict when the user has a verified one.
func (db *DB) ProposeTwoFactor(ctx context.Context, f TwoFactor, backupCodes []string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, f.UserID); err != nil {
			return err
		}
		err := conflictIf(ctx, tx, `SELECT user_id FROM two_factors WHERE user_id = $1 AND verified`, f.UserID)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		if _, err := change(ctx, tx, `DELETE FROM two_factors WHERE user_id = $1`, f.UserID); err != nil {
			return err
		}
		err = insert(ctx, tx, "two_factors", twoFactorColumns, f.UserID, f.Secret, false, f.LastStep, 0, nil,
			ms(f.CreatedAt), ms(orElse(f.UpdatedAt, f.CreatedAt)))
		if err != nil {
			return err
		}
		if err := insertBackupCodes(ctx, tx, f.UserID, backupCodes); err != nil {
			return err
		}
		return audit(ctx, tx, by, f.UserID, "two_factor", "propose", f.UserID, nil)
	})
}

// SessionSwap replaces a session by another one, because what its user may do
// has changed.
type SessionSwap struct {
	OldID string
	Next  Session
}

func (s SessionSwap) apply(ctx context.Context, db *DB, tx *txn) error {
	const end = `DELETE FROM sessions WHERE id = $1 AND user_id = $2`
	if err := changeOne(ctx, tx, end, s.OldID, s.Next.UserID); err != nil {
		return err
	}
	if err := db.revokeSession(ctx, tx, s.Next.UserID, s.OldID); err != nil {
		return err
	}
	return insertSession(ctx, tx, s.Next)
}

// EnableTwoFactor makes the user's proposed authenticator app count: its owner
// has shown the code of a time step. It returns ErrConflict when the code of
// that step or a later one was used before.
func (db *DB) EnableTwoFactor(ctx context.Context, userID string, step int64, swap SessionSwap, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		if err := useStep(ctx, tx, userID, step); err != nil {
			return err
		}
		const verify = `UPDATE two_factors SET verified = TRUE WHERE user_id = $1`
		if err := changeOne(ctx, tx, verify, userID); err != nil {
			return err
		}
		const enable = `UPDATE users SET two_factor_enabled = TRUE, updated_at = $2 WHERE id = $1`
		if err := changeOne(ctx, tx, enable, userID, ms(tx.now())); err != nil {
			return err
		}
		if err := swap.apply(ctx, db, tx); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "two_factor", "enable", userID, nil)
	})
}

// DisableTwoFactor forgets the user's authenticator app and backup codes.
func (db *DB) DisableTwoFactor(ctx context.Context, userID string, swap SessionSwap, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		if _, err := change(ctx, tx, `DELETE FROM two_factors WHERE user_id = $1`, userID); err != nil {
			return err
		}
		// Challenges and the browsers that were trusted.
		if _, err := change(ctx, tx, `DELETE FROM verifications WHERE user_id = $1`, userID); err != nil {
			return err
		}
		const disable = `UPDATE users SET two_factor_enabled = FALSE, updated_at = $2 WHERE id = $1`
		if err := changeOne(ctx, tx, disable, userID, ms(tx.now())); err != nil {
			return err
		}
		if err := swap.apply(ctx, db, tx); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "two_factor", "disable", userID, nil)
	})
}

// UseTwoFactor uses up the code of a time step, and every earlier one, and
// forgets failures. It returns ErrConflict when that step or a later one was
// used before.
func (db *DB) UseTwoFactor(ctx context.Context, userID string, step int64) error {
	return db.inTx(ctx, func(tx *txn) error { return useStep(ctx, tx, userID, step) })
}

func useStep(ctx context.Context, tx *txn, userID string, step int64) error {
	const query = `UPDATE two_factors SET last_step = $2, failures = 0, locked_until = NULL, updated_at = $3
		WHERE user_id = $1 AND last_step < $2`
	n, err := change(ctx, tx, query, userID, step, ms(tx.now()))
	if err == nil && n == 0 {
		return conflictIf(ctx, tx, `SELECT user_id FROM two_factors WHERE user_id = $1`, userID)
	}
	return err
}

// TryTwoFactor counts an attempt before its code is looked at, so that attempts
// at the same time count as well; using a code forgets them. The limit-th
// attempt in a row locks the second factor until then. It returns ErrConflict
// while it is locked.
func (db *DB) TryTwoFactor(ctx context.Context, userID string, limit int, now, until time.Time) (f TwoFactor, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		const count = `CASE WHEN locked_until IS NULL THEN failures + 1 ELSE 1 END`
		const query = `UPDATE two_factors SET failures = ` + count + `,
			locked_until = CASE WHEN ` + count + ` >= $2 THEN CAST($3 AS BIGINT) END
			WHERE user_id = $1 AND (locked_until IS NULL OR locked_until <= $4) RETURNING ` + twoFactorColumns
		f, err = one(ctx, tx, scanTwoFactor, query, userID, limit, until.UnixMilli(), ms(now))
		if errors.Is(err, ErrNotFound) {
			return conflictIf(ctx, tx, `SELECT user_id FROM two_factors WHERE user_id = $1`, userID)
		}
		return err
	})
	return f, err
}

// UseBackupCode uses up the backup code with the digest and forgets failures.
// It returns ErrNotFound when the user has no such code.
func (db *DB) UseBackupCode(ctx context.Context, userID, digest string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const use = `DELETE FROM backup_codes WHERE user_id = $1 AND digest = $2`
		if err := changeOne(ctx, tx, use, userID, digest); err != nil {
			return err
		}
		const forget = `UPDATE two_factors SET failures = 0, locked_until = NULL WHERE user_id = $1`
		if err := changeOne(ctx, tx, forget, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "two_factor", "use_backup_code", userID, nil)
	})
}

// ReplaceBackupCodes gives the user other backup codes. It returns ErrNotFound
// when the user has no verified authenticator app.
func (db *DB) ReplaceBackupCodes(ctx context.Context, userID string, digests []string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const lock = `UPDATE two_factors SET updated_at = $2 WHERE user_id = $1 AND verified`
		if err := changeOne(ctx, tx, lock, userID, ms(tx.now())); err != nil {
			return err
		}
		if _, err := change(ctx, tx, `DELETE FROM backup_codes WHERE user_id = $1`, userID); err != nil {
			return err
		}
		if err := insertBackupCodes(ctx, tx, userID, digests); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "two_factor", "replace_backup_codes", userID, nil)
	})
}

func insertBackupCodes(ctx context.Context, tx *txn, userID string, digests []string) error {
	for _, digest := range digests {
		if err := insert(ctx, tx, "backup_codes", "user_id, digest", userID, digest); err != nil {
			return err
		}
	}
	return nil
}
