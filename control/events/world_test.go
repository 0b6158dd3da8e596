package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps the date for its headers as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

type hearing struct {
	device, event string
	notice        Notice
}

// fakeGateway has some devices connected.
type fakeGateway struct {
	mu     sync.Mutex // guards the fields below
	online map[string]bool
	err    error
	heard  []hearing
}

func (g *fakeGateway) Send(ctx context.Context, device, event string, data any) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if g.err != nil || !g.online[device] {
		return false, g.err
	}
	g.heard = append(g.heard, hearing{device, event, data.(Notice)})
	return true, nil
}

func (g *fakeGateway) take() []hearing {
	g.mu.Lock()
	defer g.mu.Unlock()
	heard := g.heard
	g.heard = nil
	return heard
}

type fakeObjects struct {
	mu   sync.Mutex // guards the fields below
	kept map[string][]byte
	err  error
}

func (o *fakeObjects) Put(_ context.Context, key, _ string, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.kept[key] = data
	}
	return o.err
}

func (o *fakeObjects) SignGet(_ context.Context, key string, ttl time.Duration, grant string) (string, time.Time, error) {
	return "/objects/" + key + "?by=" + grant, time.Now().Add(ttl), nil
}

func (o *fakeObjects) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.kept, key)
	return o.err
}

func (o *fakeObjects) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.kept)
}

type countingQueue struct {
	mu sync.Mutex
	n  int
}

func (q *countingQueue) Notify(context.Context) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.n++
}

// world is a camera and two clients of a user, and a stranger's.
type world struct {
	*Service
	t       *testing.T
	db      *store.DB
	gateway *fakeGateway
	objects *fakeObjects
	queue   *countingQueue
	who     callers
	app     *fiber.App
	clock   func() time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return openWorld(t, storetest.SQLite(t))
}

func openWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	u, other := storetest.User(t, db), storetest.User(t, db)
	device := func(d store.Device) auth.Principal {
		return auth.Principal{UserID: d.UserID, DeviceID: d.ID, Role: d.Role}
	}
	client, client2 := storetest.Client(t, db, u.ID), storetest.Client(t, db, u.ID)
	storetest.Subscribe(t, db, client)
	storetest.Subscribe(t, db, client2)
	w := &world{
		t: t, db: db, queue: &countingQueue{}, gateway: &fakeGateway{online: map[string]bool{}},
		objects: &fakeObjects{kept: map[string][]byte{}}, clock: time.Now,
		who: callers{
			"user": {UserID: u.ID, SessionID: "s"}, "stranger": {UserID: other.ID, SessionID: "x"},
			"camera": device(storetest.Camera(t, db, u.ID)), "camera2": device(storetest.Camera(t, db, u.ID)),
			"client": device(client), "client2": device(client2),
			"foreign-camera": device(storetest.Camera(t, db, other.ID)), "foreign-client": device(storetest.Client(t, db, other.ID)),
		},
	}
	w.Service = New(Config{
		Store: db, Gateway: w.gateway, Objects: w.objects, Queues: []Notifier{w.queue},
		Now: func() time.Time { return w.clock() }, Interval: time.Millisecond,
	})
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

// do returns the status, and the code of a problem document.
func (w *world) do(who, method, path string, body, into any) (status int, code string) {
	w.t.Helper()
	var payload io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			w.t.Fatal(err)
		}
		payload = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, "http://cam.example"+path, payload)
	if err != nil {
		w.t.Fatal(err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
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

func (w *world) begin(body fields) Event {
	w.t.Helper()
	var e Event
	if status, code := w.do("camera", "POST", "/events/motion/start", body, &e); status != 201 {
		w.t.Fatalf("start: %d %s", status, code)
	}
	return e
}

func (w *world) pushes() []store.Push {
	w.t.Helper()
	list, err := w.db.Pushes(w.t.Context(), w.who["user"].UserID, store.PushFilter{}, store.Page{Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) ids(path string) []string {
	w.t.Helper()
	var list struct{ Items []struct{ ID string } }
	if status, code := w.do("user", "GET", path, nil, &list); status != 200 {
		w.t.Fatalf("%s: %d %s", path, status, code)
	}
	ids := make([]string, len(list.Items))
	for i, item := range list.Items {
		ids[i] = item.ID
	}
	return ids
}
