package auth_test

import (
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

const newPassword = "battery staple"

// each runs a test on both databases.
func each(t *testing.T, f func(e *env)) {
	t.Helper()
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) { f(newEnvOn(t, db)) })
}

func TestSessionsAreListedAndRevoked(t *testing.T) {
	each(t, func(e *env) {
		first := e.browser("User-Agent", "one").signUp("ada@example.org")
		second, third := e.browser("User-Agent", "two"), e.browser("User-Agent", "three")
		second.want(second.signIn("ada@example.org", testPassword), 200, "")
		third.want(third.signIn("ada@example.org", testPassword), 200, "")
		stranger := e.browser().signUp("eve@example.org")

		list := first.want(first.get("/list-sessions"), 200, "").list
		if len(list) != 3 {
			t.Fatalf("got %v, want three sessions", list)
		}
		own, _ := first.get("/get-session").json["session"].(map[string]any)
		handles := map[string]string{}
		for _, s := range list {
			keys(e.T, s, sessionKeys)
			handles[s["userAgent"].(string)] = s["token"].(string)
		}
		if handles["one"] != own["token"] {
			t.Error("the current session is not to be found by its token")
		}
		// What is listed ends sessions, and opens none.
		for agent, handle := range handles {
			if b := e.browser(); agent != "one" {
				b.cookies[cookieName] = handle
				if b.user() != nil {
					t.Errorf("the handle of %s is a token", agent)
				}
			}
		}
		stranger.want(stranger.post("/revoke-session", map[string]string{"token": handles["two"]}), 200, "")
		stranger.want(stranger.post("/revoke-session", map[string]string{"token": handles["one"]}), 200, "")
		if second.user() == nil || first.user() == nil {
			t.Fatal("a stranger ended a session")
		}
		first.want(first.post("/revoke-session", map[string]string{"token": handles["two"]}), 200, "")
		if second.user() != nil || third.user() == nil {
			t.Error("revoking the second session did not end that alone")
		}
		first.want(first.post("/revoke-other-sessions", "{}"), 200, "")
		if third.user() != nil || first.user() == nil {
			t.Error("revoking the other sessions did not end those alone")
		}
		first.want(first.post("/revoke-sessions", ""), 200, "")
		if first.user() != nil || stranger.user() == nil {
			t.Error("revoking all sessions did not end one's own alone")
		}
		first.want(first.get("/list-sessions"), 401, "unauthenticated")
	})
}

func TestChangePassword(t *testing.T) {
	each(t, func(e *env) {
		first, second := e.browser().signUp("ada@example.org"), e.browser()
		second.want(second.signIn("ada@example.org", testPassword), 200, "")
		change := func(current, next string, revoke bool) answer {
			return first.post("/change-password", map[string]any{
				"currentPassword": current, "newPassword": next, "revokeOtherSessions": revoke,
			})
		}
		first.want(change("wrong horse", newPassword, false), 400, "INVALID_PASSWORD")
		first.want(change(testPassword, "short", false), 400, "PASSWORD_TOO_SHORT")
		a := first.want(change(testPassword, newPassword, false), 200, "")
		if a.json["token"] != nil || second.user() == nil {
			t.Error("others were signed out though nobody asked for that")
		}
		before := first.cookies[cookieName]
		a = first.want(change(newPassword, testPassword, true), 200, "")
		if a.json["token"] == nil || first.cookies[cookieName] == before || first.user() == nil || second.user() != nil {
			t.Errorf("got %s; want a new session here and no other", a.body)
		}
		keys(e.T, a.json["user"], userKeys)
		second.want(second.signIn("ada@example.org", newPassword), 401, "INVALID_EMAIL_OR_PASSWORD")
		second.want(second.signIn("ada@example.org", testPassword), 200, "")
		if sent := e.letters.take(); len(sent) != 2 {
			t.Errorf("got letters %v, want one for each change", sent)
		}
	})
}

