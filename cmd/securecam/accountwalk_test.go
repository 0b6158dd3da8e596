package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// authBodies name another user's things to operations of accounts, as "?key",
// with the status that says nothing: a session that is not one's own is not
// found, and that is not told.
var authBodies = map[string]struct {
	status int
	body   string
}{
	"POST /api/auth/revoke-session":         {http.StatusOK, `{"token":"?session"}`},
	"GET /api/auth/delete-user/callback":    {http.StatusNotFound, ""},
	"POST /api/auth/passkey/update-passkey": {http.StatusNotFound, `{"id":"?passkey","name":"mine"}`},
	"POST /api/auth/passkey/delete-passkey": {http.StatusNotFound, `{"id":"?passkey"}`},
}

// authQueries are what operations of accounts need beside a path.
var authQueries = map[string]string{"GET /api/auth/delete-user/callback": "?token=of-another"}

// authOwn are operations of accounts that name nothing of anybody's: they work
// on whoever asks.
var authOwn = []string{
	"GET /api/auth/list-accounts", "GET /api/auth/list-sessions", "GET /api/auth/passkey/generate-register-options",
	"GET /api/auth/passkey/list-user-passkeys", "POST /api/auth/change-email", "POST /api/auth/change-password",
	"POST /api/auth/delete-user", "POST /api/auth/passkey/verify-registration", "POST /api/auth/revoke-other-sessions",
	"POST /api/auth/revoke-sessions", "POST /api/auth/two-factor/disable", "POST /api/auth/two-factor/enable",
	"POST /api/auth/two-factor/generate-backup-codes", "POST /api/auth/two-factor/get-totp-uri", "POST /api/auth/update-user",
}

// TestOwnershipOfAccounts sends the operations of accounts with another user's
// ids in their bodies, and looks for these in what they list.
func TestOwnershipOfAccounts(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, w walk) {
		base := w.app.url
		victim, thief := signUp(t, base, "victim@example.org"), signUp(t, base, "thief@example.org")
		other := newBrowser(t, base) // the victim's, too
		other.must(http.StatusOK, "POST", "/api/auth/sign-in/email",
			map[string]string{"email": "victim@example.org", "password": "correct horse battery"}, nil)
		var me struct{ User, Session struct{ ID string } }
		other.must(http.StatusOK, "GET", "/api/auth/get-session", nil, &me)
		passkey := store.Passkey{
			ID: uuid.NewString(), UserID: me.User.ID, Name: "key", CredentialID: "x", Credential: json.RawMessage(`{}`),
			CreatedAt: storetest.Now(),
		}
		if err := w.db.CreatePasskey(t.Context(), passkey, 9, store.Actor{}); err != nil {
			t.Fatal(err)
		}
		ids := map[string]string{"session": me.Session.ID, "passkey": passkey.ID, "user": me.User.ID}
		w.operations(func(route, method, path string, op operationJSON) {
			if !strings.HasPrefix(path, "/api/auth/") || len(op.Security) == 0 {
				return
			}
			stealAccount(t, thief, ids, route)
			status, answer := newBrowser(t, base).raw(method, path+authQueries[route], json.RawMessage(`{}`))
			if status != http.StatusUnauthorized || codeOf(answer) == "" {
				t.Errorf("%s without a session: %d %s", route, status, answer)
			}
		})
		for _, b := range []*apiClient{victim, other} {
			b.must(http.StatusOK, "GET", "/devices", nil, nil)
		}
		if keys, err := w.db.Passkeys(t.Context(), me.User.ID); err != nil || len(keys) != 1 || keys[0].Name != "key" {
			t.Errorf("the victim's passkeys are %+v, %v", keys, err)
		}
	})
}

// stealAccount tries one operation of accounts with another user's ids.
func stealAccount(t *testing.T, thief *apiClient, ids map[string]string, route string) {
	t.Helper()
	method, path, _ := strings.Cut(route, " ")
	names, known := authBodies[route]
	switch {
	case known:
		for key, id := range ids {
			names.body = strings.ReplaceAll(names.body, `"?`+key+`"`, `"`+id+`"`)
		}
		var in any
		if names.body != "" {
			in = json.RawMessage(names.body)
		}
		if status, answer := thief.raw(method, path+authQueries[route], in); status != names.status {
			t.Errorf("%s with another's ids: %d %s, want %d", route, status, answer, names.status)
		}
	case !slices.Contains(authOwn, route):
		t.Errorf("%s: add it to authBodies, or to authOwn if it names nothing", route)
	case method == http.MethodGet:
		_, answer := thief.raw(http.MethodGet, path, nil)
		for what, id := range ids {
			if strings.Contains(string(answer), id) {
				t.Errorf("%s shows another's %s: %s", route, what, answer)
			}
		}
	}
}
