package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/control/webpush"
	"github.com/securecam/securecam/control/webpush/webpushtest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps the date for its headers as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

func newIdentity(t *testing.T) *webpush.Server {
	t.Helper()
	s, err := webpush.NewServer(bytes.Repeat([]byte{9}, 32), "mailto:ops@example.org")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newSender(t *testing.T) *outbound.Client {
	t.Helper()
	c := outbound.New(outbound.Config{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: time.Minute})
	t.Cleanup(c.Close)
	return c
}

// world is a user with a client whose browser has subscribed.
type world struct {
	*Service
	t       *testing.T
	db      *store.DB
	user    auth.Principal
	client  auth.Principal
	browser *webpushtest.Browser
}

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	db := storetest.SQLite(t)
	u := storetest.User(t, db)
	d := storetest.Client(t, db, u.ID)
	w := &world{
		t: t, db: db, user: auth.Principal{UserID: u.ID, SessionID: "s"},
		client: auth.Principal{UserID: u.ID, DeviceID: d.ID, Role: store.RoleClient},
	}
	w.Service = w.service(db, change)
	w.browser = webpushtest.New(t, w.cfg.Identity.PublicKey())
	return w
}

// service returns another process on a database.
func (w *world) service(db Store, change func(*Config)) *Service {
	w.t.Helper()
	c := Config{
		Store: db, Sender: newSender(w.t), Identity: newIdentity(w.t),
		Patience: jobs.Patience{Interval: 5 * time.Millisecond, FirstPause: 1, LongestWait: 2},
	}
	if change != nil {
		change(&c)
	}
	return New(c)
}

func (w *world) subscribe() {
	w.t.Helper()
	_, err := w.Subscribe(w.t.Context(), w.client, store.PushSubscription{
		DeviceID: w.client.DeviceID, Endpoint: w.browser.Endpoint, P256dh: w.browser.P256dh, AuthSecret: w.browser.Auth,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) send(data any) store.Push {
	w.t.Helper()
	m := Message{UserID: w.user.UserID, DeviceID: w.client.DeviceID, Type: "stream:ended", Data: data}
	p, err := w.Send(w.t.Context(), m, store.Actor{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// start runs a service until the returned function, or the test's end.
func start(t *testing.T, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// await polls until the push is as wanted.
func (w *world) await(id string, wanted func(store.Push) bool) store.Push {
	w.t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := w.Push(w.t.Context(), w.user, id)
		if err != nil {
			w.t.Fatal(err)
		}
		if wanted(p) {
			return p
		}
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("push stays %+v", p)
		}
	}
}

func has(status store.WorkStatus) func(store.Push) bool {
	return func(p store.Push) bool { return p.Status == status }
}

func TestDelivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.subscribe()
	start(t, w.Service)
	p := w.send(map[string]string{"cameraName": "Tür 🚪"})
	m := w.browser.Await(1)[0]
	var got map[string]string
	if err := json.Unmarshal(m.Plaintext, &got); err != nil {
		t.Fatal(err)
	}
	if got["cameraName"] != "Tür 🚪" || got["type"] != "stream:ended" || got["pushId"] != p.ID {
		t.Errorf("the browser reads %v", got)
	}
	if m.Claims.Subject != "mailto:ops@example.org" {
		t.Errorf("claims %+v", m.Claims)
	}
	if m.Header.Get("Content-Encoding") != "aes128gcm" || m.Header.Get("Ttl") != "14400" || m.Header.Get("Urgency") != "high" {
		t.Errorf("header %v", m.Header)
	}
	p = w.await(p.ID, has(store.WorkSent))
	if p.Attempts != 1 || p.SentAt.IsZero() || p.Error != "" {
		t.Errorf("push %+v", p)
	}
	stats, err := w.Stats(t.Context())
	for err == nil && stats.TotalSent == 0 { // it is counted after the row is written
		runtime.Gosched()
		stats, err = w.Stats(t.Context())
	}
	if err != nil || stats.TotalSent != 1 || stats.Queued != 0 || stats.Sent != 1 {
		t.Errorf("stats %+v, %v", stats, err)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status   int
		reason   string
		attempts int
	}{
		{http.StatusBadRequest, "refused:400", 1},
		{http.StatusForbidden, "refused:403", 1},
		{http.StatusRequestEntityTooLarge, "refused:413", 1},
		{http.StatusTooManyRequests, "refused:429", 3},
		{http.StatusBadGateway, "refused:502", 3},
		{http.StatusFound, "refused:302", 1},
	} {
		t.Run(test.reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.MaxAttempts = 3 })
			w.subscribe()
			w.browser.Answer(test.status, nil)
			start(t, w.Service)
			p := w.await(w.send(nil).ID, has(store.WorkFailed))
			if p.Error != test.reason || p.Attempts != test.attempts || w.browser.Requests() != test.attempts {
				t.Errorf("push %+v after %d requests", p, w.browser.Requests())
			}
			// A dead letter is sent again when somebody wants that.
			w.browser.Answer(http.StatusCreated, nil)
			if _, err := w.Retry(t.Context(), w.user, p.ID); err != nil {
				t.Fatal(err)
			}
			w.await(p.ID, has(store.WorkSent))
			if _, err := w.Retry(t.Context(), w.user, p.ID); err == nil {
				t.Error("what was sent is sent again")
			}
		})
	}
}

