package auth_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// rp is the server as a browser at http://example.com sees it.
func rp() virtualwebauthn.RelyingParty {
	return virtualwebauthn.RelyingParty{ID: "example.com", Name: "SecureCam", Origin: "http://example.com"}
}

// key is a security key with one credential.
type key struct {
	authenticator virtualwebauthn.Authenticator
	credential    virtualwebauthn.Credential
}

// newCredential returns one whose public key is written in full. The library
// leaves out leading zeros, which one key in 128 has, and which RFC 9053, section
// 7.1.1, wants to be there: no server takes such a key.
func newCredential() virtualwebauthn.Credential {
	const full = 77 // bytes of a COSE key with two coordinates of 32
	for {
		c := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		if len(c.Key.AttestationData()) == full {
			return c
		}
	}
}

// attest answers a registration that b began.
func (b *browser) attest(k *key, party virtualwebauthn.RelyingParty) json.RawMessage {
	b.Helper()
	a := b.want(b.get("/passkey/generate-register-options"), 200, "")
	options, err := virtualwebauthn.ParseAttestationOptions(a.body)
	if err != nil {
		b.Fatalf("%v in %s", err, a.body)
	}
	if options.RelyingPartyID != "example.com" || options.UserName == "" || options.UserID == "" {
		b.Errorf("got %s", a.body)
	}
	k.authenticator.Options.UserHandle = []byte(options.UserID)
	return withoutExtensions(b, virtualwebauthn.CreateAttestationResponse(party, k.authenticator, k.credential, *options))
}

// withoutExtensions is what Better Auth's client does to a response.
func withoutExtensions(b *browser, response string) json.RawMessage {
	b.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(response), &fields); err != nil {
		b.Fatal(err)
	}
	delete(fields, "clientExtensionResults")
	raw, err := json.Marshal(fields)
	if err != nil {
		b.Fatal(err)
	}
	return raw
}

func (b *browser) addPasskey(options virtualwebauthn.AuthenticatorOptions) (*key, map[string]any) {
	b.Helper()
	k := &key{virtualwebauthn.NewAuthenticatorWithOptions(options), newCredential()}
	a := b.want(b.post("/passkey/verify-registration", map[string]any{"response": b.attest(k, rp()), "name": "Key"}), 200, "")
	keys(b.T, a.json, "id name userId publicKey credentialID counter deviceType backedUp transports aaguid createdAt")
	k.authenticator.AddCredential(k.credential)
	return k, a.json
}

// assert answers a sign-in that b began.
func (b *browser) assert(k *key, party virtualwebauthn.RelyingParty) json.RawMessage {
	b.Helper()
	a := b.want(b.get("/passkey/generate-authenticate-options"), 200, "")
	options, err := virtualwebauthn.ParseAssertionOptions(a.body)
	if err != nil {
		b.Fatalf("%v in %s", err, a.body)
	}
	k.credential.Counter++
	return withoutExtensions(b, virtualwebauthn.CreateAssertionResponse(party, k.authenticator, k.credential, *options))
}

func (b *browser) signInBy(k *key) answer {
	b.Helper()
	return b.post("/passkey/verify-authentication", map[string]any{"response": b.assert(k, rp())})
}

func TestPasskeys(t *testing.T) {
	each(t, func(e *env) {
		owner, eve := e.browser().signUp("ada@example.org"), e.browser().signUp("eve@example.org")
		k, made := owner.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		id := made["id"].(string)
		b := e.browser()
		a := b.want(b.signInBy(k), 200, "")
		keys(t, a.json["session"], sessionKeys)
		keys(t, a.json["user"], userKeys)
		if b.user()["email"] != "ada@example.org" {
			t.Errorf("signed in as %v", b.user())
		}
		// An older key does not say whose it is.
		k.authenticator.Options.UserHandle = nil
		b.want(e.browser().signInBy(k), 200, "")

		list := owner.want(owner.get("/passkey/list-user-passkeys"), 200, "").list
		if len(list) != 1 || list[0]["id"] != id || list[0]["name"] != "Key" || list[0]["counter"] != 2.0 || list[0]["lastUsedAt"] == nil {
			t.Errorf("got %v", list)
		}
		if list := eve.want(eve.get("/passkey/list-user-passkeys"), 200, "").list; len(list) != 0 {
			t.Errorf("a stranger sees %v", list)
		}
		rename := map[string]string{"id": id, "name": "Eve's"}
		eve.want(eve.post("/passkey/update-passkey", rename), 404, "PASSKEY_NOT_FOUND")
		eve.want(eve.post("/passkey/delete-passkey", map[string]string{"id": id}), 404, "PASSKEY_NOT_FOUND")
		renamed := owner.want(owner.post("/passkey/update-passkey", map[string]string{"id": id, "name": " Desk "}), 200, "")
		if passkey, _ := renamed.json["passkey"].(map[string]any); passkey["name"] != "Desk" {
			t.Errorf("got %s", renamed.body)
		}
		owner.want(owner.post("/passkey/delete-passkey", map[string]string{"id": id}), 200, "")
		b.want(e.browser().signInBy(k), 401, "PASSKEY_NOT_FOUND")
	})
}

func TestPasskeyOfDisabledUser(t *testing.T) {
	each(t, func(e *env) {
		owner := e.browser().signUp("ada@example.org")
		k, _ := owner.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		id, _ := owner.user()["id"].(string)
		if err := e.db.SetUserDisabled(t.Context(), id, true, store.Actor{}); err != nil {
			t.Fatal(err)
		}
		b := e.browser()
		b.want(b.signInBy(k), 403, "account_disabled")
	})
}

