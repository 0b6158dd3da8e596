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

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

const (
	sessionTTL        = 7 * 24 * time.Hour
	shortSessionTTL   = 24 * time.Hour // of a session that the user does not want remembered
	sessionRefresh    = 24 * time.Hour
	tokenBytes        = 32
	maxUserAgentBytes = 256
)

// openSession signs u in: it returns the token and its cookie.
func (s *Service) openSession(ctx context.Context, u store.User, userAgent string, remember bool) (
	string, *http.Cookie, error,
) {
	token := newToken()
	now := s.now()
	ttl, maxAge := sessionTTL, sessionTTL
	if !remember {
		ttl, maxAge = shortSessionTTL, 0
	}
	row := store.Session{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: u.ID, TokenSHA256: digest(token),
		IPAddress: rest.RequestOf(ctx).IP, UserAgent: cut(userAgent, maxUserAgentBytes),
		CreatedAt: now, UpdatedAt: now, ExpiresAt: now.Add(ttl),
	}
	err := s.store.CreateSession(ctx, row, store.Actor{UserID: u.ID, IP: row.IPAddress})
	if errors.Is(err, store.ErrDisabled) {
		return "", nil, ErrDisabled.With(err)
	}
	if err != nil {
		return "", nil, err
	}
	return token, s.cookie(ctx, token, maxAge), nil
}

// findSession returns the session that cookies stand for, its user and its
// token, and the cookie to set if the session was prolonged. It returns
// ErrUnauthenticated if there is none.
func (s *Service) findSession(ctx context.Context, cookies []*http.Cookie) (
	store.Session, store.User, string, *http.Cookie, error,
) {
	token, ok := s.sessionToken(ctx, cookies)
	if !ok {
		return store.Session{}, store.User{}, "", nil, ErrUnauthenticated
	}
	row, user, err := s.store.SessionByToken(ctx, digest(token))
	now := s.now()
	if errors.Is(err, store.ErrNotFound) || (err == nil && !now.Before(row.ExpiresAt)) {
		return store.Session{}, store.User{}, "", nil, ErrUnauthenticated
	}
	if err != nil {
		return store.Session{}, store.User{}, "", nil, err
	}
	if !dueForRefresh(row, now) {
		return row, user, token, nil, nil
	}
	row.UpdatedAt, row.ExpiresAt = now, now.Add(sessionTTL)
	err = s.store.TouchSession(ctx, row.ID, row.UpdatedAt, row.ExpiresAt)
	if errors.Is(err, store.ErrNotFound) { // signed out meanwhile
		return store.Session{}, store.User{}, "", nil, ErrUnauthenticated
	}
	if err != nil {
		return store.Session{}, store.User{}, "", nil, err
	}
	return row, user, token, s.cookie(ctx, token, sessionTTL), nil
}

// dueForRefresh tells sessions that are prolonged, once a day, from those that
// end after a day because the user did not want to be remembered.
func dueForRefresh(row store.Session, now time.Time) bool {
	return row.ExpiresAt.Sub(row.UpdatedAt) > shortSessionTTL && now.Sub(row.UpdatedAt) >= sessionRefresh
}

// Session returns who the session cookie among cookies stands for, and the
// cookie to set when the session was prolonged, else nil.
func (s *Service) Session(ctx context.Context, cookies []*http.Cookie) (Principal, *http.Cookie, error) {
	row, _, _, cookie, err := s.findSession(ctx, cookies)
	if err != nil {
		return Principal{}, nil, err
	}
	return Principal{UserID: row.UserID, SessionID: row.ID, IP: rest.RequestOf(ctx).IP}, cookie, nil
}

// closeSession signs out whoever cookies stand for, if anyone.
func (s *Service) closeSession(ctx context.Context, cookies []*http.Cookie) error {
	token, ok := s.sessionToken(ctx, cookies)
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
