package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/securecam/securecam/control/fault"
)

const (
	// header must be on every change. Pages of other origins cannot set it: a
	// browser that remembers the password would send that all the same.
	header = "X-Securecam-Admin"

	// Attempt is the kind of what is counted: wrong passwords of an address.
	Attempt = "admin"
	// MaxAttempts is how many of them an address may have in a window.
	MaxAttempts = 10
)

var (
	errNoPassword = fault.New(fault.Unauthenticated, "unauthenticated", "The administrator's name and password are needed.")
	errTooMany    = fault.New(fault.TooMany, "too_many_attempts", "Too many wrong passwords. Wait a few minutes.")
	errForeign    = fault.New(fault.Forbidden, "invalid_origin",
		"Only the administrator's own page, or a program that sends "+header+", may change anything.")
)

// Attempts bounds how often something may be tried by somebody, in all
// processes together. Its errors are faults of kind fault.TooMany.
type Attempts interface {
	// Take counts an attempt of a kind by key.
	Take(ctx context.Context, kind, key string) (giveBack func(context.Context), err error)
	// Check fails when Take would have failed the last time.
	Check(ctx context.Context, kind, key string) error
}

// guard lets the administrator in.
type guard struct {
	want     [2][sha256.Size]byte // of name and password
	attempts Attempts
}

func newGuard(username, password string, attempts Attempts) *guard {
	return &guard{
		want:     [2][sha256.Size]byte{sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))},
		attempts: attempts,
	}
}

// visit is what of a request matters here.
type visit struct {
	method, authorization string
	from                  string // whose wrong passwords are counted together
	origin                string // of the page, empty if it is not told
	own                   string // the origin that the request came under
	marked                bool   // has the header
}

// check returns nil for the administrator.
func (g *guard) check(ctx context.Context, v visit) error {
	if v.authorization == "" {
		return errNoPassword // a browser asks before it knows
	}
	// A page asks for many things at once: only what is wrong is counted.
	if !g.knows(v.authorization) {
		if _, err := g.attempts.Take(ctx, Attempt, v.from); err != nil {
			return tooMany(err)
		}
		return errNoPassword
	}
	if err := g.attempts.Check(ctx, Attempt, v.from); err != nil {
		return tooMany(err)
	}
	switch v.method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return nil
	}
	if !v.marked || v.origin != "" && v.origin != v.own {
		return errForeign
	}
	return nil
}

// knows compares in a time that does not depend on what is wrong.
func (g *guard) knows(authorization string) bool {
	scheme, encoded, _ := strings.Cut(authorization, " ")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || !strings.EqualFold(scheme, "Basic") {
		return false
	}
	username, password, _ := strings.Cut(string(raw), ":")
	got := [2][sha256.Size]byte{sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))}
	return subtle.ConstantTimeCompare(got[0][:], g.want[0][:])&subtle.ConstantTimeCompare(got[1][:], g.want[1][:]) == 1
}

// tooMany keeps what is known of when to try again.
func tooMany(err error) error {
	var refused *fault.Error
	if errors.As(err, &refused) {
		return errTooMany.After(refused.RetryAfter)
	}
	return err
}
