package control_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/securecam/securecam/control"
)

func TestHeaders(t *testing.T) {
	t.Parallel()
	s := start(t)
	res, _ := s.do(t, "GET", "/sim", "")
	csp := res.Header.Get("Content-Security-Policy")
	for _, directive := range []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data: blob: https://objects.example:9000",
		"connect-src 'self' ws: wss: https://objects.example:9000", "media-src 'self' blob: https://objects.example:9000",
		"base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'",
	} {
		if !strings.Contains("; "+csp+";", "; "+directive+";") {
			t.Errorf("%s is missing in %s", directive, csp)
		}
	}
	if strings.Contains(csp, "unsafe") || res.Header.Get("Cross-Origin-Embedder-Policy") != "" || res.Header.Get("Server") != "" {
		t.Errorf("got %v", res.Header)
	}
	permissions := res.Header.Get("Permissions-Policy")
	if !strings.Contains(permissions, "camera=(self)") || !strings.Contains(permissions, "microphone=(self)") {
		t.Errorf("got %s", permissions)
	}
	id, _ := s.do(t, "GET", "/sim", "", "X-Request-Id", "mine")
	if id.Header.Get("X-Request-Id") != "mine" || !strings.Contains(s.log.String(), "request=mine") {
		t.Errorf("got %v", id.Header)
	}
	// Nobody is a trusted proxy here.
	_, origin := s.do(t, "GET", "/origin", "", "Host", "cam.example:8080", "X-Forwarded-Host", "evil", "X-Forwarded-Proto", "https")
	if origin != "http://cam.example:8080" {
		t.Errorf("got origin %s", origin)
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	s := start(t)
	const app, evil = "https://app.example", "https://evil.example"
	tests := []struct {
		method, path, origin, preflight string
		status                          int
		allow                           string
		credentials                     bool
	}{
		{"GET", "/sim", app, "", 200, app, true},
		{"GET", "/sim", evil, "", 200, "", false},
		{"GET", "/mine", app, "", 401, app, true},
		{"GET", "/nowhere", app, "", 404, app, true},
		{"OPTIONS", "/echo", app, "POST", 204, app, true},
		{"OPTIONS", "/echo", evil, "POST", 204, "", false},
		{"OPTIONS", "/echo", app, "", 405, "", false},
		{"POST", "/whip/x", evil, "", 204, "*", false},
		{"POST", "/whip/x", app, "", 204, "*", false},
		{"OPTIONS", "/whip/x", evil, "POST", 204, "*", false}, // the route's
		{"OPTIONS", "/whip/x", evil, "", 204, "*", false},     // the route's
		{"OPTIONS", "/objects/none", evil, "GET", 204, "*", false},
		{"GET", "/whep/no/where", evil, "", 404, "*", false},
		{"GET", "/objects/none", evil, "", 404, "*", false},
	}
	for _, test := range tests {
		headers := []string{"Origin", test.origin}
		if test.preflight != "" {
			headers = append(headers, "Access-Control-Request-Method", test.preflight)
		}
		res, _ := s.do(t, test.method, test.path, "", headers...)
		allow := res.Header.Get("Access-Control-Allow-Origin")
		credentials := res.Header.Get("Access-Control-Allow-Credentials") == "true"
		if res.StatusCode != test.status || allow != test.allow || credentials != test.credentials {
			t.Errorf("%+v: got %d %q %v", test, res.StatusCode, allow, credentials)
		}
		exposed := res.Header.Get("Access-Control-Expose-Headers")
		for _, name := range []string{"Location", "Link", "ETag", "Retry-After", "Accept-Patch", "WWW-Authenticate"} {
			if allow == "*" && !strings.Contains(exposed, name) {
				t.Errorf("%s %s: %s is not exposed", test.method, test.path, name)
			}
		}
	}
}

