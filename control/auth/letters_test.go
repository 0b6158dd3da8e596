package auth_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store/storetest"
)

const forgotten = "If this email exists in our system, check your email for the reset link"

// open follows the link of a letter, as a browser without cookies does, and
// returns where it leads.
func (e *env) open(path string) *url.URL {
	e.Helper()
	a := e.call("GET", path, "")
	if a.status != 302 {
		e.Fatalf("GET %s: got %d %s", path, a.status, a.body)
	}
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		e.Fatal(err)
	}
	return u
}

func TestResetPassword(t *testing.T) {
	each(t, func(e *env) {
		signedIn := e.browser().signUp("ada@example.org")
		b := e.browser()
		a := b.want(b.post("/request-password-reset", `{"email":"Ada@example.org","redirectTo":"/sim?x=1#/reset"}`), 200, "")
		if a.json["message"] != forgotten || a.json["status"] != true {
			t.Errorf("got %s", a.body)
		}
		_, path := e.letter("ada@example.org")
		// Opening the link twice does not use it up: mail scanners do.
		e.open(path)
		to := e.open(path)
		token := to.Query().Get("token")
		if to.Path != "/sim" || to.Query().Get("x") != "1" || to.Fragment != "/reset" || token == "" {
			t.Fatalf("the link leads to %s", to)
		}
		reset := func(password, token string) answer {
			return b.post("/reset-password", map[string]string{"newPassword": password, "token": token})
		}
		b.want(reset("short", token), 400, "PASSWORD_TOO_SHORT")
		b.want(reset(newPassword, token+"x"), 400, "INVALID_TOKEN")
		b.want(reset(newPassword, ""), 400, "INVALID_TOKEN")
		b.want(reset(newPassword, token), 200, "")
		b.want(reset(testPassword, token), 400, "INVALID_TOKEN")
		if signedIn.user() != nil {
			t.Error("who was signed in by the old password still is")
		}
		b.want(b.signIn("ada@example.org", testPassword), 401, "INVALID_EMAIL_OR_PASSWORD")
		b.want(b.signIn("ada@example.org", newPassword), 200, "")
		if b.user()["emailVerified"] != true {
			t.Error("who reads the letters of an address has not verified it")
		}
		if got := e.open(path).Query().Get("error"); got != "INVALID_TOKEN" {
			t.Errorf("the used link leads on with %q", got)
		}
	})
}

func TestResetTokenIsUsedOnce(t *testing.T) {
	each(t, func(e *env) {
		e.browser().signUp("ada@example.org")
		b := e.browser()
		b.want(b.post("/forget-password", `{"email":"ada@example.org"}`), 200, "")
		_, path := e.letter("ada@example.org")
		token := e.open(path).Query().Get("token")
		var (
			wait sync.WaitGroup
			done atomic.Int32
		)
		for range 4 {
			wait.Go(func() {
				if e.browser().post("/reset-password?token="+token, `{"newPassword":"`+newPassword+`"}`).status == 200 {
					done.Add(1)
				}
			})
		}
		wait.Wait()
		if done.Load() != 1 {
			t.Errorf("the token was used %d times", done.Load())
		}
	})
}

func TestResetTokensEnd(t *testing.T) {
	each(t, func(e *env) {
		signedIn, b := e.browser().signUp("ada@example.org"), e.browser()
		ask := func() string {
			b.want(b.post("/request-password-reset", `{"email":"ada@example.org"}`), 200, "")
			_, path := e.letter("ada@example.org")
			return e.open(path).Query().Get("token")
		}
		use := func(token string) answer {
			return b.post("/reset-password", map[string]string{"newPassword": newPassword, "token": token})
		}
		token := ask()
		e.offset.Store(int64(time.Hour))
		b.want(use(token), 400, "INVALID_TOKEN")
		// A change of the password ends what was asked for before.
		token = ask()
		signedIn.want(signedIn.post("/change-password",
			map[string]any{"currentPassword": testPassword, "newPassword": newPassword}), 200, "")
		b.want(use(token), 400, "INVALID_TOKEN")
		e.letters.take()
		// So does a change of the address: who reads the old one's letters may be
		// why.
		token = ask()
		signedIn.want(signedIn.post("/change-email", `{"newEmail":"new@example.org"}`), 200, "")
		_, confirm := e.letter("new@example.org")
		e.open(confirm)
		b.want(use(token), 400, "INVALID_TOKEN")
		signedIn.want(signedIn.post("/change-email", `{"newEmail":"ada@example.org"}`), 200, "")
		_, agree := e.letter("new@example.org")
		e.open(agree)
		_, confirm = e.letter("ada@example.org")
		e.open(confirm)
		token = ask()
		signedIn.want(signedIn.post("/delete-user", `{"password":"`+newPassword+`"}`), 200, "")
		b.want(use(token), 400, "INVALID_TOKEN")
	})
}

// TestUnknownAddressesAreNotTold asks the same of an address with an account
// and of one without.
func TestUnknownAddressesAreNotTold(t *testing.T) {
	each(t, func(e *env) {
		e.browser().signUp("ada@example.org")
		b := e.browser()
		for path, body := range map[string]string{
			"/request-password-reset":  `{"email":"ADDRESS"}`,
			"/send-verification-email": `{"email":"ADDRESS"}`,
			"/sign-in/email":           `{"email":"ADDRESS","password":"wrong horse"}`,
		} {
			known := b.post(path, strings.Replace(body, "ADDRESS", "ada@example.org", 1))
			unknown := b.post(path, strings.Replace(body, "ADDRESS", "eve@example.org", 1))
			if known.status != unknown.status || known.body != unknown.body {
				t.Errorf("%s: got %d %s and %d %s", path, known.status, known.body, unknown.status, unknown.body)
			}
		}
		for _, l := range e.letters.take() {
			if l.to != "ada@example.org" {
				t.Errorf("a letter went to %s", l.to)
			}
		}
	})
}

func TestVerifyEmail(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		b.want(b.post("/send-verification-email", `{"email":"eve@example.org"}`), 400, "EMAIL_MISMATCH")
		b.want(b.post("/send-verification-email", `{"email":"ada@example.org","callbackURL":"/sim#/account"}`), 200, "")
		_, path := e.letter("ada@example.org")
		for range 2 {
			if to := e.open(path); to.String() != "/sim#/account" {
				t.Errorf("the link leads to %s", to)
			}
		}
		if b.user()["emailVerified"] != true {
			t.Error("the address is not verified")
		}
		b.want(b.post("/send-verification-email", `{"email":"ada@example.org"}`), 400, "EMAIL_ALREADY_VERIFIED")
		b.want(e.browser().get("/verify-email?token=forged"), 400, "INVALID_TOKEN")
		if to := e.open("/api/auth/verify-email?token=forged&callbackURL=/sim"); to.Query().Get("error") != "INVALID_TOKEN" {
			t.Errorf("a forged link leads to %s", to)
		}

		late := e.browser().signUp("late@example.org")
		late.want(e.browser().post("/send-verification-email", `{"email":"late@example.org"}`), 200, "")
		_, path = e.letter("late@example.org")
		e.offset.Store(int64(time.Hour))
		if to := e.open(path); to.Query().Get("error") != "TOKEN_EXPIRED" {
			t.Errorf("a late link leads to %s", to)
		}
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		// A program that names no page is told by the status.
		late.want(late.get("/verify-email?token="+u.Query().Get("token")), 401, "TOKEN_EXPIRED")
	})
}

func TestChangeEmail(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		e.browser().signUp("eve@example.org")
		b.want(b.post("/change-email", `{"newEmail":"ada@example.org"}`), 400, "EMAIL_IS_THE_SAME")
		b.want(b.post("/change-email", `{"newEmail":"Eve@example.org"}`), 200, "")
		if sent := e.letters.take(); len(sent) != 0 {
			t.Fatalf("got letters %v about a taken address", sent)
		}
		// An address that is not verified has nothing to say.
		b.want(b.post("/change-email", `{"newEmail":"new@example.org"}`), 200, "")
		_, first := e.letter("new@example.org")
		e.open(first)
		if u := b.user(); u["email"] != "new@example.org" || u["emailVerified"] != true {
			t.Fatalf("got %v", u)
		}
		// A verified one has to agree.
		b.want(b.post("/change-email", `{"newEmail":"third@example.org"}`), 200, "")
		_, confirm := e.letter("new@example.org")
		e.open(confirm)
		if u := b.user(); u["email"] != "new@example.org" {
			t.Fatalf("got %v before the new address was asked", u)
		}
		_, second := e.letter("third@example.org")
		e.open(second)
		if u := b.user(); u["email"] != "third@example.org" {
			t.Fatalf("got %v", u)
		}
		// Old links move nothing, and say nothing when all is as they want it.
		if to := e.open(second); to.Query().Get("error") != "" {
			t.Errorf("opened again, the link leads to %s", to)
		}
		if to := e.open(first); to.Query().Get("error") != "INVALID_TOKEN" {
			t.Errorf("an old link leads to %s", to)
		}
		// An address that somebody took meanwhile stays theirs.
		b.want(b.post("/change-email", `{"newEmail":"fourth@example.org"}`), 200, "")
		_, confirm = e.letter("third@example.org")
		e.open(confirm)
		_, last := e.letter("fourth@example.org")
		e.browser().signUp("fourth@example.org")
		if to := e.open(last); to.Query().Get("error") != "INVALID_TOKEN" || b.user()["email"] != "third@example.org" {
			t.Errorf("the link leads to %s, and the address is %v", to, b.user()["email"])
		}
	})
}

// TestLettersLeadHome asks for letters with a forged host, and with pages of
// others to lead to.
func TestLettersLeadHome(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.signUp("ada@example.org")
	b := e.browser("X-Forwarded-Host", "evil.example")
	b.want(b.post("/request-password-reset", `{"email":"ada@example.org","redirectTo":"http://evil.example/"}`), 200, "")
	letter, path := e.letter("ada@example.org")
	if got := linkPattern.FindString(letter.text); !strings.HasPrefix(got, "http://example.com/api/auth/reset-password/") {
		t.Errorf("the letter leads to %s", got)
	}
	if a := e.call("GET", path, ""); a.status != 403 || a.code() != "INVALID_CALLBACK_URL" {
		t.Errorf("the link leads on to %d %s", a.status, a.header.Get("Location"))
	}
	for _, target := range []string{
		"https://evil.example", "//evil.example", `/\evil.example`, "/\t/evil.example", "javascript:alert(1)", "http://example.com@evil.example/",
		"http://example.com.evil.example/", `http://example.com\@evil.example`, "evil", "http://evil.example?x=http://example.com",
	} {
		own := e.browser()
		body := map[string]string{"email": "ada@example.org", "redirectTo": target}
		own.want(own.post("/request-password-reset", body), 403, "INVALID_REDIRECT_URL")
	}
	for _, target := range []string{"/sim", "/", "http://example.com/x", "http://EXAMPLE.com", "https://app.example?x#y", ""} {
		own := e.browser()
		own.want(own.post("/request-password-reset", map[string]string{"email": "ada@example.org", "redirectTo": target}), 200, "")
	}
}

// attempts allows three of each kind and is told what to forget.
type attempts struct {
	mu     sync.Mutex
	counts map[string]int
}

func (a *attempts) Take(_ context.Context, kind, key string) (func(context.Context), error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.counts[kind+key]++; a.counts[kind+key] > 3 {
		return nil, fault.New(fault.TooMany, "rate_limited", "Too many.")
	}
	return func(context.Context) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.counts[kind+key]--
	}, nil
}

func (a *attempts) Forget(_ context.Context, kind, key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.counts, kind+key)
}

func TestAttemptsAreLimited(t *testing.T) {
	t.Parallel()
	counted := &attempts{counts: map[string]int{}}
	e := newEnvOn(t, storetest.SQLite(t), func(c *auth.Config) { c.Attempts = counted })
	e.signUp("ada@example.org")
	from := func(n int) *browser { return e.browser("X-Forwarded-For", fmt.Sprintf("192.0.2.%d", n)) }
	// What succeeds does not count.
	for range 5 {
		b := from(1)
		b.want(b.signIn("ada@example.org", testPassword), 200, "")
	}
	// Of an account, from wherever; unknown ones as well.
	for _, email := range []string{"ada@example.org", "nobody@example.org"} {
		for i := range 4 {
			b, code := from(10+i), "INVALID_EMAIL_OR_PASSWORD"
			if i == 3 {
				code = "rate_limited"
			}
			if a := b.signIn(email, "wrong horse"); a.code() != code {
				t.Errorf("%s, try %d: got %s", email, i, a.body)
			}
		}
	}
	// Of an address, whoever it says it is.
	for i := range 4 {
		b := from(50)
		if a := b.signIn(fmt.Sprintf("user%d@example.org", i), "wrong horse"); (a.status == 429) != (i == 3) {
			t.Errorf("try %d of an address: got %s", i, a.body)
		}
	}
	b := from(60)
	b.want(b.signIn("ada@example.org", testPassword), 429, "rate_limited")
	// A letter is the way out.
	b.want(b.post("/request-password-reset", `{"email":"ada@example.org"}`), 200, "")
	_, path := e.letter("ada@example.org")
	b.want(b.post("/reset-password", map[string]string{"newPassword": newPassword, "token": e.open(path).Query().Get("token")}), 200, "")
	b.want(b.signIn("ada@example.org", newPassword), 200, "")
	// Letters are limited, too.
	for i := range 3 {
		if a := from(70+i).post("/request-password-reset", `{"email":"ada@example.org"}`); (a.status == 429) != (i == 2) {
			t.Errorf("letter %d: got %s", i, a.body)
		}
	}
}
