package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Session is a signed-in browser. Only the SHA-256 of its token is kept.
type Session struct {
	ID          string
	UserID      string
	TokenSHA256 []byte
	IPAddress   string
	UserAgent   string
	CreatedAt   time.Time
	UpdatedAt   time.Time
	ExpiresAt   time.Time
}

const sessionColumns = "id, user_id, token_sha256, ip_address, user_agent, created_at, updated_at, expires_at"

// CreateSession adds a session. It returns ErrDisabled for a user who may not
// sign in; there is no other way to get a session.
func (db *DB) CreateSession(ctx context.Context, s Session, by Actor) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		if err := lockUser(ctx, tx, s.UserID); err != nil {
			return err
		}
		const disabled = `SELECT id FROM users WHERE id = $1 AND disabled_at IS NOT NULL`
		switch _, err := one(ctx, tx, scanText, disabled, s.UserID); {
		case err == nil:
			return ErrDisabled
		case !errors.Is(err, ErrNotFound):
			return err
		}
		err := insert(ctx, tx, "sessions", sessionColumns, s.ID, s.UserID, s.TokenSHA256, s.IPAddress, s.UserAgent,
			ms(s.CreatedAt), ms(orElse(s.UpdatedAt, s.CreatedAt)), ms(s.ExpiresAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, s.UserID, "session", "create", s.ID, nil)
	})
}

// SessionByToken returns the session with the token's SHA-256 and its user. It
// does not look at the session's expiry.
func (db *DB) SessionByToken(ctx context.Context, tokenSHA256 []byte) (Session, User, error) {
	var u User
	scan := func(r row) (s Session, err error) {
		err = r.Scan(append([]any{
			&s.ID, &s.UserID, &s.TokenSHA256, &s.IPAddress, &s.UserAgent,
			timeColumn{&s.CreatedAt},
			timeColumn{&s.UpdatedAt},
			timeColumn{&s.ExpiresAt},
		}, u.dest()...)...)
		return s, err
	}
	const query = `SELECT s.id, s.user_id, s.token_sha256, s.ip_address, s.user_agent, s.created_at, s.updated_at,
			s.expires_at, u.id, u.name, u.email, u.email_verified, u.image, u.created_at, u.updated_at
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_sha256 = $1`
	s, err := one(ctx, db.r, scan, query, tokenSHA256)
	return s, u, err
}

// TouchSession notes that a session was used and extends it.
func (db *DB) TouchSession(ctx context.Context, id string, updatedAt, expiresAt time.Time) error {
	return db.inTx(ctx, func(tx *sql.Tx) error {
		const query = `UPDATE sessions SET updated_at = $2, expires_at = $3 WHERE id = $1`
		return changeOne(ctx, tx, query, id, ms(updatedAt), ms(expiresAt))
	})
}

// DeleteSession signs the user's session out.
func (db *DB) DeleteSession(ctx context.Context, userID, id string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *sql.Tx) error {
		if err := changeOne(ctx, tx, `DELETE FROM sessions WHERE id = $1 AND user_id = $2`, id, userID); err != nil {
			return err
		}
		if err := revokeSession(ctx, tx, userID, id); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "session", "delete", id, nil)
	})
}

func revokeSession(ctx context.Context, tx *sql.Tx, userID, id string) error {
	return revoke(ctx, tx, Revocation{OwnerUserID: userID, Kind: RevokedSession, TargetID: id})
}

// Session returns the user's session with the id.
func (db *DB) Session(ctx context.Context, userID, id string) (Session, error) {
	scan := func(r row) (s Session, err error) {
		err = r.Scan(&s.ID, &s.UserID, &s.TokenSHA256, &s.IPAddress, &s.UserAgent,
			timeColumn{&s.CreatedAt}, timeColumn{&s.UpdatedAt}, timeColumn{&s.ExpiresAt})
		return s, err
	}
	const query = "SELECT " + sessionColumns + " FROM sessions WHERE id = $1 AND user_id = $2"
	return one(ctx, db.r, scan, query, id, userID)
}

// DeleteExpiredSessions deletes what expired at now or before and returns how
// many sessions that were.
func (db *DB) DeleteExpiredSessions(ctx context.Context, now time.Time) (n int64, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) (err error) {
		n, err = change(ctx, tx, `DELETE FROM sessions WHERE expires_at <= $1`, ms(now))
		return err
	})
	return n, err
}