// TestOpenPreflight asks as a browser does before it sends an offer.
func TestOpenPreflight(t *testing.T) {
	t.Parallel()
	s := start(t)
	res, _ := s.do(t, "OPTIONS", "/whep/x", "", "Origin", "https://player.example", "Access-Control-Request-Method", "PATCH",
		"Access-Control-Request-Headers", "authorization,content-type,if-match")
	for header, want := range map[string]string{
		"Access-Control-Allow-Methods": "PATCH", "Access-Control-Allow-Headers": "If-Match", "Access-Control-Max-Age": "7200",
	} {
		if got := res.Header.Get(header); !strings.Contains(got, want) {
			t.Errorf("%s is %q, want %s", header, got, want)
		}
	}
}

// TestRefusedOffersSayWhy holds that a page of another origin can read why its
// offer was refused before any route saw it.
func TestRefusedOffersSayWhy(t *testing.T) {
	t.Parallel()
	s := start(t)
	for path, want := range map[string]string{"/whip/x": "*", "/whep/x": "*", "/echo": ""} {
		res, body := s.do(t, "POST", path, strings.Repeat("x", 64<<10+1), "Origin", "https://player.example")
		if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != http.StatusRequestEntityTooLarge || got != want {
			t.Errorf("%s: got %d, Access-Control-Allow-Origin %q: %s", path, res.StatusCode, got, body)
		}
	}
}

func TestSignUpClosed(t *testing.T) {
	t.Parallel()
	for closed, want := range map[bool]int{true: http.StatusForbidden, false: http.StatusNoContent} {
		p := &probe{}
		cfg := newConfig(p, io.Discard)
		cfg.SignUpClosed = closed
		s, err := control.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		for _, path := range []string{"/api/auth/sign-up/email", "/api/auth/sign-up/email/"} {
			res, body := (&server{url: "http://" + ln.Addr().String()}).do(t, "POST", path, "{}", "Content-Type", "application/json")
			if res.StatusCode != want || closed != strings.Contains(body, `"sign_up_closed"`) {
				t.Errorf("closed %v, %s: got %d %s", closed, path, res.StatusCode, body)
			}
		}
		if err := errors.Join(s.Shutdown(t.Context()), <-served); err != nil {
			t.Error(err)
		}
	}
}

func TestStatic(t *testing.T) {
	t.Parallel()
	s := start(t)
	root, _ := s.do(t, "GET", "/", "")
	if root.StatusCode != http.StatusFound || root.Header.Get("Location") != "/sim" {
		t.Errorf("got %d to %q", root.StatusCode, root.Header.Get("Location"))
	}
	for path, want := range map[string]string{
		"/sim": "text/html; charset=utf-8", "/sim/": "text/html; charset=utf-8", "/sim/js/app.js": "text/javascript; charset=utf-8",
	} {
		res, body := s.do(t, "GET", path, "")
		etag := res.Header.Get("ETag")
		if res.StatusCode != http.StatusOK || body == "" || res.Header.Get("Content-Type") != want || etag == "" ||
			res.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: got %d %q %v", path, res.StatusCode, body, res.Header)
		}
		for _, known := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			again, body := s.do(t, "GET", path, "", "If-None-Match", known)
			if again.StatusCode != http.StatusNotModified || body != "" || again.Header.Get("ETag") != etag {
				t.Errorf("%s with %s: got %d %q", path, known, again.StatusCode, body)
			}
		}
		if changed, _ := s.do(t, "GET", path, "", "If-None-Match", `"other"`); changed.StatusCode != http.StatusOK {
			t.Errorf("%s changed: got %d", path, changed.StatusCode)
		}
		head, body := s.do(t, "HEAD", path, "")
		if head.StatusCode != http.StatusOK || body != "" || head.ContentLength != res.ContentLength {
			t.Errorf("HEAD %s: got %d, %d bytes of %d", path, head.StatusCode, head.ContentLength, res.ContentLength)
		}
	}
}
