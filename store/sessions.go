package store

import (
	"context"
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

// dest returns where to scan sessionColumns.
func (s *Session) dest() []any {
	return []any{
		&s.ID, &s.UserID, &s.TokenSHA256, &s.IPAddress, &s.UserAgent,
		timeColumn{&s.CreatedAt},
		timeColumn{&s.UpdatedAt},
		timeColumn{&s.ExpiresAt},
	}
}

func scanSession(r row) (s Session, err error) {
	err = r.Scan(s.dest()...)
	return s, err
}

// CreateSession adds a session. It returns ErrDisabled for a user who may not
// sign in, and ErrNotFound for one who was deleted meanwhile.
func (db *DB) CreateSession(ctx context.Context, s Session, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, s.UserID); err != nil {
			return err
		}
		if err := insertSession(ctx, tx, s); err != nil {
			return err
		}
		if err := db.makeRoom(ctx, tx, s, by); err != nil {
			return err
		}
		return audit(ctx, tx, by, s.UserID, "session", "create", s.ID, nil)
	})
}

// CreateSessionByPassword is CreateSession for somebody who knew the password
// of that hash. It returns ErrConflict when that is not the password any more.
func (db *DB) CreateSessionByPassword(ctx context.Context, s Session, passwordHash string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, s.UserID); err != nil {
			return err
		}
		current, err := accountHash(ctx, tx, s.UserID)
		if err != nil {
			return err
		}
		if current != passwordHash {
			return ErrConflict
		}
		if err := insertSession(ctx, tx, s); err != nil {
			return err
		}
		if err := db.makeRoom(ctx, tx, s, by); err != nil {
			return err
		}
		return audit(ctx, tx, by, s.UserID, "session", "create", s.ID, nil)
	})
}

// makeRoom ends the user's oldest sessions where a new one is one too many.
func (db *DB) makeRoom(ctx context.Context, tx *txn, newest Session, by Actor) error {
	if db.limits.Sessions <= 0 {
		return nil
	}
	const over = `DELETE FROM sessions WHERE user_id = $1 AND id <> $2 AND id NOT IN (SELECT id FROM sessions
		WHERE user_id = $1 AND id <> $2 ORDER BY created_at DESC, id DESC LIMIT $3) RETURNING id`
	ids, err := all(ctx, tx, scanText, over, newest.UserID, newest.ID, db.limits.Sessions-1)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := db.revokeSession(ctx, tx, newest.UserID, id); err != nil {
			return err
		}
		why := details{"reason": "made_room", "for": newest.ID}
		if err := audit(ctx, tx, by, newest.UserID, "session", "delete", id, why); err != nil {
			return err
		}
	}
	return nil
}

// insertSession adds a session unless its user, whom the transaction has locked,
// may not sign in. There is no other way to get a session.
func insertSession(ctx context.Context, tx *txn, s Session) error {
	const disabled = `SELECT id FROM users WHERE id = $1 AND disabled_at IS NOT NULL`
	switch _, err := one(ctx, tx, scanText, disabled, s.UserID); {
	case err == nil:
		return ErrDisabled
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return insert(ctx, tx, "sessions", sessionColumns, s.ID, s.UserID, s.TokenSHA256, s.IPAddress, s.UserAgent,
		ms(s.CreatedAt), ms(orElse(s.UpdatedAt, s.CreatedAt)), ms(s.ExpiresAt))
}

// Sessions lists the user's sessions that have not expired at now, newest
// first, at most so many.
func (db *DB) Sessions(ctx context.Context, userID string, now time.Time, limit int) ([]Session, error) {
	const query = "SELECT " + sessionColumns + ` FROM sessions WHERE user_id = $1 AND expires_at > $2
		ORDER BY created_at DESC, id DESC LIMIT $3`
	return all(ctx, db.r, scanSession, query, userID, ms(now), limit)
}

// SessionByToken returns the session with the token's SHA-256 and its user. It
// does not look at the session's expiry.
func (db *DB) SessionByToken(ctx context.Context, tokenSHA256 []byte) (Session, User, error) {
	var u User
	scan := func(r row) (s Session, err error) {
		err = r.Scan(append(s.dest(), u.dest()...)...)
		return s, err
	}
	const query = `SELECT s.id, s.user_id, s.token_sha256, s.ip_address, s.user_agent, s.created_at, s.updated_at,
			s.expires_at, ` + userColumnsOfU + `
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.token_sha256 = $1`
	s, err := one(ctx, db.r, scan, query, tokenSHA256)
	return s, u, err
}

// TouchSession notes that a session was used and extends it.
func (db *DB) TouchSession(ctx context.Context, id string, updatedAt, expiresAt time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE sessions SET updated_at = $2, expires_at = $3 WHERE id = $1`
		return changeOne(ctx, tx, query, id, ms(updatedAt), ms(expiresAt))
	})
}

// DeleteSession signs the user's session out.
func (db *DB) DeleteSession(ctx context.Context, userID, id string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := changeOne(ctx, tx, `DELETE FROM sessions WHERE id = $1 AND user_id = $2`, id, userID); err != nil {
			return err
		}
		if err := db.revokeSession(ctx, tx, userID, id); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "session", "delete", id, nil)
	})
}

func (db *DB) revokeSession(ctx context.Context, tx *txn, userID, id string) error {
	return db.revoke(ctx, tx, Revocation{OwnerUserID: userID, Kind: RevokedSession, TargetID: id})
}

// Session returns the user's session with the id.
func (db *DB) Session(ctx context.Context, userID, id string) (Session, error) {
	const query = "SELECT " + sessionColumns + " FROM sessions WHERE id = $1 AND user_id = $2"
	return one(ctx, db.r, scanSession, query, id, userID)
}

// DeleteSessions signs the user out of every session but the one with the id
// except, which may be empty, and returns how many those were. It forgets which
// browsers are trusted, and what was asked for by letter.
func (db *DB) DeleteSessions(ctx context.Context, userID, except string, by Actor) (n int64, err error) {
	err = db.inRevokingTx(ctx, func(tx *txn) (err error) {
		// Browsers that are trusted without a second factor, too, and letters.
		if _, err := change(ctx, tx, `DELETE FROM verifications WHERE user_id = $1`, userID); err != nil {
			return err
		}
		n, err = db.endSessions(ctx, tx, userID, except)
		if err != nil || n == 0 {
			return err
		}
		return audit(ctx, tx, by, userID, "session", "delete_all", userID, details{"count": n})
	})
	return n, err
}

// endSessions deletes the user's sessions but one.
func (db *DB) endSessions(ctx context.Context, tx *txn, userID, except string) (int64, error) {
	ids, err := all(ctx, tx, scanText, `DELETE FROM sessions WHERE user_id = $1 AND id <> $2 RETURNING id`, userID, except)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		if err := db.revokeSession(ctx, tx, userID, id); err != nil {
			return 0, err
		}
	}
	return int64(len(ids)), nil
}

// DeleteExpiredSessions deletes what expired at now or before and returns how
// many sessions that were.
func (db *DB) DeleteExpiredSessions(ctx context.Context, now time.Time) (n int64, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		n, err = change(ctx, tx, `DELETE FROM sessions WHERE expires_at <= $1`, ms(now))
		return err
	})
	return n, err
}
