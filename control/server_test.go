package control_test

import (
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
	app.Get("/deaf", func(*fiber.Ctx) error {
		p.entered <- struct{}{}
		<-p.release
		return nil
	})
	mountSocket(app)
	app.Get("/panic", func(*fiber.Ctx) error { panic("with a secret") }) //nolint:forbidigo // what is tested
	app.Get("/internal", func(*fiber.Ctx) error { return errors.New("with a secret") })
	app.Post("/api/auth/sign-up/email", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
	app.All("/whep/:id", func(c *fiber.Ctx) error { return c.SendStatus(http.StatusNoContent) })
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
		Logger: slog.New(slog.NewTextHandler(log, nil)),
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

// hurried is how long a request may take where that is tested: as long as a busy
// machine takes for one that is sent at once.
const hurried = 2 * time.Second

// startHurried is start for requests that take too long.
func startHurried(t *testing.T) *server {
	t.Helper()
	return startWith(t, func(c *control.Config) { c.ReadTimeout = hurried })
}

// startWith is start with another configuration.
func startWith(t *testing.T, change func(*control.Config)) *server {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, ln, "http", change)
}

func serve(t *testing.T, ln net.Listener, scheme string, change ...func(*control.Config)) *server {
	t.Helper()
	s := &server{
		probe: &probe{entered: make(chan struct{}), release: make(chan struct{}), ended: make(chan error, 1)},
		url:   scheme + "://" + ln.Addr().String(), addr: ln.Addr().String(),
		log: &logBuffer{}, served: make(chan error, 1),
	}
	cfg := newConfig(s.probe, s.log)
	for _, f := range change {
		f(&cfg)
	}
	var err error
	if s.Server, err = control.New(cfg); err != nil {
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
	defer func() { _ = res.Body.Close() }()
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
	head, body := s.do(t, "HEAD", "/mine", "")
	if head.StatusCode != http.StatusUnauthorized || body != "" || head.ContentLength <= 0 {
		t.Errorf("HEAD: got %d, %d bytes", head.StatusCode, head.ContentLength)
	}
	if log := s.log.String(); strings.Count(log, "with a secret") != 2 || strings.Count(log, "request refused") != 1 {
		t.Errorf("got log %s", log)
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
	late, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := behind.Serve(late); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
	if err := late.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve after Shutdown left the listener open: %v", err)
	}
}
