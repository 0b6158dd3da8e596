package auth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
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
		{
			"used daily", "true",
			[]time.Duration{day - time.Minute, day, day + time.Minute, 8*day - time.Minute, 14 * day},
			[]int{200, 200, 200, 200, 200},
			[]bool{false, true, false, true, true},
		},
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
			for i, at := range test.visits {
				e.offset.Store(int64(at + time.Second))
				got := e.call("GET", "/session", "", "Cookie", cookieHeader(up.cookie))
				if got.status != test.statuses[i] || (got.cookie != nil) != test.refreshed[i] {
					t.Errorf("after %v: got %d, cookie %v, want %d, refreshed %v",
						at, got.status, got.cookie, test.statuses[i], test.refreshed[i])
				}
			}
		})
	}
}
