package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/securecam/securecam/control/fault"
)

const (
	// header must be on every change. Pages of other origins cannot set it: a
	// browser that remembers the password would send that all the same.
	header = "X-Securecam-Admin"

	maxFailures   = 10 // of one client in failureWindow
	failureWindow = 5 * time.Minute
	maxAddresses  = 10000
)

var (
	errNoPassword = fault.New(fault.Unauthenticated, "unauthenticated", "The administrator's name and password are needed.")
	errTooMany    = fault.New(fault.TooMany, "too_many_attempts", "Too many wrong passwords. Wait a few minutes.")
	errForeign    = fault.New(fault.Forbidden, "invalid_origin",
		"Only the administrator's own page, or a program that sends "+header+", may change anything.")
)

// guard lets the administrator in.
type guard struct {
	want [2][sha256.Size]byte // of name and password
	now  func() time.Time

	mu     sync.Mutex // guards what follows
	failed map[string]failures
	swept  time.Time // when the old ones went last
}

// failures are the wrong passwords of one address.
type failures struct {
	count int
	since time.Time
}

func newGuard(username, password string, now func() time.Time) *guard {
	return &guard{
		want: [2][sha256.Size]byte{sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))},
		now:  now, failed: map[string]failures{},
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
func (g *guard) check(v visit) error {
	if g.locked(v.from) {
		return errTooMany
	}
	if v.authorization == "" {
		return errNoPassword // a browser asks before it knows
	}
	if !g.knows(v.authorization) {
		g.fail(v.from)
		return errNoPassword
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

func (g *guard) locked(from string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.failed[from]
	return f.count >= maxFailures && g.now().Sub(f.since) < failureWindow
}

func (g *guard) fail(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if len(g.failed) >= maxAddresses && now.Sub(g.swept) >= time.Minute {
		g.swept = now
		for address, f := range g.failed {
			if now.Sub(f.since) >= failureWindow {
				delete(g.failed, address)
			}
		}
	}
	f, known := g.failed[from]
	if !known && len(g.failed) >= maxAddresses {
		return // somebody has very many addresses; those that are known stay locked
	}
	if now.Sub(f.since) >= failureWindow {
		f = failures{since: now}
	}
	f.count++
	g.failed[from] = f
}
