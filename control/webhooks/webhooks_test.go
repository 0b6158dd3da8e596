package webhooks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps the date for its headers as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// receiver is somebody's server. It verifies signatures by the text of Standard
// Webhooks, with code of its own.
type receiver struct {
	*httptest.Server
	t        *testing.T
	mu       sync.Mutex // guards the fields below
	secret   string
	statuses []int // of the next requests; 200 afterwards
	header   http.Header
	received []received
}

type received struct {
	header http.Header
	path   string
	body   []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secret != "" {
		err = errors.Join(err, r.verify(request.Header, body))
	}
	if err != nil {
		r.t.Errorf("request: %v", err)
	}
	r.received = append(r.received, received{request.Header.Clone(), request.URL.Path, body})
	for name, values := range r.header {
		w.Header()[name] = values
	}
	if len(r.statuses) > 0 {
		w.WriteHeader(r.statuses[0])
		r.statuses = r.statuses[1:]
	}
}

func (r *receiver) verify(h http.Header, body []byte) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.secret, "whsec_"))
	if err != nil || len(key) < 24 || len(key) > 64 {
		return errors.New("the secret is not what Standard Webhooks wants")
	}
	at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil || time.Since(time.Unix(at, 0)).Abs() > 5*time.Minute {
		return errors.New("the timestamp is off")
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(h.Get("webhook-id") + "." + h.Get("webhook-timestamp") + "." + string(body)))
	if h.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		return errors.New("the signature does not fit")
	}
	return nil
}

func (r *receiver) answer(statuses ...int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.statuses = statuses
}

func (r *receiver) requests() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]received{}, r.received...)
}

type world struct {
	*Service
	t    *testing.T
	db   *store.DB
	user auth.Principal
	to   *receiver
}

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	db := storetest.SQLite(t)
	w := &world{t: t, db: db, user: auth.Principal{UserID: storetest.User(t, db).ID, SessionID: "s"}, to: newReceiver(t)}
	w.Service = w.service(db, change)
	return w
}

func (w *world) service(db Store, change func(*Config)) *Service {
	w.t.Helper()
	sender := outbound.New(outbound.Config{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: time.Minute})
	w.t.Cleanup(sender.Close)
	c := Config{Store: db, Sender: sender, Patience: jobs.Patience{Interval: 10 * time.Millisecond, FirstPause: 1, LongestWait: 2}}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func (w *world) create(kind store.WebhookKind, path string, types ...string) store.Webhook {
	w.t.Helper()
	hook, err := w.Create(w.t.Context(), w.user, store.Webhook{Name: "hook", Kind: kind, URL: w.to.URL + path, EventTypes: types})
	if err != nil {
		w.t.Fatal(err)
	}
	if kind == store.KindWebhook {
		w.to.mu.Lock()
		w.to.secret = hook.Secret
		w.to.mu.Unlock()
	}
	return hook
}

func start(t *testing.T, s *Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// await polls until the delivery has ended.
func (w *world) await(hook store.Webhook, id string) store.Delivery {
	w.t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		d, err := w.Delivery(w.t.Context(), w.user, hook.ID, id)
		if err != nil {
			w.t.Fatal(err)
		}
		if d.Status != store.WorkQueued {
			return d
		}
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("delivery stays %+v", d)
		}
	}
}

