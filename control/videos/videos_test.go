package videos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps the date for its headers as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// fakeObjects is an object store that tests upload to.
type fakeObjects struct {
	mu   sync.Mutex // guards the fields below
	kept map[string]int64
	err  error
}

func (o *fakeObjects) SignPut(_ context.Context, key string, p PutOptions) (SignedPut, error) {
	return SignedPut{
		URL: "/objects/" + key + "?by=" + p.Grant, Header: map[string]string{"Content-Type": p.ContentType},
		Expires: time.Now().Add(p.TTL).UTC().Truncate(time.Second),
	}, o.err
}

func (o *fakeObjects) SignGet(_ context.Context, key string, g GetOptions) (string, time.Time, error) {
	return "/objects/" + key + "?filename=" + g.Filename, time.Now().Add(g.TTL), o.err
}

func (o *fakeObjects) Stat(_ context.Context, key string) (ObjectInfo, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size, ok := o.kept[key]
	if o.err == nil && !ok {
		return ObjectInfo{}, fs.ErrNotExist
	}
	return ObjectInfo{Key: key, Size: size, ContentType: "video/webm"}, o.err
}

func (o *fakeObjects) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.kept, key)
	return o.err
}

func (o *fakeObjects) put(key string, size int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kept[key] = size
}

type world struct {
	*Service
	t       *testing.T
	db      *store.DB
	objects *fakeObjects
	who     callers
	app     *fiber.App
	clock   func() time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	db := storetest.SQLite(t)
	u, other := storetest.User(t, db), storetest.User(t, db)
	device := func(d store.Device) auth.Principal {
		return auth.Principal{UserID: d.UserID, DeviceID: d.ID, Role: d.Role}
	}
	w := &world{
		t: t, db: db, objects: &fakeObjects{kept: map[string]int64{}}, clock: time.Now,
		who: callers{
			"user": {UserID: u.ID, SessionID: "s"}, "stranger": {UserID: other.ID, SessionID: "x"},
			"camera": device(storetest.Camera(t, db, u.ID)), "camera2": device(storetest.Camera(t, db, u.ID)),
			"client": device(storetest.Client(t, db, u.ID)), "foreign": device(storetest.Camera(t, db, other.ID)),
		},
	}
	w.Service = New(Config{Store: db, Objects: w.objects, Now: func() time.Time { return w.clock() }, Interval: time.Millisecond})
	w.app = fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	w.app.Use(rest.Record(rest.RecordConfig{}))
	api := rest.New(w.app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, w.who))
	w.Mount(w.app, api)
	return w
}

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

func (w *world) do(who, method, path string, body, into any) (status int, code string) {
	w.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	if body == nil {
		encoded = nil
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, "http://cam.example"+path, bytes.NewReader(encoded))
	if err != nil {
		w.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	if p := w.who[who]; p.DeviceID != "" {
		request.Header.Set("Authorization", "Bearer "+who)
	} else if who != "" {
		request.AddCookie(&http.Cookie{Name: "who", Value: who})
		request.Header.Set("Origin", "http://cam.example")
	}
	response, err := w.app.Test(request, -1)
	if err != nil {
		w.t.Fatal(err)
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		w.t.Fatal(err)
	}
	if response.StatusCode >= 400 {
		var problem struct{ Code string }
		if err := json.Unmarshal(answer, &problem); err != nil {
			w.t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, answer)
		}
		return response.StatusCode, problem.Code
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			w.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
	}
	return response.StatusCode, ""
}

func (w *world) want(who, method, path string, body any, status int, code string) {
	w.t.Helper()
	if s, got := w.do(who, method, path, body, nil); s != status || got != code {
		w.t.Errorf("%s %s as %q: %d %s, want %d %s", method, path, who, s, got, status, code)
	}
}

type fields = map[string]any

func wish(more fields) fields {
	f := fields{"name": "garden.webm", "contentType": "video/webm", "size": 1000}
	for k, v := range more {
		f[k] = v
	}
	return f
}

type created struct {
	Video  Video
	Upload Upload
}

func (w *world) create(who string, more fields) created {
	w.t.Helper()
	var c created
	if status, code := w.do(who, "POST", "/videos/upload-url", wish(more), &c); status != 201 {
		w.t.Fatalf("create: %d %s", status, code)
	}
	return c
}

