package auth

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

var (
	errInvalidToken    = fault.New(fault.Invalid, "INVALID_TOKEN", "Invalid token")
	errNoDeletion      = fault.New(fault.NotFound, "INVALID_TOKEN", "Invalid token")
	errTokenExpired    = fault.New(fault.Unauthenticated, "TOKEN_EXPIRED", "Token expired")
	errUserNotFound    = fault.New(fault.Unauthenticated, "USER_NOT_FOUND", "User not found")
	errEmailMismatch   = fault.New(fault.Invalid, "EMAIL_MISMATCH", "Email mismatch")
	errAlreadyVerified = fault.New(fault.Invalid, "EMAIL_ALREADY_VERIFIED", "Email is already verified")
	errSameEmail       = fault.New(fault.Invalid, "EMAIL_IS_THE_SAME", "Email is the same")
	errInvalidRedirect = fault.New(fault.Forbidden, "INVALID_REDIRECT_URL", "Invalid redirectURL")
)

func (s *Service) mountLetters(r routes) {
	rest.Register(r.api, r.op("requestPasswordReset", http.MethodPost, "/request-password-reset", "Ask for a letter to choose a new password",
		nil), s.requestReset, ErrInvalidEmail, errInvalidRedirect, errInvalidOrigin)
	// The name that Better Auth had for it before version 1.4.
	rest.Register(r.api, r.op("forgetPassword", http.MethodPost, "/forget-password", "The same as request-password-reset", nil),
		s.requestReset, ErrInvalidEmail, errInvalidRedirect, errInvalidOrigin)
	link := r.op("resetPasswordCallback", http.MethodGet, "/reset-password/{token}", "Where the letter's link leads: to the page", nil)
	rest.Register(r.api, link, s.openResetLink, errInvalidCallback)
	rest.OrRedirect(r.api, link)
	rest.Register(r.api, r.op("resetPassword", http.MethodPost, "/reset-password", "Choose a new password with the letter's token", nil),
		s.reset, errInvalidToken, ErrPasswordTooShort, ErrPasswordTooLong, errBusy, errInvalidOrigin)
	rest.Register(r.api, r.op("sendVerificationEmail", http.MethodPost, "/send-verification-email",
		"Ask for a letter to verify one's address", nil), s.requestVerification,
		ErrInvalidEmail, errInvalidCallback, errEmailMismatch, errAlreadyVerified, errInvalidOrigin)
	verify := r.op("verifyEmail", http.MethodGet, "/verify-email", "Where the letter's link leads: the address is verified", nil)
	rest.Register(r.api, verify, s.openVerifyLink, errInvalidToken, errTokenExpired, errUserNotFound, errInvalidCallback)
	rest.OrRedirect(r.api, verify)
	rest.Register(r.api, r.op("changeEmail", http.MethodPost, "/change-email", "Ask for letters to change one's address", Session),
		s.changeEmail, ErrInvalidEmail, errSameEmail, errInvalidCallback)
}

type requestResetInput struct {
	Body struct {
		Email      string `json:"email" maxLength:"254"`
		RedirectTo string `json:"redirectTo,omitempty" maxLength:"2048" doc:"The page that gets ?token= or ?error="`
	}
}

type requestResetOutput struct {
	Body struct {
		Status  bool   `json:"status"`
		Message string `json:"message"`
	}
}

func (s *Service) requestReset(ctx context.Context, in *requestResetInput) (*requestResetOutput, error) {
	email, ok := normalizeEmail(in.Body.Email)
	if !ok {
		return nil, ErrInvalidEmail
	}
	if !s.allowsCallback(ctx, in.Body.RedirectTo) {
		return nil, errInvalidRedirect
	}
	if err := s.countLetter(ctx, email); err != nil {
		return nil, err
	}
	if err := s.sendReset(ctx, email, cmp.Or(in.Body.RedirectTo, resetPage)); err != nil {
		return nil, err
	}
	out := &requestResetOutput{}
	out.Body.Status = true
	out.Body.Message = "If this email exists in our system, check your email for the reset link"
	return out, nil
}

// redirectOutput sends a browser on, or answers a program that named no page.
type redirectOutput struct {
	Status       int
	Location     string `header:"Location"`
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Status bool `json:"status"`
	}
}

func redirect(to string) *redirectOutput {
	out := &redirectOutput{Status: http.StatusFound, Location: to, CacheControl: "no-store"}
	out.Body.Status = true
	return out
}

type openResetInput struct {
	Token       string `path:"token" maxLength:"128"`
	CallbackURL string `query:"callbackURL" maxLength:"2048"`
}

