package store

import (
	"context"
	"strings"
	"time"
)

// User is a person with an account.
type User struct {
	ID            string
	Name          string
	Email         string // lower case
	EmailVerified bool
	Image         string
	TwoFactor     bool // signing in by password takes a second factor
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

const (
	userColumns = "id, name, email, email_verified, image, two_factor_enabled, created_at, updated_at"
	// userColumnsOfU are userColumns of the table that a query calls u.
	userColumnsOfU = "u.id, u.name, u.email, u.email_verified, u.image, u.two_factor_enabled, u.created_at, u.updated_at"
)

// dest returns where to scan userColumns.
func (u *User) dest() []any {
	return []any{
		&u.ID, &u.Name, &u.Email, &u.EmailVerified, &u.Image, &u.TwoFactor, timeColumn{&u.CreatedAt}, timeColumn{&u.UpdatedAt},
	}
}

func scanUser(r row) (u User, err error) {
	err = r.Scan(u.dest()...)
	return u, err
}

// CreateUser adds a user who signs in with the hashed password. It returns
// ErrConflict when the e-mail address, in any case, is taken.
func (db *DB) CreateUser(ctx context.Context, u User, passwordHash string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		err := insert(ctx, tx, "users", userColumns, u.ID, u.Name, strings.ToLower(u.Email), u.EmailVerified, u.Image,
			u.TwoFactor, ms(u.CreatedAt), ms(orElse(u.UpdatedAt, u.CreatedAt)))
		if err != nil {
			return err
		}
		if err := insertAccount(ctx, tx, u.ID, passwordHash, u.CreatedAt); err != nil {
			return err
		}
		return audit(ctx, tx, by, u.ID, "user", "create", u.ID, nil)
	})
}

// UserByEmail returns the user with the address, in any case, and the hash of
// the password, empty when the user has none.
func (db *DB) UserByEmail(ctx context.Context, email string) (User, string, error) {
	var hash string
	scan := func(r row) (u User, err error) {
		err = r.Scan(append(u.dest(), &hash)...)
		return u, err
	}
	const query = "SELECT " + userColumnsOfU + `, COALESCE(a.password_hash, '')
		FROM users u LEFT JOIN accounts a ON a.user_id = u.id AND a.provider_id = $2
		WHERE u.email = $1`
	u, err := one(ctx, db.r, scan, query, strings.ToLower(email), providerCredential)
	return u, hash, err
}

// User returns the user with the id.
func (db *DB) User(ctx context.Context, id string) (User, error) {
	return one(ctx, db.r, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1 AND deleted_at IS NULL", id)
}

// PasswordHash returns the hash of the user's password, empty when the user
// has none.
func (db *DB) PasswordHash(ctx context.Context, userID string) (string, error) {
	const query = `SELECT COALESCE(a.password_hash, '') FROM users u
		LEFT JOIN accounts a ON a.user_id = u.id AND a.provider_id = $2 WHERE u.id = $1 AND u.deleted_at IS NULL`
	return one(ctx, db.r, scanText, query, userID, providerCredential)
}

// UserChange names what of a user to change; nil keeps it.
type UserChange struct {
	Name  *string
	Image *string
}

// UpdateUser changes how the user is shown.
func (db *DB) UpdateUser(ctx context.Context, id string, c UserChange, by Actor) (u User, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		if err := lockUser(ctx, tx, id); err != nil {
			return err
		}
		if u, err = one(ctx, tx, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", id); err != nil {
			return err
		}
		set(&u.Name, c.Name)
		set(&u.Image, c.Image)
		u.UpdatedAt = tx.now()
		const query = `UPDATE users SET name = $2, image = $3, updated_at = $4 WHERE id = $1`
		if err := changeOne(ctx, tx, query, id, u.Name, u.Image, ms(u.UpdatedAt)); err != nil {
			return err
		}
		return audit(ctx, tx, by, id, "user", "update", id, nil)
	})
	return u, err
}