// upload puts the object there that a video awaits.
func (w *world) upload(c created) {
	key, _, _ := strings.Cut(strings.TrimPrefix(c.Upload.URL, "http://cam.example/objects/"), "?")
	w.objects.put(key, c.Video.Size)
}

func TestVideo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := storetest.Now()
	event, err := w.db.StartEvent(t.Context(), store.Event{
		ID: storetest.ID(), UserID: w.who["user"].UserID, DeviceID: w.who["camera"].DeviceID, TriggeredBy: "motion", StartedAt: at,
	}, store.Message{Type: "x", Payload: json.RawMessage("{}")}, at, store.Actor{})
	if err != nil {
		t.Fatal(err)
	}
	c := w.create("camera", fields{"eventId": event.Event.ID})
	one := "/videos/" + c.Video.ID
	if c.Video.Status != "awaiting_upload" || c.Video.DeviceID != w.who["camera"].DeviceID || c.Upload.Method != http.MethodPut ||
		c.Upload.Headers["Content-Type"] != "video/webm" || !strings.HasPrefix(c.Upload.URL, "http://cam.example/objects/videos/") {
		t.Errorf("created %+v", c)
	}
	w.want("camera", "POST", one+"/complete", nil, 409, "video_not_ready")
	w.want("camera", "GET", one+"/download-url", nil, 409, "video_not_ready")
	w.want("camera", "DELETE", one, nil, 409, "video_awaiting_upload")
	w.upload(c)
	w.want("client", "POST", one+"/complete", nil, 404, "not_found")
	w.want("camera", "POST", one+"/complete", nil, 200, "")
	w.want("camera", "POST", one+"/complete", nil, 409, "video_ended")
	e, err := w.db.Event(t.Context(), w.who["user"].UserID, event.Event.ID)
	if err != nil || e.VideoURL != one+"/download-url" {
		t.Errorf("event %+v, %v", e, err)
	}
	var d DownloadURL
	w.do("client", "GET", e.VideoURL+"?attachment=true", nil, &d)
	if d.Size != 1000 || !strings.HasSuffix(d.URL, "?filename=garden.webm") {
		t.Errorf("download %+v", d)
	}
	w.cfg.Public = rest.Public{URL: "https://cam.example.org/home/"}
	if w.do("client", "GET", e.VideoURL, nil, &d); !strings.HasPrefix(d.URL, "https://cam.example.org/home/objects/videos/") {
		t.Errorf("download %+v", d)
	}
	noted, err := w.db.AuditEntries(t.Context(), w.who["user"].UserID, store.AuditFilter{Action: "video." + store.AuditDownload}, store.Page{})
	if err != nil || len(noted) != 2 || noted[0].TargetID != c.Video.ID || noted[0].ActorDeviceID != w.who["client"].DeviceID {
		t.Errorf("the audit log says %+v, %v", noted, err)
	}
	for _, who := range []string{"user", "camera", "client"} {
		w.want(who, "GET", one, nil, 200, "")
	}
	for _, who := range []string{"stranger", "camera2", "foreign"} {
		for _, r := range [][2]string{{"GET", one}, {"GET", one + "/download-url"}, {"POST", one + "/complete"}, {"DELETE", one}} {
			w.want(who, r[0], r[1], nil, 404, "not_found")
		}
	}
	w.objects.err = errors.New("away")
	w.want("user", "DELETE", one, nil, 503, "storage_unavailable")
	w.want("user", "GET", one+"/download-url", nil, 503, "storage_unavailable")
	w.objects.err = nil
	w.want("user", "DELETE", one, nil, 204, "")
	w.want("user", "GET", one, nil, 404, "not_found")
	if e, err := w.db.Event(t.Context(), w.who["user"].UserID, event.Event.ID); err != nil || e.VideoURL != "" {
		t.Errorf("event %+v, %v", e, err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		who    string
		more   fields
		status int
		code   string
	}{
		"no size":          {"user", fields{"size": 0}, 422, "validation_failed"},
		"too large":        {"user", fields{"size": 5<<30 + 1}, 422, "validation_failed"},
		"a page":           {"user", fields{"contentType": "text/html"}, 422, "validation_failed"},
		"a path":           {"user", fields{"name": "../x"}, 422, "validation_failed"},
		"unknown":          {"user", fields{"surprise": 1}, 422, "validation_failed"},
		"nobody":           {"", nil, 401, "unauthenticated"},
		"another device":   {"camera", fields{"deviceId": w.who["camera2"].DeviceID}, 403, "forbidden"},
		"a foreign device": {"user", fields{"deviceId": w.who["foreign"].DeviceID}, 404, "not_found"},
		"a foreign event":  {"user", fields{"eventId": storetest.ID()}, 404, "not_found"},
	} {
		if status, code := w.do(test.who, "POST", "/videos/upload-url", wish(test.more), nil); status != test.status || code != test.code {
			t.Errorf("%s: %d %s, want %d %s", name, status, code, test.status, test.code)
		}
	}
	for range maxAwaiting {
		w.create("user", nil)
	}
	w.want("camera", "POST", "/videos/upload-url", wish(nil), 429, "too_many_uploads")
	var list struct{ Items []Video }
	w.do("user", "GET", "/videos?limit=200&status=awaiting_upload", nil, &list)
	if len(list.Items) != maxAwaiting {
		t.Errorf("%d videos", len(list.Items))
	}
	w.do("camera", "GET", "/videos", nil, &list)
	if len(list.Items) != 0 {
		t.Errorf("the camera sees %d videos of its user's", len(list.Items))
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	lost, forgotten, fresh := w.create("user", nil), w.create("user", nil), w.create("user", nil)
	w.upload(forgotten)
	at := time.Now()
	w.clock = func() time.Time { return at.Add(119 * time.Minute) } // the URL ended; an upload may still run
	if err := w.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.want("user", "DELETE", "/videos/"+fresh.Video.ID, nil, 409, "video_awaiting_upload")
	w.clock = func() time.Time { return at.Add(122 * time.Minute) }
	w.objects.err = errors.New("away")
	if err := w.sweep(t.Context()); err == nil {
		t.Error("an object store that is away tells nothing of its objects")
	}
	w.objects.err = nil
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	status := func(c created) string {
		var v Video
		w.do("user", "GET", "/videos/"+c.Video.ID, nil, &v)
		return v.Status
	}
	limit := time.After(30 * time.Second)
	for status(lost) != "failed" || status(forgotten) != "ready" {
		select {
		case <-limit:
			t.Fatalf("%s, %s", status(lost), status(forgotten))
		default:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	w.want("user", "DELETE", "/videos/"+lost.Video.ID, nil, 204, "")
}

// TestStates drives one video after the other by chance, and holds that its
// status follows from what happened to it.
func TestStates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.who["camera"]
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		v, _, err := w.Create(ctx, p, Request{Name: "x", ContentType: "video/webm", Size: 5})
		if err != nil {
			t.Fatal(err)
		}
		there, status := false, store.VideoAwaitingUpload
		t.Repeat(map[string]func(*rapid.T){
			"upload": func(*rapid.T) {
				w.objects.put(v.ObjectKey, 5)
				there = true
			},
			"complete": func(t *rapid.T) {
				_, err := w.Complete(ctx, p, v.ID)
				want := error(nil)
				switch {
				case status != store.VideoAwaitingUpload:
					want = ErrEnded
				case !there:
					want = ErrNotReady
				default:
					status = store.VideoReady
				}
				if !errors.Is(err, want) {
					t.Fatalf("complete: %v, want %v", err, want)
				}
			},
			"expire": func(t *rapid.T) {
				if err := w.settle(ctx, v); err != nil {
					t.Fatal(err)
				}
				if status == store.VideoAwaitingUpload {
					status = store.VideoFailed
					if there {
						status = store.VideoReady
					}
				}
			},
			"delete": func(t *rapid.T) {
				if err := w.Delete(ctx, p, v.ID); status == store.VideoAwaitingUpload && !errors.Is(err, ErrAwaiting) {
					t.Fatalf("delete: %v", err)
				} else if status != store.VideoAwaitingUpload {
					if err != nil {
						t.Fatal(err)
					}
					if v, _, err = w.Create(ctx, p, Request{Name: "x", ContentType: "video/webm", Size: 5}); err != nil {
						t.Fatal(err)
					}
					there, status = false, store.VideoAwaitingUpload
				}
			},
			"": func(t *rapid.T) {
				got, err := w.Video(ctx, p, v.ID)
				if err != nil || got.Status != status {
					t.Fatalf("video %s, %v, want %s", got.Status, err, status)
				}
			},
		})
		// The next one begins anew.
		if err := w.settle(ctx, v); err != nil {
			t.Fatal(err)
		}
		if err := w.Delete(ctx, p, v.ID); err != nil {
			t.Fatal(err)
		}
	})
}
