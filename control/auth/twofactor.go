package auth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// The faults of second factors, with Better Auth's codes and messages.
var (
	errTOTPEnabled       = fault.New(fault.Invalid, "TOTP_ALREADY_ENABLED", "TOTP is already enabled")
	errTOTPNotEnabled    = fault.New(fault.Invalid, "TOTP_NOT_ENABLED", "TOTP not enabled")
	errTwoFactorOff      = fault.New(fault.Invalid, "TWO_FACTOR_NOT_ENABLED", "Two factor isn't enabled")
	errOTPNotConfigured  = fault.New(fault.Invalid, "OTP_NOT_CONFIGURED", "OTP is not available")
	errInvalidCode       = fault.New(fault.Unauthenticated, "INVALID_CODE", "Invalid code")
	errInvalidBackupCode = fault.New(fault.Unauthenticated, "INVALID_BACKUP_CODE", "Invalid backup code")
	errInvalidChallenge  = fault.New(fault.Unauthenticated, "INVALID_TWO_FACTOR_COOKIE", "Invalid two factor cookie")
	errTooManyCodes      = fault.New(fault.Invalid, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE",
		"Too many attempts. Please request a new code.")
	errLocked = fault.New(fault.TooMany, "ACCOUNT_TEMPORARILY_LOCKED",
		"Too many failed verification attempts. Your account is temporarily locked. Please try again later.")
)

const (
	issuer       = "SecureCam"
	secretBytes  = 20 // RFC 4226, section 4 recommends 160 bits
	stepSeconds  = 30
	allowedSkew  = 1 // steps that a phone's clock may be off
	challengeTTL = 10 * time.Minute
	trustTTL     = 30 * 24 * time.Hour

	challengeAttempts = 5  // codes of one sign-in
	lockAfter         = 10 // codes in a row, of an account
	lockFor           = 15 * time.Minute

	backupCodeCount  = 10
	backupCodeLength = 10
)

// challengeValue is what the server remembers between the password and the
// second factor.
type challengeValue struct {
	Remember bool `json:"remember"`
	// PasswordHash is the hash of the password that was shown: a password
	// that has changed since is worth nothing.
	PasswordHash string `json:"passwordHash"`
}

// challenge remembers that the user has shown the password, until the second
// factor comes.
func (s *Service) challenge(ctx context.Context, user store.User, passwordHash string, remember bool) error {
	token, err := s.expect(ctx, forChallenge, user.ID, challengeValue{remember, passwordHash}, challengeTTL)
	if err != nil {
		return err
	}
	setCookie(ctx, s.cookie(ctx, challengeCookie, token, challengeTTL))
	return nil
}

// isTrusted says whether the browser was trusted by the user to need no second
// factor. A trusting cookie is good for one sign-in, which renews it.
func (s *Service) isTrusted(ctx context.Context, user store.User, cookies []*http.Cookie) (bool, error) {
	token, ok := s.readCookie(ctx, trustCookie, cookies)
	if !ok {
		return false, nil
	}
	v, err := s.store.Verification(ctx, identifier(forTrust, token), s.now())
	if err == nil && v.UserID != user.ID { // another user of this browser
		return false, nil
	}
	if err == nil {
		_, err = s.take(ctx, forTrust, token, &struct{}{})
	}
	if isNotFound(err) {
		setCookie(ctx, s.cookie(ctx, trustCookie, "", -time.Second))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, s.trust(ctx, user.ID)
}

// trust lets the browser in without a second factor for a while.
func (s *Service) trust(ctx context.Context, userID string) error {
	token, err := s.expect(ctx, forTrust, userID, struct{}{}, trustTTL)
	if err != nil {
		return err
	}
	setCookie(ctx, s.cookie(ctx, trustCookie, token, trustTTL))
	return nil
}

// newTOTP returns a secret for an authenticator app, the URI that the app
// reads, and backup codes. Nothing is stored.
func newTOTP(account string) (secret, uri string, backupCodes []string) {
	var raw [secretBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process first
	secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw[:])
	return secret, totpURI(secret, account, issuer), newBackupCodes()
}

// totpURI is what an authenticator app reads, in the form of Google's.
func totpURI(secret, account, by string) string {
	u := url.URL{
		Scheme: "otpauth", Host: "totp", Path: "/" + by + ":" + account,
		RawQuery: "secret=" + secret + "&issuer=" + url.PathEscape(by) + "&digits=6&period=30",
	}
	return u.String()
}

func newBackupCodes() []string {
	const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	codes := make([]string, backupCodeCount)
	for i := range codes {
		code := make([]byte, backupCodeLength)
		for j := range code {
			n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet)))) // never fails, as above
			code[j] = alphabet[n.Int64()]
		}
		codes[i] = string(code[:backupCodeLength/2]) + "-" + string(code[backupCodeLength/2:])
	}
	return codes
}

