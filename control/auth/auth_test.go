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
	offset  atomic.Int64 // how far the clock was moved
	log     bytes.Buffer
}

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{T: t, db: storetest.SQLite(t)}
	logger := slog.New(slog.NewTextHandler(&e.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	service, err := auth.New(auth.Config{
		Store: e.db, Secret: []byte(testSecret), TrustedOrigins: []string{"https://app.example"}, Logger: logger,
		Now: func() time.Time { return time.Now().Add(time.Duration(e.offset.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
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
	header http.Header
	body   string
	json   map[string]any
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
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		e.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(raw)}
	if err := json.Unmarshal(raw, &a.json); err != nil {
		e.Fatalf("%s %s: got %d %q", method, path, res.StatusCode, raw)
	}
	if cookies := res.Cookies(); len(cookies) > 0 {
		a.cookie = cookies[0]
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
	userKeys    = "id name email emailVerified image createdAt updatedAt"
	sessionKeys = "id userId token ipAddress userAgent createdAt updatedAt expiresAt"
)

// TestAccountLife holds the shapes that Better Auth's client reads.
func TestAccountLife(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	up := e.signUp("Ada.L@Example.org")
	keys(t, up.json, "token user")
	keys(t, up.json["user"], userKeys)
	user, _ := up.json["user"].(map[string]any)
	if user["email"] != "ada.l@example.org" || user["emailVerified"] != false || user["image"] != nil {
		t.Errorf("got %v", user)
	}
	c := up.cookie
	if c.Name != cookieName || !c.HttpOnly || c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" ||
		c.MaxAge != 7*24*3600 || c.Domain != "" {
		t.Errorf("got cookie %+v", c)
	}
	token, _ := up.json["token"].(string)
	if !strings.HasPrefix(c.Value, token+".") || len(token) != 43 {
		t.Errorf("got cookie %q for token %q", c.Value, token)
	}

	session := e.call("GET", "/api/auth/get-session", "", "Cookie", "x=\"; "+cookieHeader(c), "User-Agent", "Test\xff/1")
	keys(t, session.json, "session user")
	keys(t, session.json["session"], sessionKeys)
	keys(t, session.json["user"], userKeys)
	if session.status != 200 || session.cookie != nil || session.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v %v", session.status, session.cookie, session.header)
	}

	in := e.call("POST", "/api/auth/sign-in/email", `{"email":"ADA.l@example.org","password":"`+testPassword+`"}`,
		"User-Agent", "Test\xff/1 "+strings.Repeat("é", 300))
	keys(t, in.json, "redirect token user")
	if in.status != 200 || in.json["redirect"] != false || in.cookie.Value == c.Value {
		t.Errorf("sign-in: got %d %s", in.status, in.body)
	}

	out := e.call("POST", "/api/auth/sign-out", `{}`, "Cookie", cookieHeader(c))
	if out.status != 200 || out.json["success"] != true || out.cookie.MaxAge >= 0 || out.cookie.Name != cookieName {
		t.Errorf("sign-out: got %d %s %+v", out.status, out.body, out.cookie)
	}
	gone := e.call("GET", "/api/auth/get-session", "", "Cookie", cookieHeader(c))
	if gone.status != 200 || strings.TrimSpace(gone.body) != "null" || gone.cookie == nil || gone.cookie.MaxAge >= 0 {
		t.Errorf("signed out: got %d %s %v, want null and the cookie deleted", gone.status, gone.body, gone.cookie)
	}
	other := e.call("GET", "/api/auth/get-session", "", "Cookie", cookieHeader(in.cookie))
	if other.json["user"] == nil {
		t.Error("signing out ended the user's other session")
	}
	again := e.call("POST", "/api/auth/sign-out", "", "Cookie", cookieHeader(c))
	if again.status != 200 {
		t.Errorf("a second sign-out: got %d %s", again.status, again.body)
	}
	none := e.call("GET", "/api/auth/get-session", "")
	if none.status != 200 || strings.TrimSpace(none.body) != "null" || none.cookie != nil {
		t.Errorf("no cookie: got %d %s %v", none.status, none.body, none.cookie)
	}
	if log := e.log.String(); strings.Contains(log, token) || strings.Contains(log, testPassword) {
		t.Error("a secret is in the log")
	}
}

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

func TestCookieBySchemeOfTheRequest(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.signUp("ada@example.org")
	in := e.call("POST", "/api/auth/sign-in/email", `{"email":"ada@example.org","password":"`+testPassword+`"}`,
		"X-Forwarded-Proto", "https")
	if in.cookie.Name != "__Secure-"+cookieName || !in.cookie.Secure {
		t.Errorf("got %+v", in.cookie)
	}
	secure := e.call("GET", "/session", "", "X-Forwarded-Proto", "https", "Cookie", cookieHeader(in.cookie))
	// A page on plain HTTP can plant the other cookie, so it does not count.
	planted := e.call("GET", "/session", "", "X-Forwarded-Proto", "https", "Cookie", cookieName+"="+in.cookie.Value)
	if secure.status != 200 || planted.status != 401 {
		t.Errorf("got %d for the secure cookie and %d for the other, want 200 and 401", secure.status, planted.status)
	}
}

func TestSessionAges(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name      string
		remember  string
		visits    []time.Duration // after sign-in
		statuses  []int
		refreshed []bool
	}{
		{"used daily", "true", []time.Duration{day - time.Minute, day, day + time.Minute, 8*day - time.Minute, 14 * day},
			[]int{200, 200, 200, 200, 200}, []bool{false, true, false, true, true}},
		{"forgotten", "true", []time.Duration{7 * day}, []int{401}, []bool{false}},
		{"not remembered", "false", []time.Duration{day - time.Minute, day}, []int{200, 401}, []bool{false, false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			up := e.call("POST", "/api/auth/sign-up/email",
				`{"name":"A","email":"a@example.org","password":"`+testPassword+`","rememberMe":`+test.remember+`}`)
			if lasting := up.cookie.MaxAge > 0; lasting != (test.remember == "true") {
				t.Errorf("got Max-Age %d", up.cookie.MaxAge)
			}
			start := time.Now()
			for i, at := range test.visits {
				e.offset.Store(int64(at - time.Since(start) + time.Second))
				got := e.call("GET", "/session", "", "Cookie", cookieHeader(up.cookie))
				if got.status != test.statuses[i] || (got.cookie != nil) != test.refreshed[i] {
					t.Errorf("after %v: got %d, cookie %v, want %d, refreshed %v",
						at, got.status, got.cookie, test.statuses[i], test.refreshed[i])
				}
			}
		})
	}
}
