package auth

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

const (
	resetTTL        = time.Hour
	verificationTTL = time.Hour
	deletionTTL     = 24 * time.Hour

	// Where links lead when whoever asked for them named no page.
	resetPage    = "/sim#/reset-password"
	verifiedPage = "/sim#/verified"
)

// letter is what a person gets by mail. It has no word that somebody else chose,
// such as the name of an account that was made with the person's address.
type letter struct{ subject, text string }

func resetLetter(link string) letter {
	return letter{"Choose a new password", "Hello,\n\n" +
		"somebody, hopefully you, asked for a new password for your SecureCam account.\n" +
		"Choose it within an hour here:\n\n" + link + "\n\n" +
		"If it was not you, do nothing: your password stays as it is.\n"}
}

func verifyLetter(link string) letter {
	return letter{"Confirm your e-mail address", "Hello,\n\n" +
		"confirm within an hour that this address belongs to your SecureCam account:\n\n" + link + "\n\n" +
		"If you have no such account, do nothing.\n"}
}

func confirmLetter(newEmail, link string) letter {
	return letter{"Confirm the change of your e-mail address", "Hello,\n\n" +
		"your SecureCam account is to use the address " + newEmail + " from now on.\n" +
		"If you asked for that, confirm it within an hour:\n\n" + link + "\n\n" +
		"If it was not you, do nothing, and change your password.\n"}
}

func deleteLetter(link string) letter {
	return letter{"Confirm that you want to delete your account", "Hello,\n\n" +
		"somebody, hopefully you, asked to delete your SecureCam account with all its cameras and recordings.\n" +
		"To do that, open this within a day, in a browser that is signed in:\n\n" + link + "\n\n" +
		"If it was not you, do nothing, and change your password.\n"}
}

// passwordChanged says proven when the change proved whose the address is.
func passwordChanged(proven bool) letter {
	more := ""
	if proven {
		more = "As this address had not been confirmed before, passkeys, authenticator apps and webhooks were\n" +
			"removed, and devices signed out. Set them up again.\n"
	}
	return letter{"Your password was changed", "Hello,\n\n" +
		"the password of your SecureCam account was just changed.\n" + more +
		"If it was not you, ask for a new one at the sign-in page at once.\n"}
}

// tell sends a letter, which may get lost: its reader can ask for another one,
// and nobody waits for mail.
func (s *Service) tell(to string, l letter) {
	if s.mailer == nil {
		return
	}
	if err := s.mailer.Send(to, l.subject, l.text); err != nil {
		s.log.Warn("letter not sent", slog.String("subject", l.subject), slog.Any("err", err))
	}
}

// countLetter bounds the letters that an address gets and that somebody asks
// for.
func (s *Service) countLetter(ctx context.Context, email string) error {
	if _, err := s.attempts.Take(ctx, AttemptLetterFrom, rest.RequestOf(ctx).Network()); err != nil {
		return err
	}
	_, err := s.attempts.Take(ctx, AttemptLetter, email)
	return err
}

// resetValue is what the server remembers of a link to choose a password.
type resetValue struct {
	// ByLetter is a link that went to the user's address, and not one that the
	// administrator hands over: that says nothing about the address.
	ByLetter bool `json:"byLetter"`
}

// sendReset sends the user with that address, if there is one, a link to choose
// a new password. It does the same work for an unknown address.
func (s *Service) sendReset(ctx context.Context, email, redirectTo string) error {
	user, _, err := s.store.UserByEmail(ctx, email)
	if err != nil && !isNotFound(err) {
		return err
	}
	token, err := s.expect(ctx, forReset, user.ID, resetValue{ByLetter: true}, resetTTL)
	if err != nil || user.ID == "" {
		return err
	}
	q := url.Values{"callbackURL": {redirectTo}}
	s.tell(user.Email, resetLetter(s.baseURL+"/api/auth/reset-password/"+token+"?"+q.Encode()))
	return nil
}

