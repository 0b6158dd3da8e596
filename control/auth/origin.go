package auth

import (
	"errors"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/rest"
)

// checkOrigin refuses a write that a page of a foreign origin started with a
// user's cookie.
func checkOrigin(ctx huma.Context, a Authenticator) error {
	host := ctx.Host()
	if _, h, ok := strings.Cut(rest.RequestOf(ctx.Context()).Origin, "://"); ok {
		host = h
	}
	if sameSite(ctx.Method(), ctx.Header("Sec-Fetch-Site"), ctx.Header("Origin"), host, a.TrustsOrigin) {
		return nil
	}
	return errOrigin
}

// sameSite decides as net/http.CrossOriginProtection does: reads are free; a
// browser tells by Sec-Fetch-Site or, an older one or one on plain HTTP, by
// Origin where a write comes from; what sends neither is not a browser and
// carries no cookie of somebody else. The scheme is not compared, since a
// proxy in front may speak TLS for us.
func sameSite(method, fetchSite, origin, host string, trusts func(string) bool) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return true
	}
	switch fetchSite {
	case "same-origin", "none":
		return true
	case "":
		if origin == "" {
			return true
		}
		if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, host) {
			return true
		}
	}
	return origin != "" && trusts(origin)
}

// ParseOrigin returns an origin in the form that browsers send: scheme and host
// in lower case, no default port, no path. What it returns is safe to repeat
// in a header.
func ParseOrigin(origin string) (string, error) {
	u, err := url.Parse(strings.ToLower(strings.TrimSuffix(origin, "/")))
	if err != nil {
		return "", err
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != u.String() ||
		strings.ContainsAny(u.Host, "!$&'()*+,;=\"") {
		return "", errNotOrigin
	}
	if port := u.Port(); (u.Scheme == "http" && port == "80") || (u.Scheme == "https" && port == "443") {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Scheme + "://" + u.Host, nil
}

var errNotOrigin = errors.New("want scheme://host[:port]")