// TestPasskeyOfUnverifiedAddress has a user whose account is older than the
// rule that addresses must be verified.
func TestPasskeyOfUnverifiedAddress(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	k, _ := newEnvOn(t, db).browser().signUp("ada@example.org").addPasskey(virtualwebauthn.AuthenticatorOptions{})
	e := newEnvOn(t, db, func(c *auth.Config) { c.RequireVerified = true })
	b := e.browser()
	b.want(b.signInBy(k), 403, "EMAIL_NOT_VERIFIED")
	if b.cookies["better-auth.session_token"] != "" {
		t.Error("there is a session")
	}
	_, path := e.letter("ada@example.org")
	if a := e.call("GET", path, ""); a.status != 302 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	b.want(b.signInBy(k), 200, "")
}

func TestPasskeyAttacks(t *testing.T) {
	each(t, func(e *env) {
		owner := e.browser().signUp("ada@example.org")
		k, _ := owner.addPasskey(virtualwebauthn.AuthenticatorOptions{})
		verify := func(b *browser, response json.RawMessage) answer {
			return b.post("/passkey/verify-authentication", map[string]any{"response": response})
		}

		// The same answer twice, and an answer to somebody else's question.
		b := e.browser()
		response := b.assert(k, rp())
		cookie := b.cookies["better-auth.better-auth-passkey"]
		b.want(verify(b, response), 200, "")
		b = e.browser()
		b.want(verify(b, response), 400, "CHALLENGE_NOT_FOUND")
		b.cookies["better-auth.better-auth-passkey"] = cookie
		b.want(verify(b, response), 400, "CHALLENGE_NOT_FOUND")
		b.get("/passkey/generate-authenticate-options")
		b.want(verify(b, response), 401, "AUTHENTICATION_FAILED")

		// A page that only looks like ours.
		b = e.browser()
		phished := rp()
		phished.Origin = "http://example.com.evil.example"
		b.want(verify(b, b.assert(k, phished)), 401, "AUTHENTICATION_FAILED")

		// A copy of the key, whose counter is behind.
		k.credential.Counter = 0
		b.want(e.browser().signInBy(k), 401, "AUTHENTICATION_FAILED")
		k.credential.Counter = 20
		b.want(e.browser().signInBy(k), 200, "")

		// Another key with the known id.
		forged := &key{k.authenticator, newCredential()}
		forged.credential.ID, forged.credential.Counter = k.credential.ID, 30
		b.want(e.browser().signInBy(forged), 401, "AUTHENTICATION_FAILED")

		// Nonsense, a late answer, and one to a registration.
		b = e.browser()
		for _, response := range []string{`{}`, `null`, `"x"`, `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{}}`} {
			b.get("/passkey/generate-authenticate-options")
			b.want(verify(b, json.RawMessage(response)), 401, "AUTHENTICATION_FAILED")
		}
		response = b.assert(k, rp())
		e.offset.Store(int64(5 * time.Minute))
		b.want(verify(b, response), 400, "CHALLENGE_NOT_FOUND")
		owner.get("/passkey/generate-register-options")
		owner.want(verify(owner, response), 400, "CHALLENGE_NOT_FOUND")

		// Registrations: known key, another origin, another user's, not fresh.
		known := &key{k.authenticator, k.credential}
		register := func(k *key, party virtualwebauthn.RelyingParty) answer {
			return owner.post("/passkey/verify-registration", map[string]any{"response": owner.attest(k, party)})
		}
		owner.want(register(known, rp()), 409, "PREVIOUSLY_REGISTERED")
		other := &key{virtualwebauthn.NewAuthenticator(), newCredential()}
		owner.want(register(other, phished), 400, "FAILED_TO_VERIFY_REGISTRATION")
		eve := e.browser().signUp("eve@example.org")
		answerOfOwner := owner.attest(other, rp())
		eve.cookies["better-auth.better-auth-passkey"] = owner.cookies["better-auth.better-auth-passkey"]
		eve.want(eve.post("/passkey/verify-registration", map[string]any{"response": answerOfOwner}), 400, "FAILED_TO_VERIFY_REGISTRATION")
		e.offset.Store(int64(25 * time.Hour))
		owner.want(owner.get("/passkey/generate-register-options"), 403, "SESSION_NOT_FRESH")
	})
}

// TestPasskeyWithTwoFactor holds that a key alone is one factor.
func TestPasskeyWithTwoFactor(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	owner := e.browser().signUp("ada@example.org")
	k, _ := owner.addPasskey(virtualwebauthn.AuthenticatorOptions{UserNotVerified: true})
	owner.want(e.browser().signInBy(k), 200, "")
	owner.setUp()
	owner.want(e.browser().signInBy(k), 401, "AUTHENTICATION_FAILED")
	k.authenticator.Options.UserNotVerified = false
	owner.want(e.browser().signInBy(k), 200, "")
}

func TestPasskeysNeedAHostName(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	b := e.browser("X-Forwarded-Host", "192.0.2.1:8080")
	b.want(b.get("/passkey/generate-authenticate-options"), 422, "HOST_NAME_NEEDED")
	local := e.browser("X-Forwarded-Host", "localhost:8080")
	if a := local.want(local.get("/passkey/generate-authenticate-options"), 200, ""); !strings.Contains(a.body, `"localhost"`) {
		t.Errorf("got %s", a.body)
	}
}
