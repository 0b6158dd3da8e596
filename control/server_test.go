package control_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp keeps one clock for the whole process, and the sweeper
		// of a stopped server's workers ends after its nap of 10 s.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// nobody is an Authenticator that knows nobody.
type nobody struct{}

func (nobody) Session(context.Context, []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	return auth.Principal{}, nil, auth.ErrUnauthenticated
}

func (nobody) Device(context.Context, string) (auth.Principal, store.Device, error) {
	return auth.Principal{}, store.Device{}, auth.ErrUnauthenticated
}

func (nobody) TrustsOrigin(string) bool { return false }

// probe is a feature with one of everything.
type probe struct {
	entered chan struct{} // by /slow
	release chan struct{} // lets /slow go on
	ended   chan error    // how the context of /slow ended
}

type echo struct {
	Body struct {
		Text string `json:"text" maxLength:"70000"`
	}
}

func (p *probe) Mount(app fiber.Router, api huma.API) {
	rest.Register(api, huma.Operation{Method: http.MethodPost, Path: "/echo"},
		func(_ context.Context, in *echo) (*echo, error) { return in, nil })
	rest.Register(api, huma.Operation{Method: http.MethodGet, Path: "/mine", Security: auth.Either},
		func(context.Context, *struct{}) (*echo, error) { return &echo{}, nil })
	app.Get("/slow", func(c *fiber.Ctx) error {
		p.entered <- struct{}{}
		select {
		case <-p.release:
			return c.SendString("done")
		case <-c.UserContext().Done():
			p.ended <- c.UserContext().Err()
			return c.UserContext().Err()
		}
	})
	app.Get("/panic", func(*fiber.Ctx) error { panic("with a secret") })
	app.Get("/internal", func(*fiber.Ctx) error { return errors.New("with a secret") })
	app.All("/whip/:id", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
	app.Get("/origin", func(c *fiber.Ctx) error { return c.SendString(rest.RequestOf(c.UserContext()).Origin) })
	app.Get("/objects/big", func(c *fiber.Ctx) error {
		return c.SendStream(io.LimitReader(zeros{}, bigSize), bigSize)
	})
}

const bigSize = 32 << 20

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

type server struct {
	*control.Server
	*probe
	url    string
	addr   string
	log    *logBuffer
	served chan error
}

func newConfig(p *probe, log io.Writer) control.Config {
	return control.Config{
		Auth: nobody{}, Features: []control.Feature{p}, Version: "1",
		Static: fstest.MapFS{
			"sim/index.html": {Data: []byte("<!doctype html>")},
			"js/app.js":      {Data: []byte("export {};")},
		},
		TrustedOrigins: []string{"https://app.example"}, ObjectOrigin: "https://objects.example:9000",
		ReadTimeout: 500 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

func start(t *testing.T) *server {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, "http")
}

func serve(t *testing.T, ln net.Listener, scheme string) *server {
	t.Helper()
	s := &server{
		probe: &probe{entered: make(chan struct{}), release: make(chan struct{}), ended: make(chan error, 1)},
		url:   scheme + "://" + ln.Addr().String(), addr: ln.Addr().String(),
		log: &logBuffer{}, served: make(chan error, 1),
	}
	var err error
	if s.Server, err = control.New(newConfig(s.probe, s.log)); err != nil {
		t.Fatal(err)
	}
	go func() { s.served <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-s.served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// do sends a request on a connection of its own; headers are pairs.
func (s *server) do(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	s := start(t)
	js := []string{"Content-Type", "application/json"}
	text := func(n int) string { return `{"text":"` + strings.Repeat("a", n) + `"}` }
	tests := []struct {
		method, path, body string
		headers            []string
		status             int
		code               string
	}{
		{"POST", "/echo", text(1), js, 200, ""},
		{"POST", "/echo", text(65536 - 11), js, 200, ""},
		{"POST", "/echo", text(65537 - 11), js, 413, "too_large"},
		{"POST", "/echo", text(1 << 20), js, 413, "too_large"},
		{"POST", "/echo", `{`, js, 400, "malformed_body"},
		{"POST", "/echo", `{}`, js, 422, "validation_failed"},
		{"POST", "/echo", text(1), nil, 415, "unsupported_media_type"},
		{"POST", "/echo", text(1), append(js, "Content-Encoding", "br"), 415, "unsupported_encoding"},
		{"GET", "/echo", "", nil, 405, "method_not_allowed"},
		{"GET", "/Echo", "", nil, 404, "not_found"},
		{"GET", "/mine", "", nil, 401, "unauthenticated"},
		{"GET", "/nowhere", "", nil, 404, "not_found"},
		{"GET", "/sim/../server.go", "", nil, 404, "not_found"},
		{"GET", "/sim/js", "", nil, 404, "not_found"},
		{"GET", "/panic", "", nil, 500, "internal"},
		{"GET", "/internal", "", nil, 500, "internal"},
		{"GET", "/nowhere", "", []string{"X-Big", strings.Repeat("a", 9000)}, 431, "headers_too_large"},
		{"GET", "/openapi.json", "", nil, 200, ""},
	}
	for _, test := range tests {
		res, body := s.do(t, test.method, test.path, test.body, test.headers...)
		problem := strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json")
		if res.StatusCode != test.status || problem != (test.code != "") || !strings.Contains(body, test.code) {
			t.Errorf("%s %s (%d bytes): got %d %.200q, want %d %s",
				test.method, test.path, len(test.body), res.StatusCode, body, test.status, test.code)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s leaks its cause: %s", test.path, body)
		}
		if res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %d: the security headers are missing: %v", test.path, res.StatusCode, res.Header)
		}
	}
	if log := s.log.String(); strings.Count(log, "with a secret") != 2 || strings.Count(log, "request refused") != 3 {
		t.Errorf("got log %s", log)
	}
}

func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, request := range []string{
		"GARBAGE\r\n\r\n",
		"GET /x HTTP/1.1\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 4") {
			t.Errorf("%q: got %q, %v", request, line, err)
		}
		conn.Close()
	}
}

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
		{"OPTIONS", "/whip/x", evil, "POST", 204, "*", false},
		{"OPTIONS", "/whip/x", evil, "", 204, "", false}, // the route's
		{"GET", "/whep/nowhere", evil, "", 404, "*", false},
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
		if res.StatusCode != 200 || body == "" || res.Header.Get("Content-Type") != want || etag == "" ||
			res.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: got %d %q %v", path, res.StatusCode, body, res.Header)
		}
		for _, known := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			again, body := s.do(t, "GET", path, "", "If-None-Match", known)
			if again.StatusCode != http.StatusNotModified || body != "" || again.Header.Get("ETag") != etag {
				t.Errorf("%s with %s: got %d %q", path, known, again.StatusCode, body)
			}
		}
		if changed, _ := s.do(t, "GET", path, "", "If-None-Match", `"other"`); changed.StatusCode != 200 {
			t.Errorf("%s changed: got %d", path, changed.StatusCode)
		}
		head, body := s.do(t, "HEAD", path, "")
		if head.StatusCode != 200 || body != "" || head.ContentLength != res.ContentLength {
			t.Errorf("HEAD %s: got %d, %d bytes of %d", path, head.StatusCode, head.ContentLength, res.ContentLength)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*control.Config){
		"no page":        func(c *control.Config) { c.Static = fstest.MapFS{} },
		"trusted origin": func(c *control.Config) { c.TrustedOrigins = []string{"*"} },
		"object origin":  func(c *control.Config) { c.ObjectOrigin = "https://a.example; script-src *" },
	} {
		cfg := newConfig(&probe{}, io.Discard)
		change(&cfg)
		if _, err := control.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestProxiesAreTrustedByConfig(t *testing.T) {
	t.Parallel()
	cfg := newConfig(&probe{}, io.Discard)
	cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	behind, err := control.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- behind.Serve(ln) }()
	s := &server{url: "http://" + ln.Addr().String()}
	_, origin := s.do(t, "GET", "/origin", "", "X-Forwarded-Host", "cam.example", "X-Forwarded-Proto", "https")
	if origin != "https://cam.example" {
		t.Errorf("got %s", origin)
	}
	if err := errors.Join(behind.Shutdown(t.Context()), <-served); err != nil {
		t.Error(err)
	}
	if err := behind.Serve(ln); err == nil {
		t.Error("a server serves twice")
	}
}