func TestGone(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusGone, http.StatusNotFound} {
		w := newWorld(t, func(c *Config) { c.MaxAttempts = 2 })
		w.subscribe()
		w.browser.Answer(status, nil)
		start(t, w.Service)
		p := w.await(w.send(nil).ID, has(store.WorkFailed))
		if p.Error != errNoSubscription || w.browser.Requests() != 1 {
			t.Errorf("%d: %s after %d requests", status, p.Error, w.browser.Requests())
		}
		if _, err := w.Subscription(t.Context(), w.client, w.client.DeviceID); err == nil {
			t.Errorf("%d: the subscription is still there", status)
		}
	}
}

// TestSubscribeLater has a device without a subscription: nothing is queued for
// it. What was, when it still had one, costs one attempt, and is sent once it
// has one again and asks for that.
func TestSubscribeLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, err := w.Send(t.Context(), Message{UserID: w.client.UserID, DeviceID: w.client.DeviceID, Type: "x", Data: struct{}{}}, store.Actor{})
	if list, _ := w.List(t.Context(), w.user, store.PushFilter{}, store.Page{}); !errors.Is(err, store.ErrNotFound) || len(list) != 0 {
		t.Errorf("queued %v, %v without a subscription", list, err)
	}
	w.subscribe()
	queued := w.send(nil)
	if err := w.Unsubscribe(t.Context(), w.client, w.client.DeviceID); err != nil {
		t.Fatal(err)
	}
	start(t, w.Service)
	p := w.await(queued.ID, func(p store.Push) bool { return p.Error != "" })
	if p.Status != store.WorkFailed || p.Attempts != 1 || p.Error != errNoSubscription {
		t.Errorf("push %+v", p)
	}
	w.subscribe()
	if _, err := w.Retry(t.Context(), w.client, p.ID); err != nil {
		t.Fatal(err)
	}
	w.browser.Await(1)
	w.await(p.ID, has(store.WorkSent))
}

func TestRetryAfterAndDispatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.subscribe()
	w.browser.Answer(http.StatusServiceUnavailable, http.Header{"Retry-After": {"1800"}})
	start(t, w.Service)
	p := w.await(w.send(nil).ID, func(p store.Push) bool { return p.Error != "" })
	if wait := p.NextAttemptAt.Sub(p.UpdatedAt); wait != 30*time.Minute {
		t.Errorf("waits %v", wait)
	}
	w.browser.Answer(http.StatusCreated, nil)
	n, err := w.Dispatch(t.Context(), w.user)
	if err != nil || n != 1 {
		t.Fatalf("dispatched %d, %v", n, err)
	}
	w.await(p.ID, has(store.WorkSent))
}

// TestManyProcesses has three processes, each with its own connections, work on
// one queue: every push must reach the browser exactly once.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	databaseURL := storetest.PostgresURL(t)
	w := &world{t: t}
	services := make([]*Service, 3)
	for i := range services {
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
			u := storetest.User(t, db)
			d := storetest.Client(t, db, u.ID)
			w.db, w.user = db, auth.Principal{UserID: u.ID}
			w.client = auth.Principal{UserID: u.ID, DeviceID: d.ID}
		}
		services[i] = w.service(db, func(c *Config) { c.Interval = 50 * time.Millisecond })
	}
	w.Service = services[0]
	w.browser = webpushtest.New(t, w.cfg.Identity.PublicKey())
	w.subscribe()
	const count = 40
	for range count / 2 {
		w.send(nil)
	}
	for _, s := range services {
		start(t, s)
	}
	for range count / 2 {
		w.send(nil)
	}
	messages := w.browser.Await(count)
	seen := map[string]bool{}
	for _, m := range messages {
		var got struct{ PushID string }
		if err := json.Unmarshal(m.Plaintext, &got); err != nil || seen[got.PushID] {
			t.Errorf("%s came twice, %v", got.PushID, err)
		}
		seen[got.PushID] = true
	}
	for id := range seen {
		if p := w.await(id, has(store.WorkSent)); p.Attempts != 1 {
			t.Errorf("push %s took %d attempts", id, p.Attempts)
		}
	}
	if n := w.browser.Requests(); n != count {
		t.Errorf("%d requests for %d pushes", n, count)
	}
}

