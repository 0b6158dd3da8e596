package auth

import (
	"context"
	"errors"
	"net/http"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func (s *Service) mountTwoFactor(r routes) {
	rest.Register(r.api, r.op("enableTwoFactor", http.MethodPost, "/two-factor/enable", "Begin to set an authenticator app up", Session),
		s.enableTwoFactor, errInvalidPassword, errTOTPEnabled, errOTPNotConfigured, errBusy)
	rest.Register(r.api, r.op("disableTwoFactor", http.MethodPost, "/two-factor/disable", "Sign in without a second factor again", Session),
		s.disableTwoFactor, errInvalidPassword, errTwoFactorOff, errBusy)
	rest.Register(r.api, r.op("getTOTPURI", http.MethodPost, "/two-factor/get-totp-uri", "What an authenticator app reads", Session),
		s.getTOTPURI, errInvalidPassword, errTOTPNotEnabled, errBusy)
	rest.Register(r.api, r.op("verifyTOTP", http.MethodPost, "/two-factor/verify-totp",
		"Show a code: to sign in, or to finish setting the app up", nil), s.verifyTOTP,
		errInvalidCode, errInvalidChallenge, errTooManyCodes, errLocked, errTOTPNotEnabled, ErrDisabled, errInvalidOrigin)
	rest.Register(r.api, r.op("verifyBackupCode", http.MethodPost, "/two-factor/verify-backup-code", "Sign in with a backup code", nil),
		s.verifyBackupCode, errInvalidBackupCode, errInvalidChallenge, errTooManyCodes, errLocked, errTwoFactorOff, ErrDisabled, errInvalidOrigin)
	rest.Register(r.api, r.op("generateBackupCodes", http.MethodPost, "/two-factor/generate-backup-codes",
		"Replace one's backup codes", Session), s.generateBackupCodes, errInvalidPassword, errTwoFactorOff, errBusy)
}

type enableInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Password string `json:"password" maxLength:"1024"`
		Method   string `json:"method,omitempty" enum:"totp,otp" default:"totp" doc:"Codes by mail, otp, are not offered"`
		Issuer   string `json:"issuer,omitempty" maxLength:"64" pattern:"^[^:]*$" doc:"What the app calls this server"`
	}
}

type enableOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Method      string   `json:"method"`
		TOTPURI     string   `json:"totpURI"`
		BackupCodes []string `json:"backupCodes" nullable:"false" doc:"Shown only here"`
	}
}

func (s *Service) enableTwoFactor(ctx context.Context, in *enableInput) (*enableOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := s.confirmPassword(ctx, c.user, in.Body.Password); err != nil {
		return nil, err
	}
	if in.Body.Method == "otp" {
		return nil, errOTPNotConfigured
	}
	secret, uri, codes := newTOTP(c.user.Email)
	if in.Body.Issuer != "" {
		uri = totpURI(secret, c.user.Email, in.Body.Issuer)
	}
	row := store.TwoFactor{UserID: c.user.ID, Secret: s.keys.seal(c.user.ID, secret), CreatedAt: s.now()}
	err = s.store.ProposeTwoFactor(ctx, row, s.codeDigests(c.user.ID, codes), actor(ctx, c.user.ID))
	if errors.Is(err, store.ErrConflict) {
		return nil, errTOTPEnabled.With(err)
	}
	if err != nil {
		return nil, err
	}
	out := &enableOutput{CacheControl: "no-store"}
	out.Body.Method, out.Body.TOTPURI, out.Body.BackupCodes = "totp", uri, codes
	return out, nil
}

type passwordInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Password string `json:"password" maxLength:"1024"`
	}
}

func (s *Service) disableTwoFactor(ctx context.Context, in *passwordInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := s.confirmPassword(ctx, c.user, in.Body.Password); err != nil {
		return nil, err
	}
	swap, _, cookie := s.swapSession(ctx, c)
	if err := s.store.DisableTwoFactor(ctx, c.user.ID, swap, actor(ctx, c.user.ID)); err != nil {
		return nil, err
	}
	setCookie(ctx, cookie)
	return statusOK(), nil
}

type totpURIOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		TOTPURI string `json:"totpURI"`
	}
}

