package auth

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/rest"
)

// The cookies are Better Auth's, so that its client and middleware know them.
const (
	cookiePrefix    = "better-auth."
	securePrefix    = "__Secure-"
	cookieName      = cookiePrefix + "session_token"
	challengeCookie = cookiePrefix + "two_factor"
	trustCookie     = cookiePrefix + "trust_device"
	passkeyCookie   = cookiePrefix + "better-auth-passkey"
	maxCookieLength = 512 // bytes
)

// isSecure says whether the browser that sent the request behind ctx talks
// TLS, to us or to a trusted proxy. Browsers drop __Secure- cookies from plain
// HTTP, where http://localhost must work too.
func (s *Service) isSecure(ctx context.Context) bool {
	return s.secure || strings.HasPrefix(rest.RequestOf(ctx).Origin, "https://")
}

// cookie returns the cookie of that name for token. A zero maxAge makes it last
// as long as the browser runs, a negative one deletes it.
func (s *Service) cookie(ctx context.Context, name, token string, maxAge time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: name, Path: "/", MaxAge: int(maxAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if s.isSecure(ctx) {
		c.Name, c.Secure = securePrefix+name, true
	}
	if token != "" {
		c.Value = s.sealCookie(name, token)
	}
	return c
}

// readCookie returns the token in the cookie of that name among cookies; false
// if there is none that we signed.
func (s *Service) readCookie(ctx context.Context, name string, cookies []*http.Cookie) (string, bool) {
	sent := name
	if s.isSecure(ctx) {
		sent = securePrefix + name
	}
	for _, c := range cookies {
		if c.Name != sent {
			continue
		}
		if token, ok := s.openCookie(name, c.Value); ok {
			return token, true
		}
	}
	return "", false
}

// sealCookie returns token.signature, the signature in standard base64 and
// the whole escaped for URLs.
func (s *Service) sealCookie(name, token string) string {
	return url.QueryEscape(token + "." + base64.StdEncoding.EncodeToString(s.cookieMAC(name, token)))
}

// cookieMAC binds a token to its cookie, so that none passes for another one.
func (s *Service) cookieMAC(name, token string) []byte {
	if name == cookieName {
		return s.keys.cookies.mac(token)
	}
	return s.keys.cookies.mac(name + "\x00" + token)
}

// openCookie returns the token of a value that sealCookie made.
func (s *Service) openCookie(name, value string) (string, bool) {
	if len(value) > maxCookieLength {
		return "", false
	}
	value, err := url.PathUnescape(value) // encodeURIComponent leaves + alone
	if err != nil {
		return "", false
	}
	dot := strings.LastIndexByte(value, '.')
	if dot <= 0 {
		return "", false
	}
	token, signature := value[:dot], value[dot+1:]
	mac, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || !hmac.Equal(mac, s.cookieMAC(name, token)) {
		return "", false
	}
	return token, true
}

type jarKey struct{}

// jar holds the cookies that a handler sets: an answer has as many Set-Cookie
// fields, which huma would join into one.
type jar struct{ cookies []*http.Cookie }

// setCookies lets the handlers below set cookies.
func setCookies(ctx huma.Context, next func(huma.Context)) {
	j := &jar{}
	next(huma.WithValue(ctx, jarKey{}, j))
	header := &humafiber.UnwrapV2(ctx).Response().Header
	for _, c := range j.cookies {
		header.Add(fiber.HeaderSetCookie, c.String())
	}
}

// setCookie sets cookies with the answer to the request behind ctx.
func setCookie(ctx context.Context, cookies ...*http.Cookie) {
	if j, ok := ctx.Value(jarKey{}).(*jar); ok {
		j.cookies = append(j.cookies, cookies...)
	}
}
