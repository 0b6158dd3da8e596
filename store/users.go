package store

import (
	"context"
	"database/sql"
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
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

const userColumns = "id, name, email, email_verified, image, created_at, updated_at"

// dest returns where to scan userColumns.
func (u *User) dest() []any {
	return []any{&u.ID, &u.Name, &u.Email, &u.EmailVerified, &u.Image, timeColumn{&u.CreatedAt}, timeColumn{&u.UpdatedAt}}
}

func scanUser(r row) (u User, err error) {
	err = r.Scan(u.dest()...)
	return u, err
}

// CreateUser adds a user who signs in with the hashed password. It returns
// ErrConflict when the e-mail address, in any case, is taken.
func (db *DB) CreateUser(ctx context.Context, u User, passwordHash string, by Actor) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		err := insert(ctx, tx, "users", userColumns, u.ID, u.Name, strings.ToLower(u.Email), u.EmailVerified, u.Image,
			ms(u.CreatedAt), ms(orElse(u.UpdatedAt, u.CreatedAt)))
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
	const query = `SELECT u.id, u.name, u.email, u.email_verified, u.image, u.created_at, u.updated_at,
			COALESCE(a.password_hash, '')
		FROM users u LEFT JOIN accounts a ON a.user_id = u.id AND a.provider_id = $2
		WHERE u.email = $1`
	u, err := one(ctx, db.r, scan, query, strings.ToLower(email), providerCredential)
	return u, hash, err
}

// User returns the user with the id.
func (db *DB) User(ctx context.Context, id string) (User, error) {
	return one(ctx, db.r, scanUser, "SELECT "+userColumns+" FROM users WHERE id = $1", id)
}

// lockUser makes the transaction the only one that changes which devices and
// links the user has.
func lockUser(ctx context.Context, tx *sql.Tx, id string) error {
	return changeOne(ctx, tx, `UPDATE users SET updated_at = updated_at WHERE id = $1`, id)
}
