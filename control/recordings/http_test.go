package recordings

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

type client struct {
	t   *testing.T
	app *fiber.App
	who callers
}

func newClient(w *world) client {
	w.t.Helper()
	stranger := storetest.User(w.t, w.db)
	who := callers{
		"user": w.user, "camera": w.camera, "client": w.client,
		"stranger":     {UserID: stranger.ID, SessionID: "x"},
		"other-camera": {UserID: w.user.UserID, DeviceID: storetest.Camera(w.t, w.db, w.user.UserID).ID, Role: store.RoleCamera},
		"other-client": {UserID: w.user.UserID, DeviceID: storetest.Client(w.t, w.db, w.user.UserID).ID, Role: store.RoleClient},
	}
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	app.Use(rest.Record(rest.RecordConfig{}))
	api := rest.New(app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, who))
	w.Mount(app, api)
	return client{w.t, app, who}
}

// do returns the status, and the code of a problem document.
func (c client) do(who, method, path string, into any) (status int, code string) {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), method, "http://cam.example"+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if p := c.who[who]; p.DeviceID != "" {
		request.Header.Set("Authorization", "Bearer "+who)
	} else if who != "" {
		request.AddCookie(&http.Cookie{Name: "who", Value: who})
		request.Header.Set("Origin", "http://cam.example")
	}
	response, err := c.app.Test(request, -1)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	if response.StatusCode >= 400 {
		var problem struct{ Code string }
		if err := json.Unmarshal(body, &problem); err != nil {
			c.t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, body)
		}
		return response.StatusCode, problem.Code
	}
	if into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, body)
		}
	}
	return response.StatusCode, ""
}

func (c client) want(who, method, path string, status int, code string) {
	c.t.Helper()
	if s, got := c.do(who, method, path, nil); s != status || got != code {
		c.t.Errorf("%s %s as %q: %d %s, want %d %s", method, path, who, s, got, status, code)
	}
}

// recorded returns a world with one recording that is ready.
func recorded(t *testing.T) (*world, store.Recording) {
	t.Helper()
	w := newWorld(t, store.RecordSession, nil)
	stream := w.watch()
	w.PublisherUp(stream.MediaSessionID)
	w.await(1, store.RecordingRunning)
	w.Ended(stream.MediaSessionID)
	return w, w.await(1, store.RecordingReady)[0]
}

func TestHTTPRead(t *testing.T) {
	t.Parallel()
	w, r := recorded(t)
	c := newClient(w)
	one := "/recordings/" + r.ID
	for _, who := range []string{"user", "camera", "client", "other-client"} {
		var got Recording
		if status, code := c.do(who, http.MethodGet, one, &got); status != http.StatusOK {
			t.Fatalf("as %s: %d %s", who, status, code)
		}
		if got.ID != r.ID || got.Status != "ready" || got.DurationMS != 10_000 || got.Size != 1000 || got.StreamID != r.StreamID {
			t.Errorf("as %s: %+v", who, got)
		}
		var list rest.List[Recording]
		if c.do(who, http.MethodGet, "/recordings", &list); len(list.Items) != 1 || list.Items[0] != got {
			t.Errorf("list as %s: %+v", who, list)
		}
	}
	for _, who := range []string{"stranger", "other-camera"} {
		c.want(who, http.MethodGet, one, http.StatusNotFound, "not_found")
		c.want(who, http.MethodGet, one+"/download-url", http.StatusNotFound, "not_found")
		var list rest.List[Recording]
		if c.do(who, http.MethodGet, "/recordings", &list); len(list.Items) != 0 {
			t.Errorf("list as %s: %+v", who, list)
		}
	}
	c.want("", http.MethodGet, "/recordings", http.StatusUnauthorized, "unauthenticated")
	c.want("", http.MethodGet, one+"/download-url", http.StatusUnauthorized, "unauthenticated")
	c.want("user", http.MethodGet, "/recordings/nothing", http.StatusNotFound, "not_found")
	c.want("user", http.MethodGet, "/recordings?limit=0", http.StatusUnprocessableEntity, "validation_failed")
	c.want("user", http.MethodGet, "/recordings?status=done", http.StatusUnprocessableEntity, "validation_failed")
	c.want("user", http.MethodGet, "/recordings?cursor=x", http.StatusUnprocessableEntity, "invalid_cursor")
	for query, n := range map[string]int{
		"status=ready": 1, "status=failed": 0, "streamId=" + r.StreamID: 1, "streamId=x": 0,
		"cameraDeviceId=" + r.CameraDeviceID: 1, "cameraDeviceId=x": 0,
	} {
		var list rest.List[Recording]
		if c.do("user", http.MethodGet, "/recordings?"+query, &list); len(list.Items) != n {
			t.Errorf("%s: %d items, want %d", query, len(list.Items), n)
		}
	}
}