func TestUpdateUser(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		b.want(b.post("/update-user", `{"name":"Ada L.","image":"https://example.org/a.png"}`), 200, "")
		if u := b.user(); u["name"] != "Ada L." || u["image"] != "https://example.org/a.png" {
			t.Errorf("got %v", u)
		}
		b.want(b.post("/update-user", `{"image":""}`), 200, "")
		if u := b.user(); u["name"] != "Ada L." || u["image"] != nil {
			t.Errorf("got %v", u)
		}
		b.want(b.post("/update-user", `{}`), 400, "NO_FIELDS_TO_UPDATE")
		b.want(b.post("/update-user", `{"email":"eve@example.org"}`), 422, "validation_failed")
		b.want(b.post("/update-user", `{"twoFactorEnabled":true}`), 422, "validation_failed")
		accounts := b.want(b.get("/list-accounts"), 200, "").list
		if len(accounts) != 1 || accounts[0]["providerId"] != "credential" {
			t.Errorf("got accounts %v", accounts)
		}
	})
}

func TestDeleteUser(t *testing.T) {
	each(t, func(e *env) {
		b, other := e.browser().signUp("ada@example.org"), e.browser()
		other.want(other.signIn("ada@example.org", testPassword), 200, "")
		userID := b.user()["id"].(string)
		camera := storetest.Camera(t, e.db, userID)
		token, _, err := e.service.IssueDeviceToken(camera)
		if err != nil {
			t.Fatal(err)
		}
		b.want(b.post("/delete-user", `{"password":"wrong horse"}`), 400, "INVALID_PASSWORD")
		e.offset.Store(int64(25 * time.Hour))
		b.want(b.post("/delete-user", `{}`), 400, "SESSION_EXPIRED")
		a := b.want(b.post("/delete-user", `{"password":"`+testPassword+`"}`), 200, "")
		if a.json["success"] != true || a.json["message"] != "User deleted" {
			t.Errorf("got %s", a.body)
		}
		if b.cookies[cookieName] != "" || b.user() != nil || other.user() != nil {
			t.Error("a deleted user is signed in")
		}
		if got := e.call("GET", "/device", "", "Authorization", "Bearer "+token); got.status != 401 {
			t.Errorf("the camera of a deleted user gets %d", got.status)
		}
		if e.deleted.Load() != 1 {
			t.Errorf("told of %d users", e.deleted.Load())
		}
		b.want(b.signIn("ada@example.org", testPassword), 401, "INVALID_EMAIL_OR_PASSWORD")
		again := e.browser().signUp("ada@example.org")
		if again.user()["id"] == userID {
			t.Error("the deleted user came back")
		}
		if err := e.service.DeleteUser(t.Context(), userID, store.Actor{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleting twice: got %v", err)
		}
		late := store.Session{ID: storetest.ID(), UserID: userID}
		if err := e.db.CreateSession(t.Context(), late, store.Actor{}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a session of a deleted user: got %v", err)
		}
	})
}

// TestDeleteUserByLetter is for whoever signed in long ago and has forgotten the
// password.
func TestDeleteUserByLetter(t *testing.T) {
	each(t, func(e *env) {
		e = newEnvOn(t, e.db, func(c *auth.Config) { c.VerifyNewUsers = true })
		b, eve := e.browser().signUp("ada@example.org"), e.browser().signUp("eve@example.org")
		e.offset.Store(int64(25 * time.Hour))
		e.letters.take()
		b.want(b.post("/delete-user", `{"callbackURL":"https://evil.example"}`), 403, "INVALID_CALLBACK_URL")
		a := b.want(b.post("/delete-user", `{"callbackURL":"/sim#/bye"}`), 200, "")
		if a.json["message"] != "Verification email sent" || b.user() == nil {
			t.Errorf("got %s", a.body)
		}
		_, path := e.letter("ada@example.org")
		if got := e.call("GET", path, ""); got.status != 401 || b.user() == nil {
			t.Errorf("without a session: got %d", got.status)
		}
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		eve.want(eve.send("GET", path, ""), 404, "INVALID_TOKEN")
		eve.want(eve.post("/delete-user", map[string]string{"token": u.Query().Get("token")}), 404, "INVALID_TOKEN")
		// Signing out everywhere ends that, too.
		b.want(b.post("/revoke-other-sessions", "{}"), 200, "")
		b.want(b.send("GET", path, ""), 404, "INVALID_TOKEN")
		b.want(b.post("/delete-user", `{"callbackURL":"/sim#/bye"}`), 200, "")
		_, path = e.letter("ada@example.org")
		a = b.send("GET", path, "")
		if a.status != 302 || a.header.Get("Location") != "/sim#/bye" || b.cookies[cookieName] != "" || b.user() != nil {
			t.Errorf("got %d %v", a.status, a.header)
		}
		if eve.user() == nil {
			t.Error("another user is gone")
		}
	})
}

// TestPasswordChangedDuringSignIn holds that the old password opens nothing
// once the new one holds, however the two requests interleave.
func TestPasswordChangedDuringSignIn(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		userID := b.user()["id"].(string)
		hash, err := e.db.PasswordHash(t.Context(), userID)
		if err != nil {
			t.Fatal(err)
		}
		b.want(b.post("/change-password", map[string]any{
			"currentPassword": testPassword, "newPassword": newPassword, "revokeOtherSessions": true,
		}), 200, "")
		session := store.Session{
			ID: storetest.ID(), UserID: userID, TokenSHA256: []byte("late"), CreatedAt: storetest.Now(), ExpiresAt: storetest.Now(),
		}
		if err := e.db.CreateSessionByPassword(t.Context(), session, hash, store.Actor{}); !errors.Is(err, store.ErrConflict) {
			t.Errorf("got %v, want a conflict", err)
		}
	})
}

