package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one clock for the whole process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

const (
	testSecret   = "a secret that only this test knows"
	testPassword = "correct horse"
	cookieName   = "better-auth.session_token"
)

// env is a server with accounts, and three operations that tell who asks.
type env struct {
	*testing.T
	app     *fiber.App
	db      *store.DB
	service *auth.Service
	began   time.Time    // what the clock shows until it is moved: how long a test takes is no matter
	offset  atomic.Int64 // how far the clock was moved
	log     bytes.Buffer
	letters letters
	deleted atomic.Int32 // users
}

// letters keeps what would be mailed.
type letters struct {
	mu   sync.Mutex
	sent []sentLetter
}

type sentLetter struct{ to, subject, text string }

func (l *letters) Send(to, subject, text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, sentLetter{to, subject, text})
	return nil
}

// take returns the letters since the last call.
func (l *letters) take() []sentLetter {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := l.sent
	l.sent = nil
	return sent
}

func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvOn(t, storetest.SQLite(t))
}

func newEnvOn(t *testing.T, db *store.DB, change ...func(*auth.Config)) *env {
	t.Helper()
	e := &env{T: t, db: db, began: time.Now()}
	logger := slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := auth.Config{
		Store: e.db, Secret: []byte(testSecret), TrustedOrigins: []string{"https://app.example"}, Logger: logger,
		LinkURL: "http://example.com", Mailer: &e.letters, UserDeleted: func() { e.deleted.Add(1) },
		Now: e.now,
	}
	for _, f := range change {
		f(&cfg)
	}
	service, err := auth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	service.WeakenPasswords()
	e.service = service
	e.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	// The connections of app.Test come from 0.0.0.0.
	e.app.Use(rest.Record(rest.RecordConfig{
		Logger: logger, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32")},
	}))
	api := rest.New(e.app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, service))
	service.Mount(e.app, api)
	for path, security := range map[string][]map[string][]string{
		"/session": auth.Session, "/device": auth.Device, "/either": auth.Either, "/public": nil,
	} {
		for _, method := range []string{http.MethodGet, http.MethodDelete} {
			rest.Register(api, huma.Operation{Method: method, Path: path, Security: security}, whoAmI)
		}
	}
	return e
}

func (e *env) now() time.Time { return e.began.Add(time.Duration(e.offset.Load())) }

type whoOutput struct {
	Body struct {
		Known     bool
		Principal auth.Principal
	}
}

func whoAmI(ctx context.Context, _ *struct{}) (*whoOutput, error) {
	out := &whoOutput{}
	out.Body.Principal, out.Body.Known = auth.From(ctx)
	return out, nil
}

type answer struct {
	status int
	cookie *http.Cookie
	all    []*http.Cookie
	header http.Header
	body   string
	json   map[string]any
	list   []map[string]any
}

// call sends a request; headers are pairs of name and value.
func (e *env) call(method, path, body string, headers ...string) answer {
	e.Helper()
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := e.app.Test(req, -1)
	if err != nil {
		e.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		e.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(raw)}
	if strings.HasPrefix(a.body, "[") {
		err = json.Unmarshal(raw, &a.list)
	} else {
		err = json.Unmarshal(raw, &a.json)
	}
	if err != nil {
		e.Fatalf("%s %s: got %d %q", method, path, res.StatusCode, raw)
	}
	if a.all = res.Cookies(); len(a.all) > 0 {
		a.cookie = a.all[0]
	}
	return a
}

func (a answer) code() string { code, _ := a.json["code"].(string); return code }

func cookieHeader(c *http.Cookie) string { return c.Name + "=" + c.Value }

func (e *env) signUp(email string) answer {
	e.Helper()
	a := e.call("POST", "/api/auth/sign-up/email", `{"name":"Ada","email":"`+email+`","password":"`+testPassword+`"}`)
	if a.status != 200 || a.cookie == nil {
		e.Fatalf("sign-up: got %d %s", a.status, a.body)
	}
	return a
}

