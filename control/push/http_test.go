package push

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// callers authenticates by name: a cookie "who" or a bearer token.
type callers map[string]auth.Principal

func (c callers) Session(_ context.Context, cookies []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	for _, cookie := range cookies {
		if p, ok := c[cookie.Value]; ok && p.DeviceID == "" {
			return p, nil, nil
		}
	}
	return auth.Principal{}, nil, auth.ErrUnauthenticated
}

func (c callers) Device(_ context.Context, token string) (auth.Principal, store.Device, error) {
	if p, ok := c[token]; ok && p.DeviceID != "" {
		return p, store.Device{ID: p.DeviceID}, nil
	}
	return auth.Principal{}, store.Device{}, auth.ErrUnauthenticated
}

func (callers) TrustsOrigin(string) bool { return false }

// TestHTTP walks the routes as their owner and as everybody else.
func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	stranger := storetest.User(t, w.db)
	who := callers{
		"user": w.user, "client": w.client, "stranger": {UserID: stranger.ID, SessionID: "x"},
		"other":   {UserID: w.user.UserID, DeviceID: storetest.Client(t, w.db, w.user.UserID).ID, Role: store.RoleClient},
		"foreign": {UserID: stranger.ID, DeviceID: storetest.Client(t, w.db, stranger.ID).ID, Role: store.RoleClient},
	}
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	app.Use(rest.Record(rest.RecordConfig{}))
	api := rest.New(app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, who))
	w.Mount(app, api)
	do := func(name, method, path, body string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://cam.example"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		if p := who[name]; p.DeviceID != "" {
			request.Header.Set("Authorization", "Bearer "+name)
		} else if name != "" {
			request.AddCookie(&http.Cookie{Name: "who", Value: name})
			request.Header.Set("Origin", "http://cam.example")
		}
		response, err := app.Test(request, -1)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(answer)
	}
	want := func(name, method, path, body string, status int, text string) {
		t.Helper()
		if s, got := do(name, method, path, body); s != status || !strings.Contains(got, text) {
			t.Errorf("%s %s as %q: %d %s, want %d %s", method, path, name, s, got, status, text)
		}
	}
	keys, err := json.Marshal(map[string]any{
		"endpoint": w.browser.Endpoint, "expirationTime": nil, "keys": map[string]string{"p256dh": w.browser.P256dh, "auth": w.browser.Auth},
	})
	if err != nil {
		t.Fatal(err)
	}
	sub := "/devices/" + w.client.DeviceID + "/push-subscription"
	want("", "GET", "/push-notifications/vapid-public-key", "", 200, w.cfg.Identity.PublicKey())
	want("client", "GET", sub, "", 404, "not_found")
	want("client", "POST", sub+"/test", "", 404, "not_found")
	want("client", "PUT", sub, `{"endpoint":"http://169.254.169.254/","keys":{"p256dh":"a","auth":"b"}}`, 422, "invalid_endpoint")
	want("client", "PUT", sub, strings.Replace(string(keys), w.browser.Auth, "AAAA", 1), 422, "invalid_keys")
	for name, status := range map[string]int{"stranger": 404, "foreign": 404, "other": 403, "": 401} {
		want(name, "PUT", sub, string(keys), status, "code")
		want(name, "GET", sub, "", status, "code")
		want(name, "DELETE", sub, "", status, "code")
		want(name, "POST", sub+"/test", "", status, "code")
	}
	want("client", "PUT", sub, string(keys), 200, w.browser.Endpoint)
	if _, text := do("user", "GET", sub, ""); strings.Contains(text, w.browser.Auth) {
		t.Errorf("the keys of a subscription are shown: %s", text)
	}
	want("user", "POST", sub+"/test", "", 202, `"queued"`)

	p := w.send(map[string]int{"a": 1})
	one := "/push-notifications/" + p.ID
	for name, status := range map[string]int{"stranger": 404, "foreign": 404, "other": 404, "": 401} {
		want(name, "GET", one, "", status, "code")
		want(name, "POST", one+"/retry", "", status, "code")
		want(name, "DELETE", one, "", status, "code")
		if status != 401 {
			want(name, "GET", "/push-notifications", "", 200, `"items":[]`)
			want(name, "POST", "/push-notifications/dispatch", "", 200, `"dispatched":0`)
		}
	}
	want("client", "GET", one, "", 200, `"payload":{"a":1}`)
	want("client", "POST", one+"/retry", "", 409, "push_not_failed")
	want("user", "GET", "/push-notifications?status=queued&type=stream:ended", "", 200, p.ID)
	want("user", "GET", "/push-notifications?status=failed", "", 200, `"items":[]`)
	want("user", "GET", "/push-notifications?status=lost", "", 422, "validation_failed")
	want("user", "DELETE", one, "", 204, "")
	want("user", "DELETE", sub, "", 204, "")
	want("user", "DELETE", sub, "", 404, "not_found")
}