func TestAddressMustBeVerifiedWhereThatIsRequired(t *testing.T) {
	t.Parallel()
	e := newEnvOn(t, storetest.SQLite(t), func(c *auth.Config) { c.RequireVerified = true })
	up := `{"name":"Ada","email":"ada@example.org","password":"` + testPassword + `"}`
	b := e.browser()
	a := b.want(b.post("/sign-up/email", up), 200, "")
	if a.json["token"] != nil || len(b.cookies) != 0 {
		t.Fatalf("got %s and a session", a.body)
	}
	_, path := e.letter("ada@example.org")
	again := b.want(b.post("/sign-up/email", up), 200, "")
	keys(t, again.json["user"], userKeys)
	if again.json["token"] != nil || len(e.letters.take()) != 0 {
		t.Errorf("a second sign-up tells that there is an account: %s", again.body)
	}
	b.want(b.signIn("ada@example.org", "wrong horse"), 401, "INVALID_EMAIL_OR_PASSWORD")
	b.want(b.signIn("ada@example.org", testPassword), 403, "EMAIL_NOT_VERIFIED")
	e.letter("ada@example.org")
	if a := e.call("GET", path, ""); a.status != 302 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	b.want(b.signIn("ada@example.org", testPassword), 200, "")
}

// TestTenThousandRegistrations has ten thousand people sign up at once. Each
// gets an account or is told to come back, and what was granted is there.
func TestTenThousandRegistrations(t *testing.T) {
	t.Parallel()
	const people = 10_000
	e := newEnv(t)
	var (
		wait            sync.WaitGroup
		granted, denied atomic.Int32
		begin           = make(chan struct{})
	)
	for i := range people {
		wait.Go(func() {
			<-begin
			_, err := e.service.CreateUser(t.Context(), fmt.Sprintf("ada%d@example.org", i), "Ada", testPassword)
			var refused *fault.Error
			switch {
			case err == nil:
				granted.Add(1)
			case errors.As(err, &refused) && refused.Kind == fault.TooMany && refused.Code == "busy":
				denied.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	close(begin)
	wait.Wait()
	there := 0
	for i := range people {
		if _, _, err := e.db.UserByEmail(t.Context(), fmt.Sprintf("ada%d@example.org", i)); err == nil {
			there++
		}
	}
	t.Logf("%d accounts, %d asked to come back", granted.Load(), denied.Load())
	if there != int(granted.Load()) || there == 0 || granted.Load()+denied.Load() != people {
		t.Errorf("%d accounts are there", there)
	}
}