// SetEmail gives the user who has the address from another one, or the same
// one again, and says whether it is known to be the user's. It returns
// ErrConflict when the user's address is not from any more or to is taken.
func (db *DB) SetEmail(ctx context.Context, id, from, to string, verified bool, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE users SET email = $3, email_verified = $4, updated_at = $5
			WHERE id = $1 AND email = $2 AND deleted_at IS NULL`
		n, err := change(ctx, tx, query, id, strings.ToLower(from), strings.ToLower(to), verified, ms(tx.now()))
		if err != nil {
			return err
		}
		if n == 0 {
			return conflictIf(ctx, tx, `SELECT id FROM users WHERE id = $1 AND deleted_at IS NULL`, id)
		}
		if from != to { // letters to the old address open nothing any more
			if _, err := change(ctx, tx, `DELETE FROM verifications WHERE user_id = $1`, id); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, id, "user", "set_email", id, details{"verified": verified, "changed": from != to})
	})
}

// PasswordChange says what SetPassword does.
type PasswordChange struct {
	UserID string
	Hash   string
	Revoke bool     // end every session
	Next   *Session // begins when those have ended; may be nil

	// ByLetter is a change by somebody who reads the letters of the address. If
	// that was not known to be the user's, somebody else may have made the
	// account before its owner came: passkeys, the authenticator app, webhooks
	// and subscriptions to pushes go, and the tokens of devices, which keep
	// their rows. From then on it is known to be the user's.
	ByLetter bool
}

// SetPassword gives the user another password. What was asked for by the old
// one, or by a letter, and is not through yet, ends.
func (db *DB) SetPassword(ctx context.Context, c PasswordChange, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, c.UserID); err != nil {
			return err
		}
		if c.ByLetter {
			if err := db.proveEmail(ctx, tx, c.UserID, by); err != nil {
				return err
			}
		}
		if err := setAccountHash(ctx, tx, c.UserID, c.Hash, tx.now()); err != nil {
			return err
		}
		if _, err := change(ctx, tx, `DELETE FROM verifications WHERE user_id = $1`, c.UserID); err != nil {
			return err
		}
		if c.Revoke {
			if _, err := db.endSessions(ctx, tx, c.UserID, ""); err != nil {
				return err
			}
		}
		if c.Next != nil {
			if err := insertSession(ctx, tx, *c.Next); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, c.UserID, "user", "set_password", c.UserID, details{"sessionsRevoked": c.Revoke})
	})
}

// proveEmail takes away what was set up before the address of the user, whose
// devices the transaction has locked, was known to be the user's.
func (db *DB) proveEmail(ctx context.Context, tx *txn, userID string, by Actor) error {
	const prove = `UPDATE users SET email_verified = TRUE, two_factor_enabled = FALSE, updated_at = $2
		WHERE id = $1 AND NOT email_verified`
	n, err := change(ctx, tx, prove, userID, ms(tx.now()))
	if err != nil || n == 0 {
		return err
	}
	for _, from := range []string{"passkeys", "two_factors", "webhooks", "push_subscriptions"} {
		if _, err := change(ctx, tx, "DELETE FROM "+from+" WHERE user_id = $1", userID); err != nil {
			return err
		}
	}
	if err := db.revokeUser(ctx, tx, userID, by); err != nil {
		return err
	}
	return audit(ctx, tx, by, userID, "user", "prove_email", userID, nil)
}

// DeleteUser signs the user out everywhere, deletes the devices as
// DeleteDevice does, and forgets who the user was. What lies in the object
// store is deleted later: see Erasures. The row stays, empty, for the history
// that points at it.
func (db *DB) DeleteUser(ctx context.Context, id string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, id); err != nil {
			return err
		}
		devices, err := all(ctx, tx, scanText, `SELECT id FROM devices WHERE user_id = $1 AND deleted_at IS NULL`, id)
		if err != nil {
			return err
		}
		at := tx.now()
		for _, device := range devices {
			if err := db.deleteDevice(ctx, tx, id, device, at, by); err != nil {
				return err
			}
		}
		if err := deleteUsers(ctx, tx, id); err != nil {
			return err
		}
		const forget = `UPDATE users SET name = '', email = 'deleted ' || id, image = '', email_verified = FALSE,
			two_factor_enabled = FALSE, updated_at = $2, deleted_at = $2 WHERE id = $1`
		if err := changeOne(ctx, tx, forget, id, ms(at)); err != nil {
			return err
		}
		if err := db.revoke(ctx, tx, Revocation{OwnerUserID: id, Kind: RevokedUser, TargetID: id}); err != nil {
			return err
		}
		return audit(ctx, tx, by, id, "user", "delete", id, details{"devices": len(devices)})
	})
}

// deleteUsers deletes what is the user's alone and no history points at.
func deleteUsers(ctx context.Context, tx *txn, id string) error {
	for _, from := range []string{
		"sessions WHERE user_id", "accounts WHERE user_id", "verifications WHERE user_id", "passkeys WHERE user_id",
		"two_factors WHERE user_id", "webhooks WHERE user_id", "push_notifications WHERE owner_user_id",
	} {
		if _, err := change(ctx, tx, "DELETE FROM "+from+" = $1", id); err != nil {
			return err
		}
	}
	return nil
}

// lockUser makes the transaction the only one that changes which devices,
// links and credentials the user has. It returns ErrNotFound for a deleted one.
func lockUser(ctx context.Context, tx *txn, id string) error {
	return changeOne(ctx, tx, `UPDATE users SET updated_at = updated_at WHERE id = $1 AND deleted_at IS NULL`, id)
}
