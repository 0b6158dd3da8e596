package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// resetToken asks for a letter and returns its token.
func (e *env) resetToken(email string) string {
	e.Helper()
	b := e.browser()
	e.letters.take()
	b.want(b.post("/request-password-reset", map[string]string{"email": email}), 200, "")
	_, path := e.letter(email)
	return e.open(path).Query().Get("token")
}

// TestSignOutEverywhere ends what lets somebody in without a session: a trusted
// browser, links to choose a password, a change of the address under way.
func TestSignOutEverywhere(t *testing.T) {
	each(t, func(e *env) {
		owner := e.browser().signUp("ada@example.org")
		p, _ := owner.setUp()
		for name, signOut := range map[string]func(b *browser) answer{
			"sign-out everywhere": func(b *browser) answer { return b.post("/revoke-sessions", "{}") },
			"everywhere else":     func(b *browser) answer { return b.post("/revoke-other-sessions", "{}") },
			"another password": func(b *browser) answer {
				token := e.resetToken("ada@example.org")
				return b.post("/reset-password", map[string]string{"newPassword": testPassword, "token": token})
			},
		} {
			trusted := e.browser().challenged()
			trusted.want(trusted.post("/two-factor/verify-totp", map[string]any{"code": p.code(0), "trustDevice": true}), 200, "")
			e.later(2)
			token := e.resetToken("ada@example.org")
			e.letters.take()
			trusted.want(trusted.post("/change-email", `{"newEmail":"mallory@example.org"}`), 200, "")
			var confirm string
			if name != "everywhere else" { // who stays signed in may change the address
				sent := e.letters.take()
				if len(sent) != 1 {
					t.Fatalf("%s: letters %+v", name, sent)
				}
				confirm = link(sent[0].text)
			}
			trusted.want(signOut(trusted), 200, "")
			if confirm != "" {
				if got := e.open(confirm).Query().Get("error"); got != "INVALID_TOKEN" {
					t.Errorf("%s: a change of the address goes on: %q", name, got)
				}
			}
			b := e.browser()
			b.want(b.post("/reset-password", map[string]string{"newPassword": newPassword, "token": token}), 400, "INVALID_TOKEN")
			if name == "another password" { // which proved the address: no second factor is left
				b.want(b.signIn("ada@example.org", testPassword), 200, "")
				if b.user() == nil {
					t.Error("the second factor of an account whose address was not proven is still asked for")
				}
				p, _ = b.setUp()
				continue
			}
			delete(trusted.cookies, cookieName)
			trusted.challenged()
		}
	})
}

// TestSquattedAccount is made by somebody who has a password and an address
// that is another's. Its owner asks for a new password, and has it alone.
func TestSquattedAccount(t *testing.T) {
	each(t, func(e *env) {
		ctx := context.Background()
		squatter := e.browser().signUp("ada@example.org")
		userID := squatter.user()["id"].(string)
		k, _ := squatter.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		squatter.setUp()
		device := storetest.Client(t, e.db, userID)
		if err := e.db.SetPushSubscription(ctx, store.PushSubscription{
			DeviceID: device.ID, UserID: userID, Endpoint: "https://push.example.org/x", P256dh: "p", AuthSecret: "a", CreatedAt: storetest.Now(),
		}, store.Actor{}); err != nil {
			t.Fatal(err)
		}
		if err := e.db.CreateWebhook(ctx, store.Webhook{
			ID: storetest.ID(), UserID: userID, Name: "x", Kind: store.KindWebhook, URL: "https://hooks.example.org/x", Secret: "s",
			Enabled: true, CreatedAt: storetest.Now(), UpdatedAt: storetest.Now(),
		}, 9, store.Actor{}); err != nil {
			t.Fatal(err)
		}

		owner := e.browser()
		owner.want(owner.post("/reset-password",
			map[string]string{"newPassword": newPassword, "token": e.resetToken("ada@example.org")}), 200, "")
		if squatter.user() != nil {
			t.Error("the squatter is still signed in")
		}
		squatter.want(squatter.signInBy(k), 401, "PASSKEY_NOT_FOUND")
		owner.want(owner.signIn("ada@example.org", newPassword), 200, "")
		if u := owner.user(); u == nil || u["emailVerified"] != true || u["twoFactorEnabled"] != false {
			t.Fatalf("the owner is %v", u)
		}
		after, err := e.db.Device(ctx, userID, device.ID)
		if err != nil || after.TokenKeyID == device.TokenKeyID {
			t.Errorf("the squatter's device has kept its token: %v", err)
		}
		if _, err := e.db.PushSubscription(ctx, userID, device.ID); err == nil {
			t.Error("the squatter's browser is still told of what happens")
		}
		if hooks, err := e.db.Webhooks(ctx, userID, store.WebhookFilter{}, store.Page{}); err != nil || len(hooks) != 0 {
			t.Errorf("webhooks %v, %v", hooks, err)
		}

		// Whose address is proven keeps all that, whatever the password.
		k, _ = owner.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		again := e.browser()
		again.want(again.post("/reset-password",
			map[string]string{"newPassword": testPassword, "token": e.resetToken("ada@example.org")}), 200, "")
		again.want(again.signInBy(k), 200, "")
	})
}

// TestLinkOfTheAdministrator proves nothing about an address, and takes nothing
// away.
func TestLinkOfTheAdministrator(t *testing.T) {
	each(t, func(e *env) {
		user := e.browser().signUp("ada@example.org")
		k, _ := user.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		path, expires, err := e.service.ResetLink(context.Background(), user.user()["id"].(string), store.Actor{})
		if err != nil || time.Until(expires) < time.Minute {
			t.Fatal(expires, err)
		}
		b := e.browser()
		token := e.open(path).Query().Get("token")
		if token == "" {
			token = e.open(path).Fragment
		}
		b.want(b.post("/reset-password", map[string]string{"newPassword": newPassword, "token": token}), 200, "")
		b.want(b.signInBy(k), 200, "")
		if b.user()["emailVerified"] != false {
			t.Error("the address is verified by nothing")
		}
	})
}
