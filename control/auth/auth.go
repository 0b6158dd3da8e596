// Package auth says who a caller is: users, their sessions, and the bearer
// tokens of their devices.
package auth

import (
	"context"
	"net/http"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Principal is who a request or connection acts for: a user with a session,
// or a device of a user.
type Principal struct {
	UserID    string
	SessionID string           // empty for a device
	DeviceID  string           // empty for a session
	KeyID     string           // of the device's token; empty for a session
	Role      store.DeviceRole // empty for a session
	IP        string           // where the request came from
	Admin     string           // the administrator acting for the user; empty for the user
}

// Actor returns p as the author of changes in the store.
func (p Principal) Actor() store.Actor {
	if p.Admin != "" {
		return store.Actor{Admin: p.Admin, IP: p.IP}
	}
	return store.Actor{UserID: p.UserID, DeviceID: p.DeviceID, IP: p.IP}
}

// The two ways in which authentication and permission fail. Which part of a
// credential was wrong is not told.
var (
	ErrUnauthenticated = fault.New(fault.Unauthenticated, "unauthenticated", "Sign in first, or send a valid token.")
	ErrForbidden       = fault.New(fault.Forbidden, "forbidden", "That is not allowed here.")
)

type principalKey struct{}

// With returns a context in which p acts.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From returns who acts in ctx; false when nobody was authenticated.
func From(ctx context.Context) (Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(Principal)
	return p, ok
}

// Caller is From for operations behind the middleware, which lets nobody
// through without a Principal.
func Caller(ctx context.Context) Principal {
	p, _ := From(ctx)
	return p
}

// Authenticator checks credentials; *Service is the product's.
type Authenticator interface {
	// Session returns who the session cookie among cookies stands for, and
	// the cookie to set when the session was prolonged, else nil. It returns
	// ErrUnauthenticated when there is no valid session.
	Session(ctx context.Context, cookies []*http.Cookie) (Principal, *http.Cookie, error)
	// Device returns whom a device token stands for, and that device's row.
	// It returns ErrUnauthenticated for any token that is not valid now.
	Device(ctx context.Context, token string) (Principal, store.Device, error)
	// TrustsOrigin says whether pages of another origin may write with a
	// user's cookie.
	TrustsOrigin(origin string) bool
}