func keys(t *testing.T, v any, want string) {
	t.Helper()
	object, _ := v.(map[string]any)
	for name := range strings.FieldsSeq(want) {
		if _, ok := object[name]; !ok {
			t.Errorf("%s is missing in %v", name, object)
		}
	}
	if n := len(strings.Fields(want)); len(object) != n {
		t.Errorf("got %d members in %v, want %s", len(object), object, want)
	}
}

const (
	userKeys    = "id name email emailVerified image twoFactorEnabled createdAt updatedAt"
	sessionKeys = "id userId token ipAddress userAgent createdAt updatedAt expiresAt"
)

func TestAccountFaults(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.signUp("ada@example.org")
	const up, in = "/api/auth/sign-up/email", "/api/auth/sign-in/email"
	sign := func(email, password, more string) string {
		return `{"email":"` + email + `","password":"` + password + `"` + more + `}`
	}
	name := `,"name":"A"`
	tests := []struct {
		name, path, body string
		status           int
		code             string
	}{
		{"taken", up, sign("ADA@example.org", testPassword, name), 422, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL"},
		{"no address", up, sign("ada", testPassword, name), 400, "INVALID_EMAIL"},
		{"a name in the address", up, sign("Ada <b@example.org>", testPassword, name), 400, "INVALID_EMAIL"},
		{"short", up, sign("b@example.org", "1234567", name), 400, "PASSWORD_TOO_SHORT"},
		{"short in characters", up, sign("b@example.org", "äöüäöü", name), 400, "PASSWORD_TOO_SHORT"},
		{"long", up, sign("b@example.org", strings.Repeat("a", 129), name), 400, "PASSWORD_TOO_LONG"},
		{"very long", up, sign("b@example.org", strings.Repeat("a", 1025), name), 422, "validation_failed"},
		{"long address", up, sign(strings.Repeat("a", 250)+"@example.org", testPassword, name), 422, "validation_failed"},
		{"long name", up, sign("b@example.org", testPassword, `,"name":"`+strings.Repeat("a", 129)+`"`), 422, "validation_failed"},
		{"no name", up, sign("b@example.org", testPassword, ""), 422, "validation_failed"},
		{"unknown field", up, sign("b@example.org", testPassword, name+`,"role":"admin"`), 422, "validation_failed"},
		{"sign-up callback", up, sign("b@example.org", testPassword, name+`,"callbackURL":"https://evil.example/"`), 403, "INVALID_CALLBACK_URL"},
		{"malformed", up, `{`, 400, "malformed_body"},
		{"wrong password", in, sign("ada@example.org", "wrong horse", ""), 401, "INVALID_EMAIL_OR_PASSWORD"},
		{"unknown user", in, sign("eve@example.org", testPassword, ""), 401, "INVALID_EMAIL_OR_PASSWORD"},
		{"empty password", in, sign("ada@example.org", "", ""), 401, "INVALID_EMAIL_OR_PASSWORD"},
		{"long password", in, sign("ada@example.org", strings.Repeat("a", 129), ""), 401, "INVALID_EMAIL_OR_PASSWORD"},
		{"bad address", in, sign("ada", testPassword, ""), 400, "INVALID_EMAIL"},
		{"open redirect", in, sign("ada@example.org", testPassword, `,"callbackURL":"//evil.example"`), 403, "INVALID_CALLBACK_URL"},
		{"script", in, sign("ada@example.org", testPassword, `,"callbackURL":"javascript:alert(1)"`), 403, "INVALID_CALLBACK_URL"},
		{"redirect", in, sign("ada@example.org", testPassword, `,"callbackURL":"/sim"`), 200, ""},
		{"trusted redirect", in, sign("ada@example.org", testPassword, `,"callbackURL":"https://app.example/x"`), 200, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := e.call("POST", test.path, test.body)
			if got.status != test.status || got.code() != test.code {
				t.Errorf("got %d %s, want %d %s", got.status, got.body, test.status, test.code)
			}
			if (got.cookie != nil) != (test.status == 200) {
				t.Errorf("got cookie %v with %d", got.cookie, test.status)
			}
			if message, _ := got.json["message"].(string); test.status != 200 && message == "" {
				t.Errorf("no message in %s", got.body)
			}
		})
	}
}
