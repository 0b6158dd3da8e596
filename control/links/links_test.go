package links_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/links"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// cookies takes the value of the only cookie for a user id.
type cookies struct{}

func (cookies) Session(_ context.Context, cs []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	if len(cs) != 1 {
		return auth.Principal{}, nil, auth.ErrUnauthenticated
	}
	return auth.Principal{UserID: cs[0].Value, SessionID: "s"}, nil, nil
}

func (cookies) Device(context.Context, string) (auth.Principal, store.Device, error) {
	return auth.Principal{}, store.Device{}, auth.ErrUnauthenticated
}

func (cookies) TrustsOrigin(string) bool { return false }

type world struct {
	t   *testing.T
	db  *store.DB
	app *fiber.App
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.SQLite(t)}
	w.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	api := rest.New(w.app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, cookies{}))
	links.New(links.Config{Store: w.db}).Mount(w.app, api)
	return w
}

// call returns the problem's code, if the answer is one.
func (w *world) call(user, method, path, body string, want int, into any) string {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		r.AddCookie(&http.Cookie{Name: "id", Value: user})
	}
	response, err := w.app.Test(r, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		w.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, response.StatusCode, got, want)
	}
	if into != nil {
		if err := json.Unmarshal(got, into); err != nil {
			w.t.Fatalf("%s: %v", got, err)
		}
	}
	var problem struct{ Code string }
	_ = json.Unmarshal(got, &problem)
	return problem.Code
}

func pair(camera, client string) string {
	return `{"cameraDeviceId":"` + camera + `","clientDeviceId":"` + client + `"}`
}

func TestLinkLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := storetest.User(t, w.db).ID
	camera, client := storetest.Camera(t, w.db, user).ID, storetest.Client(t, w.db, user).ID

	var list rest.List[links.Link]
	w.call(user, "GET", "/device-links", "", 200, &list)
	if len(list.Items) != 1 || list.Items[0].CameraDeviceID != camera || list.Items[0].Status != "active" {
		t.Fatalf("links after registering are %+v", list.Items)
	}
	id := list.Items[0].ID
	if code := w.call(user, "POST", "/device-links", pair(camera, client), 409, nil); code != "already_linked" {
		t.Errorf("code %s, want already_linked", code)
	}
	w.call(user, "DELETE", "/device-links/"+id, "", 204, nil)
	if revoked, err := w.db.Revocations(t.Context(), time.Unix(0, 0)); err != nil || len(revoked) != 1 || revoked[0].TargetID != id {
		t.Errorf("revoked %+v, %v, want the link", revoked, err)
	}
	var revoked rest.List[links.Link]
	for status, n := range map[string]int{"revoked": 1, "active": 0} {
		if w.call(user, "GET", "/device-links?status="+status, "", 200, &revoked); len(revoked.Items) != n {
			t.Errorf("%s links are %+v", status, revoked.Items)
		}
	}
	var one links.Link
	if w.call(user, "GET", "/device-links/"+id, "", 200, &one); one.Status != "revoked" {
		t.Errorf("the link is %+v", one)
	}
	w.call(user, "GET", "/device-links/unknown", "", 404, nil)
	if code := w.call(user, "DELETE", "/device-links/"+id, "", 409, nil); code != "link_revoked" {
		t.Errorf("code %s, want link_revoked", code)
	}
	var made links.Link
	w.call(user, "POST", "/device-links", pair(camera, client), 201, &made)
	if made.ID != id || made.Status != "active" || made.ClientDeviceID != client {
		t.Errorf("the link became %+v, want %s active again", made, id)
	}
	storetest.Client(t, w.db, user) // adds a link
	w.call(user, "GET", "/device-links?deviceId="+client, "", 200, &list)
	if len(list.Items) != 1 {
		t.Errorf("%d links of the client, want 1", len(list.Items))
	}
}

func TestPairingRule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user := storetest.User(t, w.db).ID
	camera, camera2 := storetest.Camera(t, w.db, user).ID, storetest.Camera(t, w.db, user).ID
	client := storetest.Client(t, w.db, user).ID
	for _, body := range []string{pair(client, camera), pair(camera, camera2), pair(camera, camera), pair(client, client)} {
		if code := w.call(user, "POST", "/device-links", body, 422, nil); code != "wrong_role" {
			t.Errorf("code %s, want wrong_role", code)
		}
	}
	w.call(user, "POST", "/device-links", `{"cameraDeviceId":"`+camera+`"}`, 422, nil)
}

func TestForeignDevicesAndLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	user, stranger := storetest.User(t, w.db).ID, storetest.User(t, w.db).ID
	camera, client := storetest.Camera(t, w.db, user).ID, storetest.Client(t, w.db, user).ID
	foreign := storetest.Client(t, w.db, stranger).ID
	var list rest.List[links.Link]
	w.call(user, "GET", "/device-links", "", 200, &list)

	w.call(user, "POST", "/device-links", pair(camera, foreign), 404, nil)
	w.call(stranger, "POST", "/device-links", pair(camera, foreign), 404, nil)
	w.call(stranger, "DELETE", "/device-links/"+list.Items[0].ID, "", 404, nil)
	w.call("", "GET", "/device-links", "", 401, nil)
	w.call(stranger, "GET", "/device-links?deviceId="+client, "", 200, &list)
	if len(list.Items) != 0 {
		t.Errorf("the stranger sees %+v", list.Items)
	}
}
