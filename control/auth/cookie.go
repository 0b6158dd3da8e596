package auth

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/securecam/securecam/control/rest"
)

// The cookie is Better Auth's, so that its client and middleware know it.
const (
	cookieName       = "better-auth.session_token"
	secureCookieName = "__Secure-" + cookieName
	maxCookieLength  = 512 // bytes
)

// isSecure says whether the browser that sent the request behind ctx talks
// TLS, to us or to a trusted proxy. Browsers drop __Secure- cookies from plain
// HTTP, where http://localhost must work too.
func (s *Service) isSecure(ctx context.Context) bool {
	return s.secure || strings.HasPrefix(rest.RequestOf(ctx).Origin, "https://")
}

// cookie returns the session cookie for token. A zero maxAge makes it last as
// long as the browser runs, a negative one deletes it.
func (s *Service) cookie(ctx context.Context, token string, maxAge time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: int(maxAge / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if s.isSecure(ctx) {
		c.Name, c.Secure = secureCookieName, true
	}
	if token != "" {
		c.Value = s.sealCookie(token)
	}
	return c
}

// sessionToken returns the token in the session cookie among cookies; false
// if there is none that we signed.
func (s *Service) sessionToken(ctx context.Context, cookies []*http.Cookie) (string, bool) {
	name := cookieName
	if s.isSecure(ctx) {
		name = secureCookieName
	}
	for _, c := range cookies {
		if c.Name != name {
			continue
		}
		if token, ok := s.openCookie(c.Value); ok {
			return token, true
		}
	}
	return "", false
}

// sealCookie returns token.signature, the signature in standard base64 and
// the whole escaped for URLs.
func (s *Service) sealCookie(token string) string {
	return url.QueryEscape(token + "." + base64.StdEncoding.EncodeToString(s.cookies.mac(token)))
}

// openCookie returns the token of a value that sealCookie made.
func (s *Service) openCookie(value string) (string, bool) {
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
	if err != nil || !hmac.Equal(mac, s.cookies.mac(token)) {
		return "", false
	}
	return token, true
}