// ResetLink returns the path of a link by which a user chooses a new password,
// for the administrator to hand over, and when it ends.
func (s *Service) ResetLink(ctx context.Context, userID string, by store.Actor) (link string, expires time.Time, err error) {
	user, err := s.store.User(ctx, userID)
	if err != nil {
		return "", time.Time{}, err
	}
	token, err := s.expect(ctx, forReset, user.ID, resetValue{}, resetTTL)
	if err != nil {
		return "", time.Time{}, err
	}
	if err := s.store.NoteAccess(ctx, by, user.ID, "user", "reset_link", user.ID, nil); err != nil {
		return "", time.Time{}, err
	}
	q := url.Values{"callbackURL": {resetPage}}
	return "/api/auth/reset-password/" + token + "?" + q.Encode(), s.now().Add(resetTTL), nil
}

// resetPassword gives whoever has the token of a letter a new password, signs
// all sessions out, and forgives failed sign-ins. If the letter came by mail,
// the address is verified now; if it was not before, whoever made the account
// need not be whose the address is, and keeps no way in: see
// store.PasswordChange.
func (s *Service) resetPassword(ctx context.Context, token, password string) error {
	if err := checkLength(password); err != nil {
		return err
	}
	// The work comes before the token is used up, which must not be lost to a
	// server that is too busy.
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return err
	}
	var value resetValue
	v, err := s.take(ctx, forReset, token, &value)
	if isNotFound(err) || (err == nil && v.UserID == "") {
		return errInvalidToken
	}
	if err != nil {
		return err
	}
	user, err := s.store.User(ctx, v.UserID)
	if err != nil {
		return err
	}
	change := store.PasswordChange{UserID: v.UserID, Hash: hash, Revoke: true, ByLetter: value.ByLetter}
	if err := s.store.SetPassword(ctx, change, actor(ctx, v.UserID)); err != nil {
		return err
	}
	s.attempts.Forget(ctx, AttemptByAccount, user.Email)
	s.tell(user.Email, passwordChanged(value.ByLetter && !user.EmailVerified))
	return nil
}

// sendDeletion sends the user a link that deletes the account.
func (s *Service) sendDeletion(ctx context.Context, user store.User, callbackURL string) error {
	if err := s.countLetter(ctx, user.Email); err != nil {
		return err
	}
	token, err := s.expect(ctx, forDeletion, user.ID, struct{}{}, deletionTTL)
	if err != nil {
		return err
	}
	q := url.Values{"token": {token}, "callbackURL": {callbackURL}}
	s.tell(user.Email, deleteLetter(s.baseURL+"/api/auth/delete-user/callback?"+q.Encode()))
	return nil
}

// deleteByToken deletes the account of the user, who has the token of a letter.
func (s *Service) deleteByToken(ctx context.Context, userID, token string) error {
	v, err := s.store.Verification(ctx, identifier(forDeletion, token), s.now())
	if isNotFound(err) || (err == nil && v.UserID != userID) {
		return errNoDeletion
	}
	if err != nil {
		return err
	}
	return s.DeleteUser(ctx, userID, actor(ctx, userID)) // which forgets the token
}

// The steps of verifying an address, in Better Auth's words.
const (
	stepConfirm = "change-email-confirmation" // by the old address
	stepChange  = "change-email-verification" // by the new one
)

// addressClaims is what the link in a letter says about an address.
type addressClaims struct {
	UserID   string `json:"userId"`
	Email    string `json:"email"` // the user's when the letter was written
	UpdateTo string `json:"updateTo,omitempty"`
	Step     string `json:"requestType,omitempty"`
	// Wish is what expect returned for a change. It ends when the user signs out
	// everywhere or chooses another password: whoever asked may be why.
	Wish string `json:"wish,omitempty"`
	Exp  int64  `json:"exp"` // Unix seconds
}

