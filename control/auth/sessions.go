package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

const (
	sessionTTL        = 7 * 24 * time.Hour
	shortSessionTTL   = 24 * time.Hour // of a session that the user does not want remembered
	sessionRefresh    = 24 * time.Hour
	freshAge          = 24 * time.Hour
	maxListedSessions = 200
	tokenBytes        = 32
	maxUserAgentBytes = 256
)

// current is who is signed in, and how.
type current struct {
	session store.Session
	user    store.User
	token   string
}

// proof is what a new session rests on.
type proof struct {
	userAgent    string
	remember     bool
	passwordHash string // the hash of the password that was shown; empty for another proof
}

// newSession returns a session for a user that is not stored yet, its token
// and its cookie.
func (s *Service) newSession(ctx context.Context, userID string, p proof) (store.Session, string, *http.Cookie) {
	token := newToken()
	now := s.now()
	ttl, maxAge := sessionTTL, sessionTTL
	if !p.remember {
		ttl, maxAge = shortSessionTTL, 0
	}
	return store.Session{
		ID: store.NewID(), UserID: userID, TokenSHA256: digest(token),
		IPAddress: rest.RequestOf(ctx).IP, UserAgent: cut(p.userAgent, maxUserAgentBytes),
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(ttl),
	}, token, s.cookie(ctx, cookieName, token, maxAge)
}

// openSession signs a user in, with a cookie, and returns the token. It returns
// ErrWrongPassword when the password was changed while it was checked, and
// ErrUnauthenticated when the user was deleted.
func (s *Service) openSession(ctx context.Context, userID string, p proof) (string, error) {
	row, token, cookie := s.newSession(ctx, userID, p)
	by := store.Actor{UserID: userID, IP: row.IPAddress}
	var err error
	if p.passwordHash == "" {
		err = s.store.CreateSession(ctx, row, by)
	} else {
		err = s.store.CreateSessionByPassword(ctx, row, p.passwordHash, by)
	}
	if err != nil {
		return "", refuseSession(err)
	}
	setCookie(ctx, cookie)
	return token, nil
}

// refuseSession says why a user gets no session.
func refuseSession(err error) error {
	switch {
	case errors.Is(err, store.ErrConflict):
		return ErrWrongPassword.With(err)
	case errors.Is(err, store.ErrNotFound):
		return ErrUnauthenticated.With(err)
	case errors.Is(err, store.ErrDisabled):
		return ErrDisabled.With(err)
	}
	return err
}

// swapSession returns what replaces the session c by one of the same kind with
// another token, and that token with its cookie, to be set when it is done.
func (s *Service) swapSession(ctx context.Context, c current) (store.SessionSwap, string, *http.Cookie) {
	remember := c.session.ExpiresAt.Sub(c.session.UpdatedAt) > shortSessionTTL
	next, token, cookie := s.newSession(ctx, c.user.ID, proof{userAgent: c.session.UserAgent, remember: remember})
	return store.SessionSwap{OldID: c.session.ID, Next: next}, token, cookie
}

// findSession returns whom cookies stand for, and the cookie to set if the
// session was prolonged. It returns ErrUnauthenticated if there is no session.
func (s *Service) findSession(ctx context.Context, cookies []*http.Cookie) (current, *http.Cookie, error) {
	token, ok := s.readCookie(ctx, cookieName, cookies)
	if !ok {
		return current{}, nil, ErrUnauthenticated
	}
	row, user, err := s.store.SessionByToken(ctx, digest(token))
	now := s.now()
	if errors.Is(err, store.ErrNotFound) || (err == nil && !now.Before(row.ExpiresAt)) {
		return current{}, nil, ErrUnauthenticated
	}
	if err != nil {
		return current{}, nil, err
	}
	if !dueForRefresh(row, now) {
		return current{row, user, token}, nil, nil
	}
	row.UpdatedAt, row.ExpiresAt = now, now.Add(sessionTTL)
	err = s.store.TouchSession(ctx, row.ID, row.UpdatedAt, row.ExpiresAt)
	if errors.Is(err, store.ErrNotFound) { // signed out meanwhile
		return current{}, nil, ErrUnauthenticated
	}
	if err != nil {
		return current{}, nil, err
	}
	return current{row, user, token}, s.cookie(ctx, cookieName, token, sessionTTL), nil
}

// signedIn returns whom the Cookie header of an operation with Session security
// stands for. The middleware has prolonged the session before.
func (s *Service) signedIn(ctx context.Context, cookieHeader string) (current, error) {
	c, _, err := s.findSession(ctx, parseCookies(cookieHeader))
	return c, err
}

// isFresh says whether a session began so lately that its user need not prove
// again who it is.
func (s *Service) isFresh(c current) bool { return s.now().Sub(c.session.CreatedAt) < freshAge }

// dueForRefresh tells sessions that are prolonged, once a day, from those that
// end after a day because the user did not want to be remembered.
func dueForRefresh(row store.Session, now time.Time) bool {
	return row.ExpiresAt.Sub(row.UpdatedAt) > shortSessionTTL && now.Sub(row.UpdatedAt) >= sessionRefresh
}

// Session returns who the session cookie among cookies stands for, and the
// cookie to set when the session was prolonged, else nil.
func (s *Service) Session(ctx context.Context, cookies []*http.Cookie) (Principal, *http.Cookie, error) {
	c, cookie, err := s.findSession(ctx, cookies)
	if err != nil {
		return Principal{}, nil, err
	}
	return Principal{UserID: c.user.ID, SessionID: c.session.ID, IP: rest.RequestOf(ctx).IP}, cookie, nil
}

// closeSession signs out whoever cookies stand for, if anyone.
func (s *Service) closeSession(ctx context.Context, cookies []*http.Cookie) error {
	token, ok := s.readCookie(ctx, cookieName, cookies)
	if !ok {
		return nil
	}
	row, _, err := s.store.SessionByToken(ctx, digest(token))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	by := store.Actor{UserID: row.UserID, IP: rest.RequestOf(ctx).IP}
	if err := s.store.DeleteSession(ctx, row.UserID, row.ID, by); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// revokeSession ends one session of the user: by its token, or by the handle
// that listSessions shows of it. Others' sessions are not found, and that is not
// told.
func (s *Service) revokeSession(ctx context.Context, c current, handle string) error {
	id := handle
	switch row, _, err := s.store.SessionByToken(ctx, digest(handle)); {
	case err == nil:
		id = row.ID
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	err := s.store.DeleteSession(ctx, c.user.ID, id, actor(ctx, c.user.ID))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// actor is a user who acts by the request behind ctx.
func actor(ctx context.Context, userID string) store.Actor {
	return store.Actor{UserID: userID, IP: rest.RequestOf(ctx).IP}
}

func newToken() string {
	var raw [tokenBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process first
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

func digest(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// cut makes a header's value fit for a column: valid UTF-8, not longer than n
// bytes.
func cut(value string, n int) string {
	value = strings.ToValidUTF8(strings.ReplaceAll(value, "\x00", ""), "\uFFFD")
	for len(value) > n {
		_, size := utf8.DecodeLastRuneInString(value)
		value = value[:len(value)-size]
	}
	return value
}
