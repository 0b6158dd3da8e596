package auth

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

const (
	sessionScheme = "session"
	deviceScheme  = "device"
	// AdminScheme is the administrator's; package admin enforces it.
	AdminScheme = "admin"
)

// The values for huma.Operation.Security. An operation without one is public.
//
//nolint:gochecknoglobals // constant tables in the type that huma asks for
var (
	Session = []map[string][]string{{sessionScheme: {}}}
	Device  = []map[string][]string{{deviceScheme: {}}}
	Either  = []map[string][]string{{sessionScheme: {}}, {deviceScheme: {}}}
)

var errOrigin = fault.New(fault.Forbidden, "invalid_origin", "This page may not do that with your session.")

// Middleware returns what enforces the Security of every operation registered
// after it, with the Principal put into the handler's context, and declares
// the two schemes in the API's description:
//
//	api.UseMiddleware(auth.Middleware(api, service))
func Middleware(api huma.API, a Authenticator) func(huma.Context, func(huma.Context)) {
	components := api.OpenAPI().Components
	if components.SecuritySchemes == nil {
		components.SecuritySchemes = map[string]*huma.SecurityScheme{}
	}
	components.SecuritySchemes[sessionScheme] = &huma.SecurityScheme{
		Type: "apiKey", In: "cookie", Name: cookieName, Description: "Cookie of a signed-in user",
	}
	components.SecuritySchemes[deviceScheme] = &huma.SecurityScheme{
		Type: "http", Scheme: "bearer", Description: "Token of a registered device",
	}
	return func(ctx huma.Context, next func(huma.Context)) {
		security := ctx.Operation().Security
		if len(security) == 0 {
			next(ctx)
			return
		}
		session, device := allows(security, sessionScheme), allows(security, deviceScheme)
		if !session && !device && allows(security, AdminScheme) {
			next(ctx) // the operation's own middleware asks for the password
			return
		}
		p, err := authenticateSoon(ctx, a, session, device)
		if err != nil {
			rest.WriteError(ctx, err)
			return
		}
		rest.Annotate(ctx.Context(), slog.String("user", p.UserID))
		if p.DeviceID != "" {
			rest.Annotate(ctx.Context(), slog.String("device", p.DeviceID))
		}
		next(huma.WithContext(ctx, With(ctx.Context(), p)))
	}
}

func allows(security []map[string][]string, scheme string) bool {
	for _, requirement := range security {
		if _, ok := requirement[scheme]; ok {
			return true
		}
	}
	return false
}

// authTimeout bounds how long it takes to learn who asks: a database that hangs
// must not keep every request.
const authTimeout = 5 * time.Second

func authenticateSoon(ctx huma.Context, a Authenticator, session, device bool) (Principal, error) {
	bounded, cancel := context.WithTimeout(ctx.Context(), authTimeout)
	defer cancel()
	return authenticate(huma.WithContext(ctx, bounded), a, session, device)
}

// authenticate takes the bearer token if there is one and the operation takes
// tokens, else the cookie: a caller that says who it is by token is never
// mistaken for the user whose cookie happens to be there.
func authenticate(ctx huma.Context, a Authenticator, session, device bool) (Principal, error) {
	token, bearer := BearerToken(ctx.Header("Authorization"))
	if device && (bearer || !session) {
		p, _, err := a.Device(ctx.Context(), token)
		return p, err
	}
	if err := checkOrigin(ctx, a); err != nil {
		return Principal{}, err
	}
	p, cookie, err := a.Session(ctx.Context(), huma.ReadCookies(ctx))
	if err != nil {
		return Principal{}, err
	}
	if cookie != nil {
		ctx.AppendHeader("Set-Cookie", cookie.String())
	}
	return p, nil
}

// BearerToken returns the token in the value of an Authorization header (RFC
// 6750, section 2.1; the scheme's case does not matter by RFC 9110, section
// 11.1), and whether there is one.
func BearerToken(authorization string) (string, bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	token = strings.TrimSpace(token)
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}
