package rest

import (
	"context"
	"strings"
)

// Public is where the outside reaches this server.
type Public struct {
	// URL is that address if it is fixed, such as
	// "https://cam.example.org/securecam". Empty: what each request came under.
	URL string
	// Local stands in for both where there is no request, as when a worker
	// writes to somebody.
	Local string
}

// Base returns the address for the request behind ctx, without final slash.
func (p Public) Base(ctx context.Context) string {
	if p.URL != "" {
		return strings.TrimRight(p.URL, "/")
	}
	if r := RequestOf(ctx); r.Origin != "" {
		return r.Origin + r.Prefix
	}
	return strings.TrimRight(p.Local, "/")
}

// Absolute completes a path on this server, which begins with a slash; what
// does not leads elsewhere and stays as it is.
func (p Public) Absolute(ctx context.Context, ref string) string {
	if strings.HasPrefix(ref, "/") {
		return p.Base(ctx) + ref
	}
	return ref
}
