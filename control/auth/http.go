package auth

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

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

// routes adds the operations below /api/auth.
type routes struct {
	api   huma.API
	guard func(huma.Context, func(huma.Context))
}

// op describes an operation. An open one, which needs no session, must not be
// called by foreign pages either: signing a victim in to the attacker's account
// is an attack, too.
func (r routes) op(id, method, path, summary string, security []map[string][]string) huma.Operation {
	middlewares := huma.Middlewares{setCookies}
	if security == nil && method != http.MethodGet {
		middlewares = append(middlewares, r.guard)
	}
	return huma.Operation{
		OperationID: id, Method: method, Path: "/api/auth" + path, Summary: summary, Tags: []string{"auth"},
		Security: security, Middlewares: middlewares,
	}
}

// Mount adds the routes that Better Auth's client calls for e-mail accounts,
// second factors and passkeys.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	r := routes{api, s.guardOrigin}
	s.mountSigning(r)
	s.mountSessions(r)
	s.mountAccount(r)
	s.mountLetters(r)
	s.mountTwoFactor(r)
	s.mountPasskeys(r)
}

// guardOrigin keeps foreign pages from using an operation that needs no
// session.
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
	TwoFactor     bool      `json:"twoFactorEnabled"`
	CreatedAt     time.Time `json:"createdAt"`
	UpdatedAt     time.Time `json:"updatedAt"`
}

func viewUser(u store.User) userView {
	v := userView{
		ID: u.ID, Name: u.Name, Email: u.Email, EmailVerified: u.EmailVerified,
		TwoFactor: u.TwoFactor, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
	}
	if u.Image != "" {
		v.Image = &u.Image
	}
	return v
}

type sessionView struct {
	ID        string    `json:"id"`
	UserID    string    `json:"userId"`
	Token     string    `json:"token" doc:"What ends the session by revoke-session; of the current one its real token"`
	IPAddress string    `json:"ipAddress"`
	UserAgent string    `json:"userAgent"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// viewSession shows a session. token is its real one only to whoever holds it.
func viewSession(row store.Session, token string) sessionView {
	return sessionView{
		ID: row.ID, UserID: row.UserID, Token: token, IPAddress: row.IPAddress, UserAgent: row.UserAgent,
		CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt, ExpiresAt: row.ExpiresAt,
	}
}

type statusOutput struct {
	Body struct {
		Status bool `json:"status"`
	}
}

func statusOK() *statusOutput {
	out := &statusOutput{}
	out.Body.Status = true
	return out
}

// allowsCallback says whether a browser may be sent to target: a path of ours,
// or a page of our own or a trusted origin.
func (s *Service) allowsCallback(ctx context.Context, target string) bool {
	if target == "" {
		return true
	}
	// Browsers read \ as /, and skip control characters.
	if strings.ContainsAny(target, "\\") || strings.ContainsFunc(target, unicode.IsControl) {
		return false
	}
	if strings.HasPrefix(target, "/") {
		return !strings.HasPrefix(target, "//")
	}
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok {
		return false
	}
	host := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		host = rest[:end]
	}
	origin, err := ParseOrigin(scheme + "://" + host)
	return err == nil && (origin == s.ownOrigin(ctx) || s.trusted[origin])
}

// ownOrigin is where the user of the request behind ctx reaches the server.
func (s *Service) ownOrigin(ctx context.Context) string {
	if s.origin != "" {
		return s.origin
	}
	origin, err := ParseOrigin(requestOrigin(ctx))
	if err != nil {
		return ""
	}
	return origin
}

func requestOrigin(ctx context.Context) string { return rest.RequestOf(ctx).Origin }

// withQuery returns target, which allowsCallback lets pass, with a parameter
// more. It stays before the fragment, which is where pages keep their own path.
func withQuery(target, name, value string) string {
	u, err := url.Parse(target)
	if err != nil {
		return "/"
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
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
