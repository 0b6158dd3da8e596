package auth

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"unicode/utf8"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// ErrDisabled refuses a user whom the administrator has shut out.
var ErrDisabled = fault.New(fault.Forbidden, "account_disabled", "This account is disabled.")

// The faults of signing up and in. Codes and messages are Better Auth's, which
// its client shows and branches on.
var (
	// ErrSignUpClosed reports a server that takes no new accounts.
	ErrSignUpClosed = fault.New(fault.Forbidden, "sign_up_closed", "This server takes no new accounts. Ask its owner for one.")

	ErrInvalidEmail     = fault.New(fault.Invalid, "INVALID_EMAIL", "Invalid email")
	ErrPasswordTooShort = fault.New(fault.Invalid, "PASSWORD_TOO_SHORT", "Password too short")
	ErrPasswordTooLong  = fault.New(fault.Invalid, "PASSWORD_TOO_LONG", "Password too long")
	ErrEmailTaken       = fault.New(fault.Unprocessable, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL",
		"User already exists. Use another email.")
	ErrWrongPassword = fault.New(fault.Unauthenticated, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password")
	ErrNotVerified   = fault.New(fault.Forbidden, "EMAIL_NOT_VERIFIED", "Email not verified")
)

// The kinds of attempts that Attempts counts.
const (
	AttemptByAccount  = "sign_in_account" // wrong passwords and codes of an account
	AttemptByAddress  = "sign_in_address" // the same from an address
	AttemptLetter     = "letter_account"  // letters to an account
	AttemptLetterFrom = "letter_address"  // letters asked for from an address
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

// createUser is CreateUser. With ErrEmailTaken it returns the user that there
// would have been.
func (s *Service) createUser(ctx context.Context, u store.User, password string) (store.User, error) {
	email, ok := normalizeEmail(u.Email)
	if !ok {
		return store.User{}, ErrInvalidEmail
	}
	if err := checkLength(password); err != nil {
		return store.User{}, err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return store.User{}, err
	}
	u.ID, u.Email = store.NewID(), email
	u.CreatedAt = s.now()
	u.UpdatedAt = u.CreatedAt
	err = s.store.CreateUser(ctx, u, hash, store.Actor{UserID: u.ID, IP: rest.RequestOf(ctx).IP})
	if errors.Is(err, store.ErrConflict) {
		return u, ErrEmailTaken.With(err)
	}
	if err != nil {
		return store.User{}, err
	}
	return u, nil
}

// checkLength returns a fault for what cannot be a new password.
func checkLength(password string) error {
	switch n := utf8.RuneCountInString(password); {
	case n < minPassword:
		return ErrPasswordTooShort
	case n > maxPassword:
		return ErrPasswordTooLong
	}
	return nil
}

// checkPassword returns the user with that e-mail address and password and the
// hash that it matched, or ErrWrongPassword, after the same work whether or not
// the address is known. Wrong ones are counted against the account and against
// where they come from.
func (s *Service) checkPassword(ctx context.Context, email, password string) (user store.User, hash string, err error) {
	email, ok := normalizeEmail(email)
	if !ok {
		return store.User{}, "", ErrInvalidEmail
	}
	if utf8.RuneCountInString(password) > maxPassword {
		return store.User{}, "", ErrWrongPassword
	}
	err = s.attempt(ctx, email, func() error {
		var err error
		user, hash, err = s.store.UserByEmail(ctx, email)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		matches, err := s.passwords.matches(ctx, password, hash)
		if err == nil && !matches {
			return ErrWrongPassword
		}
		return err
	})
	if err != nil {
		return store.User{}, "", err
	}
	return user, hash, nil
}

// attempt runs check, which proves who somebody is, unless the account or the
// address that asks has failed too often. Only what check refuses counts:
// successes and outages do not.
func (s *Service) attempt(ctx context.Context, account string, check func() error) error {
	from := rest.RequestOf(ctx).Network()
	fromBack, err := s.attempts.Take(ctx, AttemptByAddress, from)
	if err != nil {
		return err
	}
	accountBack, err := s.attempts.Take(ctx, AttemptByAccount, account)
	if err != nil {
		return err
	}
	err = check()
	var refused *fault.Error
	if !errors.As(err, &refused) || errors.Is(err, errBusy) {
		fromBack(ctx)
		accountBack(ctx)
	}
	return err
}

// confirmPassword returns errInvalidPassword unless password is the signed-in
// user's.
func (s *Service) confirmPassword(ctx context.Context, user store.User, password string) error {
	if utf8.RuneCountInString(password) > maxPassword {
		return errInvalidPassword
	}
	return s.attempt(ctx, user.Email, func() error {
		hash, err := s.store.PasswordHash(ctx, user.ID)
		if err != nil {
			return err
		}
		matches, err := s.passwords.matches(ctx, password, hash)
		if err == nil && !matches {
			return errInvalidPassword
		}
		return err
	})
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

// DeleteUser deletes a user with everything that is the user's: sessions,
// credentials and devices at once, with what those hold; objects soon after.
func (s *Service) DeleteUser(ctx context.Context, userID string, by store.Actor) error {
	if err := s.store.DeleteUser(ctx, userID, by); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "user deleted", slog.String("user", userID))
	s.userDeleted()
	return nil
}