// verifyLink returns the link of a letter about an address.
func (s *Service) verifyLink(c addressClaims, callbackURL string) (string, error) {
	c.Exp = s.now().Add(verificationTTL).Unix()
	token, err := s.keys.letters.Sign(c)
	if err != nil {
		return "", err
	}
	q := url.Values{"token": {token}, "callbackURL": {callbackURL}}
	return s.baseURL + "/api/auth/verify-email?" + q.Encode(), nil
}

// sendVerification sends the user a link that verifies the address. Who has no
// id gets none.
func (s *Service) sendVerification(ctx context.Context, user store.User, callbackURL string) {
	if callbackURL == "" {
		callbackURL = verifiedPage
	}
	if err := s.countLetter(ctx, user.Email); err != nil {
		s.log.InfoContext(ctx, "no letter", slog.String("user", user.ID), slog.Any("err", err))
		return
	}
	link, err := s.verifyLink(addressClaims{UserID: user.ID, Email: user.Email}, callbackURL)
	if err != nil {
		s.log.ErrorContext(ctx, "no letter", slog.String("user", user.ID), slog.Any("err", err))
		return
	}
	if user.ID != "" {
		s.tell(user.Email, verifyLetter(link))
	}
}

// sendEmailChange begins a change of the user's address: a verified one has to
// agree before the new one is asked. What the caller learns does not depend on
// whether the new one has an account.
func (s *Service) sendEmailChange(ctx context.Context, user store.User, newEmail, callbackURL string) error {
	if callbackURL == "" {
		callbackURL = verifiedPage
	}
	if err := s.countLetter(ctx, newEmail); err != nil {
		return err
	}
	_, _, err := s.store.UserByEmail(ctx, newEmail)
	if err != nil && !isNotFound(err) {
		return err
	}
	taken := err == nil
	wish, err := s.expect(ctx, forChange, user.ID, struct{}{}, 2*verificationTTL) // for two letters
	if err != nil {
		return err
	}
	claims := addressClaims{UserID: user.ID, Email: user.Email, UpdateTo: newEmail, Step: stepChange, Wish: wish}
	if user.EmailVerified {
		claims.Step = stepConfirm
	}
	link, err := s.verifyLink(claims, callbackURL)
	if err != nil || taken {
		return err
	}
	if user.EmailVerified {
		s.tell(user.Email, confirmLetter(newEmail, link))
	} else {
		s.tell(newEmail, verifyLetter(link))
	}
	return nil
}

// useVerifyLink does what the link of a letter is for. Opening one again does
// no harm: programs that read mail open links, too.
func (s *Service) useVerifyLink(ctx context.Context, token, callbackURL string) error {
	var c addressClaims
	if err := s.keys.letters.Verify(token, &c); err != nil {
		return errInvalidToken.With(err)
	}
	if s.now().Unix() >= c.Exp {
		return errTokenExpired
	}
	user, err := s.store.User(ctx, c.UserID)
	if isNotFound(err) {
		return errUserNotFound
	}
	if err != nil {
		return err
	}
	if c.UpdateTo != "" && user.Email == c.UpdateTo && user.EmailVerified {
		return nil
	}
	if user.Email != c.Email { // the address was changed since
		return errInvalidToken
	}
	if c.UpdateTo != "" {
		_, err := s.store.Verification(ctx, identifier(forChange, c.Wish), s.now())
		if isNotFound(err) {
			return errInvalidToken.With(err)
		}
		if err != nil {
			return err
		}
	}
	switch c.Step {
	case stepConfirm:
		c.Step = stepChange
		link, err := s.verifyLink(c, callbackURL)
		if err != nil {
			return err
		}
		if err := s.countLetter(ctx, c.UpdateTo); err != nil {
			return err
		}
		s.tell(c.UpdateTo, verifyLetter(link))
		return nil
	case stepChange:
		return s.setEmail(ctx, user, c.UpdateTo)
	}
	if user.EmailVerified {
		return nil
	}
	return s.setEmail(ctx, user, user.Email)
}
