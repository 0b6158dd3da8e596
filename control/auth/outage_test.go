package auth_test

import (
	"testing"

	"github.com/securecam/securecam/store/storetest"
)

// TestDatabaseOutage cuts the server off its database and mends that.
func TestDatabaseOutage(t *testing.T) {
	t.Parallel()
	db, line := storetest.PostgresLine(t)
	e := newEnvOn(t, db)
	session := cookieHeader(e.signUp("ada@example.org").cookie)
	user := storetest.User(t, db)
	token, _, err := e.service.IssueDeviceToken(storetest.Camera(t, db, user.ID))
	if err != nil {
		t.Fatal(err)
	}
	calls := []struct {
		name, method, path, body string
		header                   string
		value                    string
		status                   int // without an outage
	}{
		{"session", "GET", "/session", "", "Cookie", session, 200},
		{"device", "GET", "/device", "", "Authorization", "Bearer " + token, 200},
		{"sign-in", "POST", "/api/auth/sign-in/email", `{"email":"ada@example.org","password":"` + testPassword + `"}`, "X-None", "", 200},
	}
	for range 2 {
		line.Cut()
		for _, c := range calls {
			a := e.call(c.method, c.path, c.body, c.header, c.value)
			if a.status != 503 || a.code() != "unavailable" || a.header.Get("Retry-After") == "" {
				t.Errorf("%s during the outage: %d %s, Retry-After %q", c.name, a.status, a.body, a.header.Get("Retry-After"))
			}
		}
		if a := e.call("GET", "/public", ""); a.status != 200 {
			t.Errorf("what needs no database: %d %s", a.status, a.body)
		}
		line.Mend()
		for _, c := range calls {
			if a := e.call(c.method, c.path, c.body, c.header, c.value); a.status != c.status {
				t.Errorf("%s after the outage: %d %s", c.name, a.status, a.body)
			}
		}
	}
}
