package webhooks

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

// sessions authenticates by a cookie "who".
type sessions map[string]auth.Principal

func (s sessions) Session(_ context.Context, cookies []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	for _, cookie := range cookies {
		if p, ok := s[cookie.Value]; ok {
			return p, nil, nil
		}
	}
	return auth.Principal{}, nil, auth.ErrUnauthenticated
}

func (sessions) Device(context.Context, string) (auth.Principal, store.Device, error) {
	return auth.Principal{}, store.Device{}, auth.ErrUnauthenticated
}

func (sessions) TrustsOrigin(string) bool { return false }

// TestHTTP walks the routes as their owner and as another user.
func TestHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	who := sessions{"user": w.user, "stranger": {UserID: storetest.User(t, w.db).ID, SessionID: "x"}}
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
		request.Header.Set("Origin", "http://cam.example")
		request.AddCookie(&http.Cookie{Name: "who", Value: name})
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
	want := func(name, method, path, body string, status int, text string) string {
		t.Helper()
		s, got := do(name, method, path, body)
		if s != status || !strings.Contains(got, text) {
			t.Errorf("%s %s as %q: %d %s, want %d %s", method, path, name, s, got, status, text)
		}
		return got
	}
	id := func(answer string) string {
		t.Helper()
		var made struct{ ID string }
		if err := json.Unmarshal([]byte(answer), &made); err != nil || made.ID == "" {
			t.Fatalf("%v in %s", err, answer)
		}
		return made.ID
	}
	good := `{"name":"mine","url":"` + w.to.URL + `/in","eventTypes":["motion:started"]}`
	want("nobody", "POST", "/webhooks", good, 401, "unauthenticated")
	for _, bad := range []string{
		`{}`, `{"name":"x"}`, `{"name":" ","url":"https://example.org"}`, `{"name":"x","url":"https://example.org","kind":"fax"}`,
		`{"name":"x","url":"https://example.org","eventTypes":["everything"]}`, `{"name":"x","url":"https://example.org","secret":"mine"}`,
		`{"name":"x","url":"https://10.0.0.1/"}`, `{"name":"x","url":"https://ntfy.example/","kind":"ntfy"}`,
		`{"name":"x","url":"https://example.org","accessToken":"with\r\nheader"}`,
	} {
		want("user", "POST", "/webhooks", bad, 422, "code")
	}
	made := want("user", "POST", "/webhooks", good, 201, `"secret":"whsec_`)
	one := "/webhooks/" + id(made)
	if got := want("user", "GET", one, "", 200, `"enabled":true`); strings.Contains(got, "whsec_") {
		t.Errorf("the secret is shown again: %s", got)
	}
	for query, found := range map[string]bool{
		"": true, "?enabled=true": true, "?enabled=false": false, "?kind=webhook": true, "?kind=ntfy": false, "?kind=webhook&enabled=true": true,
	} {
		if _, got := do("user", "GET", "/webhooks"+query, ""); strings.Contains(got, id(made)) != found {
			t.Errorf("webhooks%s: %s", query, got)
		}
	}
	want("user", "GET", "/webhooks?enabled=maybe", "", 422, "validation_failed")
	delivery := one + "/deliveries/" + id(want("user", "POST", one+"/ping", "", 202, `"ping"`))
	for _, r := range [][2]string{
		{"GET", one},
		{"PATCH", one},
		{"DELETE", one},
		{"POST", one + "/secret"},
		{"POST", one + "/ping"},
		{"GET", one + "/deliveries"},
		{"GET", delivery},
		{"POST", delivery + "/replay"},
		{"DELETE", delivery},
	} {
		want("stranger", r[0], r[1], `{}`, 404, "not_found")
	}
	want("stranger", "GET", "/webhooks", "", 200, `"items":[]`)
	want("user", "GET", "/webhooks", "", 200, one[len("/webhooks/"):])
	want("user", "GET", one+"/deliveries?status=queued", "", 200, `"ping"`)
	want("user", "GET", delivery, "", 200, `"attempts":0`)
	want("user", "POST", delivery+"/replay", "", 409, "delivery_queued")
	want("user", "DELETE", delivery, "", 204, "")
	want("user", "GET", delivery, "", 404, "not_found")
	want("user", "GET", one+"/deliveries/unknown", "", 404, "not_found")
	want("user", "PATCH", one, `{"url":"https://[::1]/"}`, 422, "invalid_url")
	want("user", "PATCH", one, `{"enabled":false,"eventTypes":[],"name":"other"}`, 200, `"eventTypes":[]`)
	want("user", "POST", one+"/secret", "", 200, `"secret":"whsec_`)
	want("user", "DELETE", one, "", 204, "")
	want("user", "GET", one, "", 404, "not_found")
}