// claim takes what is due, as a worker does.
func (w *world) claim(limit int) ([]store.Push, error) {
	now := time.Now()
	return mail{w.Service}.Claim(w.t.Context(), store.Claim{At: now, Until: now.Add(time.Minute), Limit: limit})
}

// TestDeadProcess has a process claim a push and die.
func TestDeadProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.subscribe()
	p := w.send(nil)
	claimed, err := w.claim(10)
	if err != nil || len(claimed) != 1 {
		t.Fatalf("claimed %v, %v", claimed, err)
	}
	heir := w.service(w.db, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(2 * time.Minute) } // after the lease
	})
	start(t, heir)
	w.browser.Await(1)
	w.await(p.ID, has(store.WorkSent))
	// The dead one was only slow, and comes back: too late.
	err = mail{w.Service}.Settle(t.Context(), claimed[0], store.DeliveryOutcome{Outcome: store.Outcome{
		Status: store.WorkQueued, At: time.Now(), NextAttemptAt: time.Now(),
	}})
	if p := w.await(p.ID, has(store.WorkSent)); p.Attempts != 2 || !errors.Is(err, store.ErrConflict) {
		t.Errorf("push %+v, %v", p, err)
	}
}

// TestLastAttemptLost has the process die in the last attempt that there is.
func TestLastAttemptLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.MaxAttempts = 1 })
	w.subscribe()
	p := w.send(nil)
	if _, err := w.claim(10); err != nil {
		t.Fatal(err)
	}
	heir := w.service(w.db, func(c *Config) {
		c.MaxAttempts = 1
		c.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	})
	start(t, heir)
	if p := w.await(p.ID, has(store.WorkFailed)); p.Error != jobs.ReasonLost || w.browser.Requests() != 0 {
		t.Errorf("push %+v", p)
	}
}

// hanging is a push service that does not answer.
type hanging struct {
	Sender
	asked chan struct{}
}

func (h hanging) Post(ctx context.Context, _ string, _ http.Header, _ io.Reader) (outbound.Response, error) {
	h.asked <- struct{}{}
	<-ctx.Done()
	return outbound.Response{}, ctx.Err()
}

func TestStopGivesBack(t *testing.T) {
	t.Parallel()
	h := hanging{newSender(t), make(chan struct{}, 1)}
	w := newWorld(t, func(c *Config) { c.Sender = h })
	w.subscribe()
	stop := start(t, w.Service)
	p := w.send(nil)
	<-h.asked
	stop()
	p = w.await(p.ID, has(store.WorkQueued))
	if p.Error != jobs.ReasonStopped || p.NextAttemptAt.After(time.Now()) {
		t.Errorf("push %+v", p)
	}
	start(t, w.service(w.db, nil))
	w.browser.Await(1)
}

func TestBadSubscriptions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	good := store.PushSubscription{
		DeviceID: w.client.DeviceID, Endpoint: w.browser.Endpoint, P256dh: w.browser.P256dh, AuthSecret: w.browser.Auth,
	}
	for name, change := range map[string]func(*store.PushSubscription){
		"metadata": func(s *store.PushSubscription) { s.Endpoint = "https://169.254.169.254/latest" },
		"private":  func(s *store.PushSubscription) { s.Endpoint = "https://10.0.0.1/" },
		"scheme":   func(s *store.PushSubscription) { s.Endpoint = "ftp://push.example/" },
		"key":      func(s *store.PushSubscription) { s.P256dh = strings.Repeat("A", 87) },
		"auth":     func(s *store.PushSubscription) { s.AuthSecret = "AAAA" },
		"device":   func(s *store.PushSubscription) { s.DeviceID = storetest.ID() },
	} {
		sub := good
		change(&sub)
		if _, err := w.Subscribe(t.Context(), w.user, sub); err == nil {
			t.Errorf("%s: is taken", name)
		}
	}
	// What came past the look, as by an older version, must not be sent to.
	bad := good
	bad.UserID, bad.Endpoint, bad.CreatedAt = w.user.UserID, "https://169.254.169.254/latest", storetest.Now()
	if err := w.db.SetPushSubscription(t.Context(), bad, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	start(t, w.Service)
	if p := w.await(w.send(nil).ID, has(store.WorkFailed)); p.Error != errAddress {
		t.Errorf("push %+v", p)
	}
}
