package auth

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// ErrDisabled refuses a user whom the administrator has shut out.
var ErrDisabled = fault.New(fault.Forbidden, "account_disabled", "This account is disabled.")

// The faults of signing up and in. Codes and messages are Better Auth's, which
// its client shows and branches on.
var (
	ErrInvalidEmail     = fault.New(fault.Invalid, "INVALID_EMAIL", "Invalid email")
	ErrPasswordTooShort = fault.New(fault.Invalid, "PASSWORD_TOO_SHORT", "Password too short")
	ErrPasswordTooLong  = fault.New(fault.Invalid, "PASSWORD_TOO_LONG", "Password too long")
	ErrEmailTaken       = fault.New(fault.Unprocessable, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
		"User already exists. Use another email.")
	ErrWrongPassword = fault.New(fault.Unauthenticated, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password")
)

const (
	minPassword = 8   // characters
	maxPassword = 128 // characters
	maxEmail    = 254 // bytes; RFC 5321, section 4.5.3.1.3
)

// CreateUser adds a user who signs in with that e-mail address and password.
// It returns ErrInvalidEmail, ErrPasswordTooShort, ErrPasswordTooLong or
// ErrEmailTaken for what a person can correct.
func (s *Service) CreateUser(ctx context.Context, email, name, password string) (store.User, error) {
	return s.createUser(ctx, store.User{Email: email, Name: name}, password)
}

func (s *Service) createUser(ctx context.Context, u store.User, password string) (store.User, error) {
	email, ok := normalizeEmail(u.Email)
	if !ok {
		return store.User{}, ErrInvalidEmail
	}
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return store.User{}, ErrPasswordTooShort
	case n > maxPassword:
		return store.User{}, ErrPasswordTooLong
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return store.User{}, err
	}
	u.ID, u.Email = uuid.Must(uuid.NewV7()).String(), email
	u.CreatedAt = s.now()
	u.UpdatedAt = u.CreatedAt
	err = s.store.CreateUser(ctx, u, hash, store.Actor{UserID: u.ID, IP: rest.RequestOf(ctx).IP})
	if errors.Is(err, store.ErrConflict) {
		return store.User{}, ErrEmailTaken.With(err)
	}
	if err != nil {
		return store.User{}, err
	}
	return u, nil
}

// checkPassword returns the user with that e-mail address and password, or
// ErrWrongPassword, after the same work whether or not the address is known.
func (s *Service) checkPassword(ctx context.Context, email, password string) (store.User, error) {
	email, ok := normalizeEmail(email)
	if !ok {
		return store.User{}, ErrInvalidEmail
	}
	if utf8.RuneCountInString(password) > maxPassword {
		return store.User{}, ErrWrongPassword
	}
	user, hash, err := s.store.UserByEmail(ctx, email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.User{}, err
	}
	matches, err := s.passwords.matches(ctx, password, hash)
	if err != nil {
		return store.User{}, err
	}
	if !matches {
		return store.User{}, ErrWrongPassword
	}
	return user, nil
}

// normalizeEmail returns an address in lower case; false if it is not one that
// Better Auth's client would let through.
func normalizeEmail(email string) (string, bool) {
	email = strings.ToLower(email)
	local, domain, ok := strings.Cut(email, "@")
	if !ok || len(email) > maxEmail || !isLocalPart(local) || !isDomain(domain) {
		return "", false
	}
	return email, true
}

func isLocalPart(s string) bool {
	if s == "" || s[0] == '.' || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if !isAlphanumeric(r) && !strings.ContainsRune("_'+-.", r) {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || label[0] == '-' {
			return false
		}
		for _, r := range label {
			if !isAlphanumeric(r) && r != '-' {
				return false
			}
		}
	}
	top := labels[len(labels)-1]
	return len(top) >= 2 && strings.Trim(top, "abcdefghijklmnopqrstuvwxyz") == ""
}

func isAlphanumeric(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }
