package auth_test

import (
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
)

// phone is an authenticator app.
type phone struct {
	*env
	key *otp.Key
}

// code returns what the app shows so many steps from now.
func (p *phone) code(steps int) string {
	p.Helper()
	code, err := totp.GenerateCode(p.key.Secret(), p.now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		p.Fatal(err)
	}
	return code
}

// later moves the clock on by steps, to the middle of one.
func (e *env) later(steps int) {
	now := e.now()
	middle := now.Truncate(30 * time.Second).Add(time.Duration(steps)*30*time.Second + 15*time.Second)
	e.offset.Store(e.offset.Load() + int64(middle.Sub(now)))
}

// setUp makes the signed-in user use an authenticator app.
func (b *browser) setUp() (*phone, []string) {
	b.Helper()
	b.later(0)
	p, codes := b.propose()
	b.want(b.post("/two-factor/verify-totp", map[string]string{"code": p.code(0)}), 200, "")
	b.later(2) // so that the next code is another one
	return p, codes
}

func (b *browser) propose() (*phone, []string) {
	b.Helper()
	a := b.want(b.post("/two-factor/enable", `{"password":"`+testPassword+`"}`), 200, "")
	uri, _ := a.json["totpURI"].(string)
	key, err := otp.NewKeyFromURL(uri)
	if err != nil {
		b.Fatal(err)
	}
	if a.json["method"] != "totp" || key.Issuer() != "SecureCam" || key.AccountName() != "ada@example.org" || key.Period() != 30 {
		b.Errorf("got %s", a.body)
	}
	var codes []string
	list, _ := a.json["backupCodes"].([]any)
	for _, code := range list {
		codes = append(codes, code.(string))
	}
	if len(codes) != 10 || len(codes[0]) != 11 {
		b.Errorf("got backup codes %v", codes)
	}
	return &phone{b.env, key}, codes
}

func (b *browser) challenged() *browser {
	b.Helper()
	a := b.want(b.signIn("ada@example.org", testPassword), 200, "")
	methods, _ := a.json["twoFactorMethods"].([]any)
	if a.json["twoFactorRedirect"] != true || len(methods) != 1 || methods[0] != "totp" || a.json["token"] != nil || a.json["user"] != nil {
		b.Fatalf("got %s, want a question for the second factor", a.body)
	}
	if b.cookies[cookieName] != "" {
		b.Fatal("the password alone opened a session")
	}
	return b
}

func (b *browser) show(code string) answer {
	b.Helper()
	return b.post("/two-factor/verify-totp", map[string]string{"code": code})
}

func TestTwoFactor(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		b.want(b.post("/two-factor/enable", `{"password":"wrong horse"}`), 400, "INVALID_PASSWORD")
		b.want(b.post("/two-factor/enable", `{"password":"`+testPassword+`","method":"otp"}`), 400, "OTP_NOT_CONFIGURED")
		b.want(b.show("000000"), 400, "TOTP_NOT_ENABLED")
		e.later(0)
		p, _ := b.propose()
		// What is only proposed does not count yet.
		plain := e.browser()
		plain.want(plain.signIn("ada@example.org", testPassword), 200, "")
		if plain.user() == nil {
			t.Error("a proposed factor is asked for")
		}
		b.want(b.show("000000"), 401, "INVALID_CODE")
		old := b.cookies[cookieName]
		a := b.want(b.show(p.code(0)), 200, "")
		if b.cookies[cookieName] == old || a.json["token"] == "" || b.user()["twoFactorEnabled"] != true {
			t.Errorf("got %s and user %v", a.body, b.user())
		}
		b.want(b.post("/two-factor/enable", `{"password":"`+testPassword+`"}`), 400, "TOTP_ALREADY_ENABLED")
		uri := b.want(b.post("/two-factor/get-totp-uri", `{"password":"`+testPassword+`"}`), 200, "").json["totpURI"]
		if uri != p.key.URL() {
			t.Errorf("got URI %v, want %s", uri, p.key.URL())
		}

		e.later(2)
		in := e.browser().challenged()
		in.want(in.show("123"), 401, "INVALID_CODE")
		in.want(in.show(p.code(0)), 200, "")
		if in.user()["email"] != "ada@example.org" {
			t.Error("not signed in")
		}
		e.browser().want(e.browser().show(p.code(0)), 401, "INVALID_TWO_FACTOR_COOKIE")

		b.want(b.post("/two-factor/disable", `{"password":"wrong horse"}`), 400, "INVALID_PASSWORD")
		b.want(b.post("/two-factor/disable", `{"password":"`+testPassword+`"}`), 200, "")
		if b.user()["twoFactorEnabled"] != false {
			t.Error("still enabled")
		}
		again := e.browser()
		again.want(again.signIn("ada@example.org", testPassword), 200, "")
		if again.user() == nil {
			t.Error("a factor that is switched off is asked for")
		}
	})
}

func TestCodesCountOnce(t *testing.T) {
	each(t, func(e *env) {
		p, backup := e.browser().signUp("ada@example.org").setUp()
		for name, show := range map[string]func(b *browser) answer{
			"a code": func(b *browser) answer { return b.show(p.code(0)) },
			"a backup code": func(b *browser) answer {
				return b.post("/two-factor/verify-backup-code", map[string]string{"code": backup[0]})
			},
		} {
			var (
				wait   sync.WaitGroup
				opened atomic.Int32
				status [3]int
			)
			for i := range status {
				b := e.browser().challenged()
				wait.Go(func() {
					if status[i] = show(b).status; status[i] == 200 {
						opened.Add(1)
					}
				})
			}
			wait.Wait()
			if opened.Load() != 1 {
				t.Errorf("%s opened %d sessions: %v", name, opened.Load(), status)
			}
		}
		// After a code, an earlier one is a replay, even if it was never used.
		b := e.browser().challenged()
		b.want(b.show(p.code(-1)), 401, "INVALID_CODE")
		e.later(1)
		b.want(b.show(p.code(2)), 401, "INVALID_CODE") // of a clock that is a minute ahead
		b.want(b.show(p.code(1)), 200, "")
	})
}

func TestChallengeBounds(t *testing.T) {
	each(t, func(e *env) {
		p, _ := e.browser().signUp("ada@example.org").setUp()
		b := e.browser().challenged()
		for range 5 {
			b.want(b.show("000000"), 401, "INVALID_CODE")
		}
		b.want(b.show(p.code(0)), 400, "TOO_MANY_ATTEMPTS_REQUEST_NEW_CODE")
		b.want(b.show(p.code(0)), 401, "INVALID_TWO_FACTOR_COOKIE") // the cookie is gone
		// Ten wrong codes in a row lock the account, over all sign-ins.
		b.challenged()
		for range 4 {
			b.want(b.show("000000"), 401, "INVALID_CODE")
		}
		b.want(b.show("000000"), 401, "INVALID_CODE") // the tenth
		b = e.browser().challenged()
		a := b.want(b.show(p.code(0)), 429, "ACCOUNT_TEMPORARILY_LOCKED")
		if a.header.Get("Retry-After") != "900" {
			t.Errorf("got Retry-After %q", a.header.Get("Retry-After"))
		}
		e.offset.Store(e.offset.Load() + int64(15*time.Minute))
		e.later(1)
		b.want(b.show(p.code(0)), 401, "INVALID_TWO_FACTOR_COOKIE") // ten minutes are over
		b.challenged()
		b.want(b.show(p.code(0)), 200, "")
		// The password of a challenge that has changed since opens nothing.
		e.later(2)
		late := e.browser().challenged()
		b.want(b.post("/change-password", map[string]any{"currentPassword": testPassword, "newPassword": newPassword}), 200, "")
		late.want(late.show(p.code(0)), 401, "INVALID_TWO_FACTOR_COOKIE")
	})
}

func TestTrustedBrowser(t *testing.T) {
	each(t, func(e *env) {
		owner := e.browser().signUp("ada@example.org")
		p, _ := owner.setUp()
		b := e.browser().challenged()
		b.want(b.post("/two-factor/verify-totp", map[string]any{"code": p.code(0), "trustDevice": true}), 200, "")
		for range 2 {
			b.want(b.post("/sign-out", "{}"), 200, "")
			trust := b.cookies["better-auth.trust_device"]
			b.want(b.signIn("ada@example.org", testPassword), 200, "")
			if b.user() == nil || b.cookies["better-auth.trust_device"] == trust {
				t.Fatal("a trusted browser was not let in, or not with a new cookie")
			}
			stolen := e.browser()
			stolen.cookies["better-auth.trust_device"] = trust
			stolen.challenged()
		}
		// Another user of the browser is not trusted for that.
		eve := e.browser().signUp("eve@example.org")
		eve.cookies["better-auth.trust_device"] = b.cookies["better-auth.trust_device"]
		eve.want(eve.signIn("eve@example.org", testPassword), 200, "")
		b.want(b.post("/sign-out", "{}"), 200, "")
		e.offset.Store(e.offset.Load() + int64(30*24*time.Hour+time.Minute))
		b.challenged()
	})
}

func TestBackupCodes(t *testing.T) {
	each(t, func(e *env) {
		b := e.browser().signUp("ada@example.org")
		b.want(b.post("/two-factor/generate-backup-codes", `{"password":"`+testPassword+`"}`), 400, "TWO_FACTOR_NOT_ENABLED")
		_, old := b.setUp()
		a := b.want(b.post("/two-factor/generate-backup-codes", `{"password":"`+testPassword+`"}`), 200, "")
		fresh, _ := a.json["backupCodes"].([]any)
		if a.json["status"] != true || len(fresh) != 10 {
			t.Fatalf("got %s", a.body)
		}
		use := func(code string) answer {
			in := e.browser().challenged()
			return in.post("/two-factor/verify-backup-code", map[string]string{"code": code})
		}
		b.want(use(old[0]), 401, "INVALID_BACKUP_CODE")
		b.want(use(fresh[0].(string)), 200, "")
		b.want(use(fresh[0].(string)), 401, "INVALID_BACKUP_CODE")
		b.want(use(" "+fresh[1].(string)+" "), 200, "")
		if dump := dumpTwoFactors(e); strings.Contains(dump, fresh[2].(string)) {
			t.Error("backup codes are kept as they are")
		}
	})
}

// dumpTwoFactors returns what the database knows of the user's second factor.
func dumpTwoFactors(e *env) string {
	user, _, err := e.db.UserByEmail(e.Context(), "ada@example.org")
	if err != nil {
		e.Fatal(err)
	}
	f, err := e.db.TwoFactor(e.Context(), user.ID)
	if err != nil {
		e.Fatal(err)
	}
	return f.Secret
}

func TestSecretsAreSealed(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	p, _ := e.browser().signUp("ada@example.org").setUp()
	if strings.Contains(dumpTwoFactors(e), p.key.Secret()) || strings.Contains(e.log.String(), p.key.Secret()) {
		t.Error("the secret is in the database or the log")
	}
	if u, err := url.Parse(p.key.URL()); err != nil || u.Scheme != "otpauth" {
		t.Errorf("got %s, %v", p.key.URL(), err)
	}
}
