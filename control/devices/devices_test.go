package devices_test

import (
	"bytes"
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
	"github.com/securecam/securecam/control/devices"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// cookies takes the value of the only cookie for a user id; tokens are real.
type cookies struct{ *auth.Service }

func (cookies) Session(_ context.Context, cs []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	if len(cs) != 1 {
		return auth.Principal{}, nil, auth.ErrUnauthenticated
	}
	return auth.Principal{UserID: cs[0].Value, SessionID: "s"}, nil, nil
}

// revoked returns the devices whose tokens were revoked, oldest first.
func (w *world) revoked() []string {
	w.t.Helper()
	list, err := w.db.Revocations(w.t.Context(), w.now.Add(-time.Hour))
	if err != nil {
		w.t.Fatal(err)
	}
	ids := make([]string, len(list))
	for i, r := range list {
		ids[i] = r.TargetID
	}
	return ids
}

type world struct {
	t    *testing.T
	db   *store.DB
	app  *fiber.App
	auth *auth.Service
	user string
	now  time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.SQLite(t), now: storetest.Now()}
	w.user = storetest.User(t, w.db).ID
	var err error
	if w.auth, err = auth.New(auth.Config{Store: w.db, Secret: []byte("0123456789abcdef")}); err != nil {
		t.Fatal(err)
	}
	w.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	api := rest.New(w.app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, cookies{w.auth}))
	devices.New(devices.Config{
		Store: w.db, Tokens: w.auth, Now: func() time.Time { return w.now },
	}).Mount(w.app, api)
	return w
}

// call sends a request as who, which is "user:ID", "token:TOKEN" or nobody.
func (w *world) call(who, method, path, body string, want int, into any) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, bytes.NewBufferString(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	switch kind, value, _ := strings.Cut(who, ":"); kind {
	case "user":
		r.AddCookie(&http.Cookie{Name: "id", Value: value})
	case "token":
		r.Header.Set("Authorization", "Bearer "+value)
	}
	response, err := w.app.Test(r, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		w.t.Fatalf("%s %s %s as %.12s: %d %s, want %d", method, path, body, who, response.StatusCode, got, want)
	}
	if into != nil {
		if err := json.Unmarshal(got, into); err != nil {
			w.t.Fatalf("%s: %v", got, err)
		}
	}
}

type registered struct {
	Device         devices.Device
	Token          string
	TokenExpiresAt time.Time
	Links          []devices.Link
}

func (w *world) register(body string) registered {
	w.t.Helper()
	var r registered
	w.call("user:"+w.user, "POST", "/devices/register", body, 201, &r)
	return r
}

func TestRegister(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera := w.register(`{"name":"Door","role":"camera","platform":"web","appVersion":"1","pushToken":"secret"}`)
	client := w.register(`{"name":"Phone","role":"client","recordingPolicy":"continuous"}`)

	d := camera.Device
	if d.Name != "Door" || !d.IsCamera || d.Status != "online" || d.RecordingPolicy != "session" || !d.LastSeenAt.Equal(w.now) {
		t.Errorf("camera is %+v", d)
	}
	if client.Device.IsCamera || client.Device.RecordingPolicy != "off" {
		t.Errorf("client is %+v", client.Device)
	}
	if len(camera.Links) != 0 || len(client.Links) != 1 || client.Links[0].CameraDeviceID != d.ID || client.Links[0].Status != "active" {
		t.Errorf("links are %+v and %+v", camera.Links, client.Links)
	}
	p, _, err := w.auth.Device(t.Context(), camera.Token)
	if err != nil || p.DeviceID != d.ID || p.Role != store.RoleCamera || !camera.TokenExpiresAt.After(w.now) {
		t.Errorf("the token is %+v's, %v", p, err)
	}
	var raw map[string]json.RawMessage
	w.call("user:"+w.user, "GET", "/devices/"+d.ID, "", 200, &raw)
	if _, leaks := raw["pushToken"]; leaks {
		t.Error("the push token is shown")
	}
}

func TestRefusesBadBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("x", 101)
	for _, body := range []string{
		`{}`, `{"name":"x"}`, `{"name":"","role":"camera"}`, `{"name":" ","role":"camera"}`, `{"name":"x","role":"admin"}`,
		`{"name":"` + long + `","role":"camera"}`, `{"name":"x","role":"camera","userId":"1"}`, `{"name":null,"role":"camera"}`,
		`{"name":"x","role":"camera","recordingPolicy":"always"}`, `[]`,
	} {
		w.call("user:"+w.user, "POST", "/devices/register", body, 422, nil)
	}
	w.call("user:"+w.user, "POST", "/devices/register", `{"name":`, 400, nil)
	w.call("user:"+w.user, "GET", "/devices?cursor=nonsense", "", 422, nil)
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.register(`{"name":"Door","role":"camera"}`)
	second := w.register(`{"name":"Phone","role":"client"}`)
	stranger := "user:" + storetest.User(t, w.db).ID
	path := "/devices/" + mine.Device.ID
	for _, r := range []struct{ method, path, body string }{
		{"GET", path, ""}, {"PATCH", path, `{"name":"x"}`}, {"DELETE", path, ""}, {"POST", path + "/token", ""},
	} {
		w.call(stranger, r.method, r.path, r.body, 404, nil)
		w.call("", r.method, r.path, r.body, 401, nil)
		w.call("token:"+mine.Token, r.method, r.path, r.body, 401, nil) // a user's business
	}
	w.call("token:"+second.Token, "POST", path+"/heartbeat", "", 403, nil)
	w.call("token:nonsense", "POST", path+"/heartbeat", "", 401, nil)
	w.call("user:"+w.user, "POST", path+"/heartbeat", "", 401, nil)
	w.call("token:"+mine.Token, "POST", "/devices/unknown/heartbeat", "", 404, nil)
	w.call("token:"+mine.Token+"x", "GET", "/devices", "", 401, nil)
	if got := w.revoked(); len(got) != 0 {
		t.Errorf("revoked %v", got)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var token string
	for range 3 {
		token = w.register(`{"name":"Door","role":"camera"}`).Token
		w.now = w.now.Add(time.Second)
	}
	storetest.Camera(t, w.db, storetest.User(t, w.db).ID)
	seen := map[string]bool{}
	for _, who := range []string{"user:" + w.user, "token:" + token} {
		var page rest.List[devices.Device]
		w.call(who, "GET", "/devices?limit=2", "", 200, &page)
		if len(page.Items) != 2 || page.NextCursor == "" || !page.Items[0].CreatedAt.After(page.Items[1].CreatedAt) {
			t.Fatalf("first page %+v", page)
		}
		var rest rest.List[devices.Device]
		w.call(who, "GET", "/devices?limit=2&cursor="+page.NextCursor, "", 200, &rest)
		if len(rest.Items) != 1 || rest.NextCursor != "" {
			t.Fatalf("second page %+v", rest)
		}
		for _, d := range append(page.Items, rest.Items...) {
			seen[d.ID] = true
		}
	}
	if len(seen) != 3 {
		t.Errorf("%d devices in the pages, want 3", len(seen))
	}
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.register(`{"name":"Door","role":"camera"}`)
	status := func() string {
		var list rest.List[devices.Device]
		w.call("user:"+w.user, "GET", "/devices", "", 200, &list)
		var one devices.Device
		w.call("user:"+w.user, "GET", "/devices/"+r.Device.ID, "", 200, &one)
		if one.Status != list.Items[0].Status {
			t.Errorf("%s alone and %s in the list", one.Status, list.Items[0].Status)
		}
		return one.Status
	}
	w.now = w.now.Add(90 * time.Second)
	if got := status(); got != "online" {
		t.Errorf("%s at the limit, want online", got)
	}
	w.now = w.now.Add(time.Millisecond)
	if got := status(); got != "offline" {
		t.Errorf("%s when stale, want offline", got)
	}
	var beat struct{ Device devices.Device }
	w.call("token:"+r.Token, "POST", "/devices/"+r.Device.ID+"/heartbeat", "", 200, &beat)
	if beat.Device.Status != "online" || !beat.Device.LastSeenAt.Equal(w.now) || status() != "online" {
		t.Errorf("after a heartbeat: %+v", beat.Device)
	}
	if err := w.db.SetPresence(t.Context(), r.Device.ID, store.DeviceOffline, w.now); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != "offline" {
		t.Errorf("%s after going, want offline", got)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.register(`{"name":"Door","role":"camera"}`)
	path := "/devices/" + r.Device.ID
	var d devices.Device
	w.call("user:"+w.user, "PATCH", path, `{"name":"Garden","recordingPolicy":"continuous","appVersion":"2"}`, 200, &d)
	if d.Name != "Garden" || d.RecordingPolicy != "continuous" || d.AppVersion != "2" || d.Role != "camera" {
		t.Errorf("got %+v", d)
	}
	w.call("user:"+w.user, "PATCH", path, `{}`, 200, &d)
	w.call("user:"+w.user, "PATCH", path, `{"role":"camera"}`, 200, &d)
	if got := w.revoked(); len(got) != 0 {
		t.Errorf("revoked %v without need", got)
	}
	w.call("user:"+w.user, "PATCH", path, `{"status":"online"}`, 422, nil)

	w.call("user:"+w.user, "PATCH", path, `{"role":"client"}`, 200, &d)
	if got := w.revoked(); d.IsCamera || len(got) != 1 {
		t.Errorf("after the role's change: %+v, revoked %v", d, got)
	}
	w.call("token:"+r.Token, "POST", path+"/heartbeat", "", 401, nil)
}

func TestPolicyFollowsTheRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/devices/" + w.register(`{"name":"Phone","role":"client"}`).Device.ID
	for _, step := range []struct{ body, want string }{
		{`{"role":"camera"}`, "session"},
		{`{"role":"camera","recordingPolicy":"off"}`, "off"},
		{`{"role":"client","recordingPolicy":"continuous"}`, "off"},
		{`{"role":"camera","recordingPolicy":"continuous"}`, "continuous"},
		{`{"role":"camera"}`, "continuous"},
		{`{"role":"client"}`, "off"},
	} {
		var d devices.Device
		w.call("user:"+w.user, "PATCH", path, step.body, 200, &d)
		if d.RecordingPolicy != step.want {
			t.Errorf("after %s it is recorded %s, want %s", step.body, d.RecordingPolicy, step.want)
		}
	}
}

func TestRoleOfABusyDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.register(`{"name":"Door","role":"camera"}`)
	_, err := w.db.OpenMediaSession(t.Context(), store.MediaSession{
		ID: storetest.ID(), OwnerUserID: w.user, CameraDeviceID: r.Device.ID, Continuous: true, CreatedAt: w.now,
	}, store.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	var problem struct{ Code string }
	w.call("user:"+w.user, "PATCH", "/devices/"+r.Device.ID, `{"role":"client"}`, 409, &problem)
	if problem.Code != "device_streaming" {
		t.Errorf("code %s, want device_streaming", problem.Code)
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.register(`{"name":"Door","role":"camera"}`)
	var fresh struct{ Token string }
	w.call("user:"+w.user, "POST", "/devices/"+r.Device.ID+"/token", "", 200, &fresh)
	w.call("token:"+r.Token, "GET", "/devices", "", 401, nil)
	w.call("token:"+fresh.Token, "GET", "/devices", "", 200, nil)
	if got := w.revoked(); len(got) != 1 || got[0] != r.Device.ID {
		t.Errorf("revoked %v, want the device", got)
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.register(`{"name":"Door","role":"camera"}`)
	w.call("user:"+w.user, "DELETE", "/devices/"+r.Device.ID, "", 204, nil)
	w.call("user:"+w.user, "DELETE", "/devices/"+r.Device.ID, "", 404, nil)
	w.call("token:"+r.Token, "GET", "/devices", "", 401, nil)
	if got := w.revoked(); len(got) != 1 || got[0] != r.Device.ID {
		t.Errorf("revoked %v, want the device", got)
	}
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera := w.register(`{"name":"Door","role":"camera"}`)
	client := w.register(`{"name":"Phone","role":"client"}`)
	w.now = w.now.Add(time.Hour)
	late := w.register(`{"name":"Garden","role":"camera"}`)
	for query, want := range map[string][]string{
		"role=camera":                      {late.Device.ID, camera.Device.ID},
		"role=client":                      {client.Device.ID},
		"status=online":                    {late.Device.ID},
		"linkedWithId=" + client.Device.ID: {late.Device.ID, camera.Device.ID},
		"linkedWithId=" + camera.Device.ID: {client.Device.ID},
		"linkedWithId=unknown":             {},
		"role=client&status=online":        {},
		"status=offline":                   {client.Device.ID, camera.Device.ID},
		"role=camera&status=offline":       {camera.Device.ID},
	} {
		var list struct{ Items []devices.Device }
		w.call("user:"+w.user, "GET", "/devices?"+query, "", 200, &list)
		got := []string{}
		for _, d := range list.Items {
			got = append(got, d.ID)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v, want %v", query, got, want)
		}
	}
	if err := w.db.SetPresence(t.Context(), late.Device.ID, store.DeviceOffline, w.now); err != nil {
		t.Fatal(err)
	}
	var gone struct{ Items []devices.Device }
	if w.call("user:"+w.user, "GET", "/devices?status=offline", "", 200, &gone); len(gone.Items) != 3 {
		t.Errorf("after the last one left: %v", gone.Items)
	}
	w.call("user:"+w.user, "GET", "/devices?role=both", "", 422, nil)
	w.call("user:"+w.user, "GET", "/devices?status=away", "", 422, nil)
}