func (w *world) log(hook store.Webhook) []store.Delivery {
	w.t.Helper()
	list, err := w.Deliveries(w.t.Context(), w.user, store.DeliveryFilter{WebhookID: hook.ID}, store.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func TestSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hook := w.create(store.KindWebhook, "/in?key=1", "motion:started", "motion:started")
	start(t, w.Service)
	for _, typ := range []string{"motion:ended", "motion:started"} { // the first is not wanted
		if err := w.Send(t.Context(), w.user.UserID, typ, "", map[string]string{"cameraName": "Tür"}); err != nil {
			t.Fatal(err)
		}
	}
	log := w.log(hook)
	if len(log) != 1 {
		t.Fatalf("log %+v", log)
	}
	d := w.await(hook, log[0].ID)
	if d.Status != store.WorkSent || d.Attempts != 1 || d.ResponseStatus != http.StatusOK {
		t.Errorf("delivery %+v", d)
	}
	r := w.to.requests()[0]
	var got struct {
		Type      string
		Timestamp time.Time
		Data      map[string]string
	}
	if err := json.Unmarshal(r.body, &got); err != nil || got.Type != "motion:started" || got.Data["cameraName"] != "Tür" ||
		!got.Timestamp.Equal(d.CreatedAt) {
		t.Errorf("body %s, %v", r.body, err)
	}
	if r.header.Get("Content-Type") != "application/json" || r.path != "/in" || r.header.Get("webhook-id") != d.MessageID {
		t.Errorf("header %v", r.header)
	}
}

func TestRetryDeadReplay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxAttempts = 3 })
	hook := w.create(store.KindWebhook, "/")
	start(t, w.Service)
	w.to.answer(500, 302, 200)
	d, err := w.Ping(t.Context(), w.user, hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d = w.await(hook, d.ID); d.Status != store.WorkSent || d.Attempts != 3 {
		t.Errorf("delivery %+v", d)
	}
	w.to.answer(500, 404, 401)
	d, err = w.Ping(t.Context(), w.user, hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d = w.await(hook, d.ID); d.Status != store.WorkFailed || d.Error != errRefused || d.ResponseStatus != 401 {
		t.Errorf("delivery %+v", d)
	}
	again, err := w.Replay(t.Context(), w.user, hook.ID, d.ID)
	if err != nil || again.ID != d.ID || again.Status != store.WorkQueued || again.Attempts != 0 {
		t.Fatalf("a dead letter is tried again as %+v, %v", again, err)
	}
	if again = w.await(hook, again.ID); again.Status != store.WorkSent || again.Error != "" {
		t.Errorf("replay %+v", again)
	}
	again, err = w.Replay(t.Context(), w.user, hook.ID, d.ID)
	if err != nil || again.ID == d.ID || again.MessageID != d.MessageID {
		t.Fatalf("what was sent is sent again as %+v, %v", again, err)
	}
	if again = w.await(hook, again.ID); again.Status != store.WorkSent {
		t.Errorf("replay %+v", again)
	}
	if err := w.DeleteDelivery(t.Context(), w.user, "another hook", again.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted from another webhook's log: %v", err)
	}
	if err := w.DeleteDelivery(t.Context(), w.user, hook.ID, again.ID); err != nil {
		t.Error(err)
	}
	ids := map[string]int{}
	for _, r := range w.to.requests() {
		ids[r.header.Get("webhook-id")]++
	}
	if len(ids) != 2 || ids[d.MessageID] != 5 {
		t.Errorf("message ids %v", ids)
	}
	stats, err := w.Stats(t.Context())
	if err != nil || stats.TotalDead != 1 || stats.TotalSent != 3 || stats.TotalRetried != 4 || stats.Dead != 0 || stats.Sent != 2 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}

func TestGoneDisables(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hook := w.create(store.KindWebhook, "/")
	start(t, w.Service)
	w.to.answer(http.StatusGone)
	d, err := w.Ping(t.Context(), w.user, hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d = w.await(hook, d.ID); d.Status != store.WorkFailed || d.Error != errGone || d.Attempts != 1 {
		t.Errorf("delivery %+v", d)
	}
	got, err := w.Webhook(t.Context(), w.user, hook.ID)
	if err != nil || got.Enabled || got.DisabledReason != errGone {
		t.Errorf("webhook %+v, %v", got, err)
	}
	if err := w.Send(t.Context(), w.user.UserID, "motion:started", "", nil); err != nil {
		t.Fatal(err)
	}
	if n := len(w.log(hook)); n != 1 {
		t.Errorf("%d deliveries to a disabled webhook", n)
	}
	if replay, err := w.Replay(t.Context(), w.user, hook.ID, d.ID); err != nil || w.await(hook, replay.ID).Status != store.WorkSent {
		t.Errorf("a ping may be tried again: %v", err)
	}
	on := true
	if got, err = w.Update(t.Context(), w.user, hook.ID, store.WebhookChange{Enabled: &on}); err != nil || got.DisabledReason != "" {
		t.Errorf("enabled again: %+v, %v", got, err)
	}
}

func TestNtfy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hook, err := w.Create(t.Context(), w.user, store.Webhook{
		Name: "phone", Kind: store.KindNtfy, URL: w.to.URL + "/base/my-topic", AccessToken: "tk_secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.Service)
	err = w.Send(t.Context(), w.user.UserID, "motion:started", "", map[string]string{
		"cameraName": "Tür", "triggeredBy": "person", "url": "https://cam.example/sim#/events/1", "thumbnailUrl": "https://cam.example/t.jpg",
	})
	if err != nil {
		t.Fatal(err)
	}
	w.await(hook, w.log(hook)[0].ID)
	r := w.to.requests()[0]
	var got map[string]any
	if err := json.Unmarshal(r.body, &got); err != nil {
		t.Fatal(err)
	}
	if r.path != "/base/" || got["topic"] != "my-topic" || got["title"] != "Tür" || got["message"] != "Detected: person." ||
		got["click"] != "https://cam.example/sim#/events/1" || got["attach"] != "https://cam.example/t.jpg" {
		t.Errorf("to %s: %v", r.path, got)
	}
	if r.header.Get("Authorization") != "Bearer tk_secret" || r.header.Get("webhook-signature") != "" {
		t.Errorf("header %v", r.header)
	}
}

func TestRefusedURLs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	hook := w.create(store.KindWebhook, "/")
	for _, test := range []struct {
		kind store.WebhookKind
		url  string
		want error
	}{
		{store.KindWebhook, "https://169.254.169.254/", ErrURL},
		{store.KindWebhook, "https://[::1]/", ErrURL},
		{store.KindWebhook, "http://10.0.0.1/", ErrURL},
		{store.KindWebhook, "file:///etc/passwd", ErrURL},
		{store.KindNtfy, "https://ntfy.sh/", ErrTopic},
		{store.KindNtfy, "https://ntfy.sh", ErrTopic},
		{store.KindNtfy, "https://ntfy.sh/a?b=c", ErrTopic},
	} {
		_, err := w.Create(t.Context(), w.user, store.Webhook{Name: "x", Kind: test.kind, URL: test.url})
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.url, err, test.want)
		}
	}
	bad := "https://192.168.0.1/"
	if _, err := w.Update(t.Context(), w.user, hook.ID, store.WebhookChange{URL: &bad}); !errors.Is(err, ErrURL) {
		t.Errorf("changed to %s: %v", bad, err)
	}
	// A name that passes the look leads to an address that does not.
	name := strings.Replace(w.to.URL, "127.0.0.1", "localhost", 1)
	elsewhere := w.service(w.db, func(c *Config) {
		c.Sender = outbound.New(outbound.Config{Networks: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}})
	})
	if _, err := w.Update(t.Context(), w.user, hook.ID, store.WebhookChange{URL: &name}); err != nil {
		t.Fatal(err)
	}
	start(t, elsewhere)
	d, err := w.Ping(t.Context(), w.user, hook.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d = w.await(hook, d.ID); d.Error != errAddress || len(w.to.requests()) != 0 {
		t.Errorf("delivery %+v, %d requests", d, len(w.to.requests()))
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range maxWebhooks {
		w.create(store.KindWebhook, "/")
	}
	_, err := w.Create(t.Context(), w.user, store.Webhook{Name: "x", Kind: store.KindWebhook, URL: w.to.URL})
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
}

// TestManyProcesses has two processes deliver from one database.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresURL(t)
	w := &world{t: t, to: newReceiver(t)}
	for i := range 2 {
		db, err := store.Open(t.Context(), store.Config{URL: databaseURL})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
		if i == 0 {
			if err := db.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.db, w.user = db, auth.Principal{UserID: storetest.User(t, db).ID}
		}
		w.Service = w.service(db, func(c *Config) { c.Interval = 50 * time.Millisecond })
		start(t, w.Service)
	}
	hook := w.create(store.KindWebhook, "/")
	const count = 30
	for i := range count {
		for range 2 { // both processes tell of it
			if err := w.Send(t.Context(), w.user.UserID, "stream:ended", strconv.Itoa(i), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	log := w.log(hook)
	for _, d := range log {
		w.await(hook, d.ID)
	}
	if len(log) != count || len(w.to.requests()) != count {
		t.Errorf("%d deliveries, %d requests, want %d", len(log), len(w.to.requests()), count)
	}
}

// TestHangingReceiver has a user whose receiver takes requests and never
// answers, with more queued than there are workers, and another whose one
// message must not wait for that.
func TestHangingReceiver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	other := auth.Principal{UserID: storetest.User(t, w.db).ID, SessionID: "s"}
	held, free := make(chan struct{}, 1000), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		held <- struct{}{}
		select {
		case <-free:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hanging.Close)
	for range 3 {
		_, err := w.Create(t.Context(), other, store.Webhook{Name: "dead", Kind: store.KindWebhook, URL: hanging.URL})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 170 { // 510 deliveries
		if err := w.Send(t.Context(), other.UserID, "x", "", struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	start(t, w.Service)
	t.Cleanup(func() { close(free) })
	for range 4 { // all that the user may have under way
		<-held
	}
	w.create(store.KindWebhook, "/hook")
	if err := w.Send(t.Context(), w.user.UserID, "x", "", struct{}{}); err != nil {
		t.Fatal(err)
	}
	for len(w.to.requests()) == 0 {
		select {
		case <-t.Context().Done():
			t.Fatal("the other user's message did not go out")
		case <-held:
			t.Fatal("one user has more than its share")
		case <-time.After(time.Millisecond):
		}
	}
}