func (s *Service) getTOTPURI(ctx context.Context, in *passwordInput) (*totpURIOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := s.confirmPassword(ctx, c.user, in.Body.Password); err != nil {
		return nil, err
	}
	f, err := s.store.TwoFactor(ctx, c.user.ID)
	if isNotFound(err) {
		return nil, errTOTPNotEnabled
	}
	if err != nil {
		return nil, err
	}
	secret, err := s.keys.unseal(c.user.ID, f.Secret)
	if err != nil {
		return nil, err
	}
	out := &totpURIOutput{CacheControl: "no-store"}
	out.Body.TOTPURI = totpURI(secret, c.user.Email, issuer)
	return out, nil
}

type codeInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Cookie    string `header:"Cookie" hidden:"true"`
	Body      struct {
		Code        string `json:"code" maxLength:"32"`
		TrustDevice bool   `json:"trustDevice,omitempty" doc:"Ask this browser for no second factor for 30 days"`
	}
}

type codeOutput struct {
	Body struct {
		Token string   `json:"token"`
		User  userView `json:"user"`
	}
}

func showCode(c current) *codeOutput {
	out := &codeOutput{}
	out.Body.Token, out.Body.User = c.token, viewUser(c.user)
	return out
}

func (s *Service) verifyTOTP(ctx context.Context, in *codeInput) (*codeOutput, error) {
	cookies := parseCookies(in.Cookie)
	c, _, err := s.findSession(ctx, cookies)
	switch {
	case err == nil:
		return s.confirmTOTP(ctx, c, in.Body.Code)
	case !errors.Is(err, ErrUnauthenticated):
		return nil, err
	}
	c, err = s.passChallenge(ctx, cookies, in.UserAgent, in.Body.TrustDevice, func(userID string) error {
		return s.checkTOTP(ctx, userID, in.Body.Code, true, func(step int64) error {
			return s.store.UseTwoFactor(ctx, userID, step)
		})
	})
	if err != nil {
		return nil, err
	}
	return showCode(c), nil
}

// confirmTOTP checks a code of somebody who is signed in. The first one shows
// that the app is set up, and that from now on it counts.
func (s *Service) confirmTOTP(ctx context.Context, c current, code string) (*codeOutput, error) {
	if c.user.TwoFactor {
		err := s.checkTOTP(ctx, c.user.ID, code, true, func(step int64) error { return s.store.UseTwoFactor(ctx, c.user.ID, step) })
		if err != nil {
			return nil, err
		}
		return showCode(c), nil
	}
	swap, token, cookie := s.swapSession(ctx, c)
	err := s.checkTOTP(ctx, c.user.ID, code, false, func(step int64) error {
		return s.store.EnableTwoFactor(ctx, c.user.ID, step, swap, actor(ctx, c.user.ID))
	})
	if err != nil {
		return nil, err
	}
	setCookie(ctx, cookie)
	c.user.TwoFactor, c.token = true, token
	return showCode(c), nil
}

func (s *Service) verifyBackupCode(ctx context.Context, in *codeInput) (*codeOutput, error) {
	cookies := parseCookies(in.Cookie)
	c, _, err := s.findSession(ctx, cookies)
	switch {
	case err == nil:
		if err := s.checkBackupCode(ctx, c.user.ID, in.Body.Code); err != nil {
			return nil, err
		}
		return showCode(c), nil
	case !errors.Is(err, ErrUnauthenticated):
		return nil, err
	}
	c, err = s.passChallenge(ctx, cookies, in.UserAgent, in.Body.TrustDevice, func(userID string) error {
		return s.checkBackupCode(ctx, userID, in.Body.Code)
	})
	if err != nil {
		return nil, err
	}
	return showCode(c), nil
}

type backupCodesOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Status      bool     `json:"status"`
		BackupCodes []string `json:"backupCodes" nullable:"false" doc:"Shown only here"`
	}
}

func (s *Service) generateBackupCodes(ctx context.Context, in *passwordInput) (*backupCodesOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if !c.user.TwoFactor {
		return nil, errTwoFactorOff
	}
	if err := s.confirmPassword(ctx, c.user, in.Body.Password); err != nil {
		return nil, err
	}
	codes := newBackupCodes()
	err = s.store.ReplaceBackupCodes(ctx, c.user.ID, s.codeDigests(c.user.ID, codes), actor(ctx, c.user.ID))
	if isNotFound(err) {
		return nil, errTwoFactorOff
	}
	if err != nil {
		return nil, err
	}
	out := &backupCodesOutput{CacheControl: "no-store"}
	out.Body.Status, out.Body.BackupCodes = true, codes
	return out, nil
}