func (s *Service) codeDigests(userID string, codes []string) []string {
	digests := make([]string, len(codes))
	for i, code := range codes {
		digests[i] = s.keys.codeDigest(userID, code)
	}
	return digests
}

// findStep returns the time step whose code it is, of those that a phone may
// show now.
func findStep(secret, code string, now time.Time) (int64, bool) {
	current := now.Unix() / stepSeconds
	for step := current - allowedSkew; step <= current+allowedSkew; step++ {
		ok, err := hotp.ValidateCustom(code, uint64(step), secret, hotp.ValidateOpts{
			Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1,
		})
		if err == nil && ok {
			return step, true
		}
	}
	return 0, false
}

// tryCode counts an attempt at the user's second factor and returns it, or
// errLocked.
func (s *Service) tryCode(ctx context.Context, userID string) (store.TwoFactor, error) {
	now := s.now()
	f, err := s.store.TryTwoFactor(ctx, userID, lockAfter, now, now.Add(lockFor))
	switch {
	case isNotFound(err):
		return store.TwoFactor{}, errTOTPNotEnabled
	case errors.Is(err, store.ErrConflict):
		return store.TwoFactor{}, errLocked.After(lockFor)
	}
	return f, err
}

// checkTOTP returns the step of the user's code, or errInvalidCode; also for a
// code that was used before. use does what the code is for and uses the step up.
func (s *Service) checkTOTP(ctx context.Context, userID, code string, verified bool, use func(step int64) error) error {
	f, err := s.tryCode(ctx, userID)
	if err != nil {
		return err
	}
	if verified && !f.Verified {
		return errTOTPNotEnabled
	}
	secret, err := s.keys.unseal(userID, f.Secret)
	if err != nil {
		return err
	}
	step, ok := findStep(secret, code, s.now())
	if !ok {
		return errInvalidCode
	}
	err = use(step)
	if errors.Is(err, store.ErrConflict) {
		return errInvalidCode.With(err) // replayed
	}
	return err
}

// checkBackupCode uses a backup code of the user up, or returns
// errInvalidBackupCode.
func (s *Service) checkBackupCode(ctx context.Context, userID, code string) error {
	if _, err := s.tryCode(ctx, userID); err != nil {
		return err
	}
	err := s.store.UseBackupCode(ctx, userID, s.keys.codeDigest(userID, strings.TrimSpace(code)), actor(ctx, userID))
	if isNotFound(err) {
		return errInvalidBackupCode
	}
	return err
}

// passChallenge signs in whoever has shown the password before, by the
// challenge's cookie, and now the second factor, which check looks at.
func (s *Service) passChallenge(
	ctx context.Context, cookies []*http.Cookie, userAgent string, trust bool, check func(userID string) error,
) (current, error) {
	challenge, ok := s.readCookie(ctx, challengeCookie, cookies)
	if !ok {
		return current{}, errInvalidChallenge
	}
	v, err := s.store.TryVerification(ctx, identifier(forChallenge, challenge), challengeAttempts, s.now())
	switch {
	case isNotFound(err):
		return current{}, errInvalidChallenge
	case errors.Is(err, store.ErrConflict):
		setCookie(ctx, s.cookie(ctx, challengeCookie, "", -time.Second))
		return current{}, errTooManyCodes
	case err != nil:
		return current{}, err
	}
	if err := check(v.UserID); err != nil {
		return current{}, err
	}
	var value challengeValue
	if _, err := s.take(ctx, forChallenge, challenge, &value); err != nil {
		if isNotFound(err) { // another request was quicker
			return current{}, errInvalidChallenge
		}
		return current{}, err
	}
	user, err := s.store.User(ctx, v.UserID)
	if err != nil {
		return current{}, err
	}
	token, err := s.openSession(ctx, user.ID, proof{
		userAgent: userAgent, remember: value.Remember, passwordHash: value.PasswordHash,
	})
	if err != nil {
		return current{}, err
	}
	setCookie(ctx, s.cookie(ctx, challengeCookie, "", -time.Second))
	if trust {
		if err := s.trust(ctx, user.ID); err != nil {
			return current{}, err
		}
	}
	return current{user: user, token: token}, nil
}
