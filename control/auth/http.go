package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

var (
	errInvalidOrigin   = fault.New(fault.Forbidden, "INVALID_ORIGIN", "Invalid origin")
	errInvalidCallback = fault.New(fault.Forbidden, "INVALID_CALLBACK_URL", "Invalid callbackURL")
)

// Mount adds the routes that Better Auth's client calls for e-mail accounts.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	guard := huma.Middlewares{s.guardOrigin}
	rest.Register(api, huma.Operation{
		OperationID: "signUpEmail", Method: http.MethodPost, Path: "/api/auth/sign-up/email",
		Summary: "Create an account and sign in", Tags: []string{"auth"}, Middlewares: guard,
	}, s.signUp)
	rest.Register(api, huma.Operation{
		OperationID: "signInEmail", Method: http.MethodPost, Path: "/api/auth/sign-in/email",
		Summary: "Sign in", Tags: []string{"auth"}, Middlewares: guard,
	}, s.signIn)
	rest.Register(api, huma.Operation{
		OperationID: "signOut", Method: http.MethodPost, Path: "/api/auth/sign-out",
		Summary: "Sign out", Tags: []string{"auth"}, Middlewares: guard,
	}, s.signOut)
	rest.Register(api, huma.Operation{
		OperationID: "getSession", Method: http.MethodGet, Path: "/api/auth/get-session",
		Summary: "The current session, or null", Tags: []string{"auth"},
	}, s.getSession)
}

// guardOrigin keeps foreign pages from signing a browser in or out: signing a
// victim in to the attacker's account is an attack, too.
func (s *Service) guardOrigin(ctx huma.Context, next func(huma.Context)) {
	if err := checkOrigin(ctx, s); err != nil {
		rest.WriteError(ctx, errInvalidOrigin)
		return
	}
	next(ctx)
}

type userView struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	Email         string    `json:"email"`
	EmailVerified bool      `json:"emailVerified"`
	Image         *string   `json:"image" nullable:"true"`
	CreatedAt     time.Time `json:"createdAt"`
	UpdatedAt     time.Time `json:"updatedAt"`
}

func viewUser(u store.User) userView {
	v := userView{
		ID: u.ID, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified,
		CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
	if u.Image != "" {
		v.Image = &u.Image
	}
	return v
}

type sessionView struct {
	ID        string    `json:"id"`
	UserID    string    `json:"userId"`
	Token     string    `json:"token"`
	IPAddress string    `json:"ipAddress"`
	UserAgent string    `json:"userAgent"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
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
	SetCookie string `header:"Set-Cookie"`
	Body      struct {
		Token string   `json:"token"`
		User  userView `json:"user"`
	}
}

func (s *Service) signUp(ctx context.Context, in *signUpInput) (*signUpOutput, error) {
	if !s.allowsCallback(in.Body.CallbackURL) {
		return nil, errInvalidCallback
	}
	user, err := s.createUser(ctx, store.User{
		Email: in.Body.Email, Name: in.Body.Name, Image: in.Body.Image,
	}, in.Body.Password)
	if err != nil {
		return nil, err
	}
	token, cookie, err := s.openSession(ctx, user, in.UserAgent, wants(in.Body.RememberMe))
	if err != nil {
		return nil, err
	}
	out := &signUpOutput{SetCookie: cookie.String()}
	out.Body.Token, out.Body.User = token, viewUser(user)
	return out, nil
}

type signInInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Body      struct {
		Email       string `json:"email" maxLength:"254"`
		Password    string `json:"password" maxLength:"1024"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048"`
		RememberMe  *bool  `json:"rememberMe,omitempty" doc:"false ends the session with the browser, or after a day"`
	}
}

type signInOutput struct {
	SetCookie string `header:"Set-Cookie"`
	Body      struct {
		Redirect bool     `json:"redirect"`
		Token    string   `json:"token"`
		URL      string   `json:"url,omitempty"`
		User     userView `json:"user"`
	}
}

func (s *Service) signIn(ctx context.Context, in *signInInput) (*signInOutput, error) {
	if !s.allowsCallback(in.Body.CallbackURL) {
		return nil, errInvalidCallback
	}
	user, err := s.checkPassword(ctx, in.Body.Email, in.Body.Password)
	if err != nil {
		return nil, err
	}
	token, cookie, err := s.openSession(ctx, user, in.UserAgent, wants(in.Body.RememberMe))
	if err != nil {
		return nil, err
	}
	out := &signInOutput{SetCookie: cookie.String()}
	out.Body.Redirect, out.Body.URL = in.Body.CallbackURL != "", in.Body.CallbackURL
	out.Body.Token, out.Body.User = token, viewUser(user)
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
	SetCookie string `header:"Set-Cookie"`
	Body      struct {
		Success bool `json:"success"`
	}
}

func (s *Service) signOut(ctx context.Context, in *signOutInput) (*signOutOutput, error) {
	if err := s.closeSession(ctx, parseCookies(in.Cookie)); err != nil {
		return nil, err
	}
	out := &signOutOutput{SetCookie: s.cookie(ctx, "", -time.Second).String()}
	out.Body.Success = true
	return out, nil
}

type getSessionInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
}

type getSessionOutput struct {
	SetCookie    string `header:"Set-Cookie"`
	CacheControl string `header:"Cache-Control"`
	Body         *struct {
		Session sessionView `json:"session"`
		User    userView    `json:"user"`
	}
}

func (s *Service) getSession(ctx context.Context, in *getSessionInput) (*getSessionOutput, error) {
	out := &getSessionOutput{CacheControl: "no-store"}
	cookies := parseCookies(in.Cookie)
	row, user, token, cookie, err := s.findSession(ctx, cookies)
	if errors.Is(err, ErrUnauthenticated) {
		if stale := s.cookie(ctx, "", -time.Second); hasCookie(cookies, stale.Name) {
			out.SetCookie = stale.String()
		}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	if cookie != nil {
		out.SetCookie = cookie.String()
	}
	out.Body = &struct {
		Session sessionView `json:"session"`
		User    userView    `json:"user"`
	}{
		Session: sessionView{
			ID: row.ID, UserID: row.UserID, Token: token, IPAddress: row.IPAddress, UserAgent: row.UserAgent,
			CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, ExpiresAt: row.ExpiresAt,
		},
		User: viewUser(user),
	}
	return out, nil
}

// allowsCallback says whether the client may be sent to target after signing
// in: a path of ours, or a page of a trusted origin.
func (s *Service) allowsCallback(target string) bool {
	if target == "" {
		return true
	}
	if strings.HasPrefix(target, "/") {
		// Browsers read //host and /\host as another host, and skip
		// control characters on the way there.
		return !strings.HasPrefix(target, "//") && !strings.ContainsAny(target, "\\\t\r\n")
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return false
	}
	host, _, _ := strings.Cut(rest, "/")
	return s.TrustsOrigin(scheme + "://" + host)
}

// wants reads an optional flag that is on unless it is switched off.
func wants(flag *bool) bool { return flag == nil || *flag }

// parseCookies reads a Cookie header, leaving out what is malformed.
func parseCookies(header string) []*http.Cookie {
	return (&http.Request{Header: http.Header{"Cookie": {header}}}).Cookies()
}

func hasCookie(cookies []*http.Cookie, name string) bool {
	return slices.ContainsFunc(cookies, func(c *http.Cookie) bool { return c.Name == name })
}