// openResetLink does not use the token up: a program that opens the links of a
// letter must not do that.
func (s *Service) openResetLink(ctx context.Context, in *openResetInput) (*redirectOutput, error) {
	if !s.allowsCallback(ctx, in.CallbackURL) {
		return nil, errInvalidCallback
	}
	page := cmp.Or(in.CallbackURL, resetPage)
	v, err := s.store.Verification(ctx, identifier(forReset, in.Token), s.now())
	if isNotFound(err) || (err == nil && v.UserID == "") {
		return redirect(withQuery(page, "error", errInvalidToken.Code)), nil
	}
	if err != nil {
		return nil, err
	}
	return redirect(withQuery(page, "token", in.Token)), nil
}

type resetInput struct {
	Token string `query:"token" maxLength:"128"`
	Body  struct {
		NewPassword string `json:"newPassword" maxLength:"1024" doc:"8 to 128 characters"`
		Token       string `json:"token,omitempty" maxLength:"128"`
	}
}

func (s *Service) reset(ctx context.Context, in *resetInput) (*statusOutput, error) {
	token := cmp.Or(in.Body.Token, in.Token)
	if token == "" {
		return nil, errInvalidToken
	}
	if err := s.resetPassword(ctx, token, in.Body.NewPassword); err != nil {
		return nil, err
	}
	return statusOK(), nil
}

type requestVerificationInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Email       string `json:"email" maxLength:"254"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048"`
	}
}

func (s *Service) requestVerification(ctx context.Context, in *requestVerificationInput) (*statusOutput, error) {
	email, ok := normalizeEmail(in.Body.Email)
	if !ok {
		return nil, ErrInvalidEmail
	}
	if !s.allowsCallback(ctx, in.Body.CallbackURL) {
		return nil, errInvalidCallback
	}
	c, err := s.signedIn(ctx, in.Cookie)
	switch {
	case err == nil && c.user.Email != email:
		return nil, errEmailMismatch
	case err == nil && c.user.EmailVerified:
		return nil, errAlreadyVerified
	case err == nil:
		s.sendVerification(ctx, c.user, in.Body.CallbackURL)
		return statusOK(), nil
	case !errors.Is(err, ErrUnauthenticated):
		return nil, err
	}
	user, _, err := s.store.UserByEmail(ctx, email)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	if err != nil || user.EmailVerified {
		user = store.User{Email: email} // gets no letter, after the same work
	}
	s.sendVerification(ctx, user, in.Body.CallbackURL)
	return statusOK(), nil
}

type openVerifyInput struct {
	Token       string `query:"token" required:"true" maxLength:"2048"`
	CallbackURL string `query:"callbackURL" maxLength:"2048"`
}

func (s *Service) openVerifyLink(ctx context.Context, in *openVerifyInput) (*redirectOutput, error) {
	if !s.allowsCallback(ctx, in.CallbackURL) {
		return nil, errInvalidCallback
	}
	err := s.useVerifyLink(ctx, in.Token, cmp.Or(in.CallbackURL, verifiedPage))
	var refused *fault.Error
	switch {
	case in.CallbackURL != "" && errors.As(err, &refused) && refused.Kind != fault.Unavailable:
		return redirect(withQuery(in.CallbackURL, "error", refused.Code)), nil
	case err != nil:
		return nil, err
	case in.CallbackURL != "":
		return redirect(in.CallbackURL), nil
	}
	out := &redirectOutput{Status: http.StatusOK, CacheControl: "no-store"}
	out.Body.Status = true
	return out, nil
}

type changeEmailInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		NewEmail    string `json:"newEmail" maxLength:"254"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048"`
	}
}

func (s *Service) changeEmail(ctx context.Context, in *changeEmailInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	email, ok := normalizeEmail(in.Body.NewEmail)
	switch {
	case !ok:
		return nil, ErrInvalidEmail
	case email == c.user.Email:
		return nil, errSameEmail
	case !s.allowsCallback(ctx, in.Body.CallbackURL):
		return nil, errInvalidCallback
	}
	if err := s.sendEmailChange(ctx, c.user, email, in.Body.CallbackURL); err != nil {
		return nil, err
	}
	return statusOK(), nil
}

// setEmail makes an address, whose letters the user reads, the user's.
func (s *Service) setEmail(ctx context.Context, user store.User, email string) error {
	err := s.store.SetEmail(ctx, user.ID, user.Email, email, true, actor(ctx, user.ID))
	if errors.Is(err, store.ErrConflict) { // taken, or changed by another letter
		return errInvalidToken.With(err)
	}
	return err
}
