package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func (s *Service) mountSigning(r routes) {
	signUp := r.op("signUpEmail", http.MethodPost, "/sign-up/email", "Create an account and sign in", nil)
	rest.Register(r.api, rest.Shown(signUp, exampleSignUp, ""), s.signUp,
		ErrInvalidEmail, ErrPasswordTooShort, ErrPasswordTooLong, ErrEmailTaken, errInvalidCallback, errBusy, ErrSignUpClosed, errInvalidOrigin)
	signIn := r.op("signInEmail", http.MethodPost, "/sign-in/email", "Sign in", nil)
	rest.Register(r.api, rest.Shown(signIn, exampleSignIn, ""), s.signIn,
		ErrInvalidEmail, ErrWrongPassword, ErrNotVerified, ErrDisabled, errInvalidCallback, errBusy, errInvalidOrigin)
	rest.Register(r.api, r.op("signOut", http.MethodPost, "/sign-out", "Sign out", nil), s.signOut, errInvalidOrigin)
	current := r.op("getSession", http.MethodGet, "/get-session", "The current session, or null", nil)
	rest.Register(r.api, current, s.getSession)
	rest.OrNull(r.api, current)
}

type signUpInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      struct {
		Name        string `json:"name" minLength:"1" maxLength:"128"`
		Email       string `json:"email" maxLength:"254"`
		Password    string `json:"password" maxLength:"1024" doc:"8 to 128 characters"`
		Image       string `json:"image,omitempty" format:"uri" maxLength:"2048"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048"`
		RememberMe  *bool  `json:"rememberMe,omitempty" doc:"false ends the session with the browser, or after a day"`
	}
}

type signUpOutput struct {
	Body struct {
		Token *string  `json:"token" nullable:"true" doc:"null where an address must be verified before the first sign-in"`
		User  userView `json:"user"`
	}
}

func (s *Service) signUp(ctx context.Context, in *signUpInput) (*signUpOutput, error) {
	if !s.allowsCallback(ctx, in.Body.CallbackURL) {
		return nil, errInvalidCallback
	}
	user, err := s.createUser(ctx, store.User{
		Email: in.Body.Email, Name: in.Body.Name, Image: in.Body.Image,
	}, in.Body.Password)
	out := &signUpOutput{}
	if errors.Is(err, ErrEmailTaken) && s.requireVerify {
		// Whoever cannot read the letters of an address does not learn
		// whether it has an account.
		out.Body.User = viewUser(user)
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Body.User = viewUser(user)
	if s.verifyNew || s.requireVerify {
		s.sendVerification(ctx, user, in.Body.CallbackURL)
	}
	if s.requireVerify {
		return out, nil
	}
	token, err := s.openSession(ctx, user.ID, proof{userAgent: in.UserAgent, remember: wants(in.Body.RememberMe)})
	if err != nil {
		return nil, err
	}
	out.Body.Token = &token
	return out, nil
}

type signInInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Cookie    string `header:"Cookie" hidden:"true"`
	Body      struct {
		Email       string `json:"email" maxLength:"254"`
		Password    string `json:"password" maxLength:"1024"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048"`
		RememberMe  *bool  `json:"rememberMe,omitempty" doc:"false ends the session with the browser, or after a day"`
	}
}

type signInOutput struct {
	Body struct {
		Redirect          *bool     `json:"redirect,omitempty"`
		Token             string    `json:"token,omitempty"`
		URL               string    `json:"url,omitempty"`
		User              *userView `json:"user,omitempty"`
		TwoFactorRedirect bool      `json:"twoFactorRedirect,omitempty" doc:"The second factor is asked for first; nothing else is here"`
		TwoFactorMethods  []string  `json:"twoFactorMethods,omitempty"`
	}
}

func (s *Service) signIn(ctx context.Context, in *signInInput) (*signInOutput, error) {
	if !s.allowsCallback(ctx, in.Body.CallbackURL) {
		return nil, errInvalidCallback
	}
	user, hash, err := s.checkPassword(ctx, in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	if s.requireVerify && !user.EmailVerified {
		s.sendVerification(ctx, user, in.Body.CallbackURL)
		return nil, ErrNotVerified
	}
	out := &signInOutput{}
	remember := wants(in.Body.RememberMe)
	if user.TwoFactor {
		trusted, err := s.isTrusted(ctx, user, parseCookies(in.Cookie))
		if err != nil {
			return nil, err
		}
		if !trusted {
			out.Body.TwoFactorRedirect, out.Body.TwoFactorMethods = true, []string{"totp"}
			return out, s.challenge(ctx, user, hash, remember)
		}
	}
	out.Body.Token, err = s.openSession(ctx, user.ID, proof{userAgent: in.UserAgent, remember: remember, passwordHash: hash})
	if err != nil {
		return nil, err
	}
	redirect, view := in.Body.CallbackURL != "", viewUser(user)
	out.Body.Redirect, out.Body.URL, out.Body.User = &redirect, in.Body.CallbackURL, &view
	return out, nil
}

type signOutInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   *struct {
		CallbackURL     string `json:"callbackURL,omitempty" maxLength:"2048"`
		DisableRedirect bool   `json:"disableRedirect,omitempty"`
		State           string `json:"state,omitempty" maxLength:"2048"`
	}
}

type signOutOutput struct {
	Body struct {
		Success bool `json:"success"`
	}
}

func (s *Service) signOut(ctx context.Context, in *signOutInput) (*signOutOutput, error) {
	if err := s.closeSession(ctx, parseCookies(in.Cookie)); err != nil {
		return nil, err
	}
	setCookie(ctx, s.cookie(ctx, cookieName, "", -time.Second))
	out := &signOutOutput{}
	out.Body.Success = true
	return out, nil
}

type getSessionInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
}

type getSessionOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         *struct {
		Session sessionView `json:"session"`
		User    userView    `json:"user"`
	}
}

func (s *Service) getSession(ctx context.Context, in *getSessionInput) (*getSessionOutput, error) {
	out := &getSessionOutput{CacheControl: "no-store"}
	cookies := parseCookies(in.Cookie)
	c, cookie, err := s.findSession(ctx, cookies)
	if errors.Is(err, ErrUnauthenticated) {
		if stale := s.cookie(ctx, cookieName, "", -time.Second); hasCookie(cookies, stale.Name) {
			setCookie(ctx, stale)
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if cookie != nil {
		setCookie(ctx, cookie)
	}
	out.Body = &struct {
		Session sessionView `json:"session"`
		User    userView    `json:"user"`
	}{viewSession(c.session, c.token), viewUser(c.user)}
	return out, nil
}