func TestHTTPDownload(t *testing.T) {
	t.Parallel()
	w, r := recorded(t)
	c := newClient(w)
	path := "/recordings/" + r.ID + "/download-url"
	var got DownloadURL
	if status, code := c.do("client", http.MethodGet, path, &got); status != http.StatusOK {
		t.Fatalf("%d %s", status, code)
	}
	if !strings.HasPrefix(got.URL, "http://cam.example/objects/"+r.ObjectKey+"?filename=&by=d.") || got.Size != 1000 ||
		got.ContentType != "video/x-matroska" || got.ExpiresAt.IsZero() {
		t.Errorf("got %+v", got)
	}
	if c.do("user", http.MethodGet, path+"?attachment=true", &got); !strings.Contains(got.URL, "?filename=securecam-20") {
		t.Errorf("got %+v", got)
	}
	w.Public = rest.Public{URL: "https://cam.example.org/home"}
	if c.do("user", http.MethodGet, path, &got); !strings.HasPrefix(got.URL, "https://cam.example.org/home/objects/") {
		t.Errorf("got %+v", got)
	}

	link, err := w.db.ActiveLink(t.Context(), r.CameraDeviceID, w.client.DeviceID)
	if err == nil {
		err = w.db.RevokeLink(t.Context(), w.user.UserID, link.ID, w.user.Actor())
	}
	if err != nil {
		t.Fatal(err)
	}
	c.want("client", http.MethodGet, path, http.StatusNotFound, "not_found")
	c.want("camera", http.MethodGet, path, http.StatusOK, "")

	w.objects.setErr(errors.New("away"))
	c.want("user", http.MethodGet, path, http.StatusServiceUnavailable, "storage_unavailable")
	w.objects.setErr(nil)
	if err := w.objects.Delete(t.Context(), r.ObjectKey); err != nil {
		t.Fatal(err)
	}
	c.want("user", http.MethodGet, path, http.StatusGone, "recording_gone")
}

func TestHTTPDelete(t *testing.T) {
	t.Parallel()
	w, r := recorded(t)
	c := newClient(w)
	one := "/recordings/" + r.ID
	c.want("client", http.MethodDelete, one, http.StatusUnauthorized, "unauthenticated")
	c.want("stranger", http.MethodDelete, one, http.StatusNotFound, "not_found")
	w.objects.setErr(errors.New("away"))
	c.want("user", http.MethodDelete, one, http.StatusServiceUnavailable, "storage_unavailable")
	w.objects.setErr(nil)
	c.want("user", http.MethodDelete, one, http.StatusNoContent, "")
	c.want("user", http.MethodDelete, one, http.StatusNotFound, "not_found")
	if _, ok := w.objects.sizes[r.ObjectKey]; ok {
		t.Error("the object is still there")
	}
}

func TestHTTPRunning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordContinuous, nil)
	w.PublisherUp(w.goLive())
	r := w.await(1, store.RecordingRunning)[0]
	c := newClient(w)
	c.want("user", http.MethodGet, "/recordings/"+r.ID+"/download-url", http.StatusConflict, "recording_not_ready")
	c.want("user", http.MethodDelete, "/recordings/"+r.ID, http.StatusConflict, "recording_not_ready")
}
