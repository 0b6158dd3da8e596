package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// fasthttp keeps a goroutine for the Date header, and lets those that clean
// worker pools sleep on for 10 s.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

const testETag, restartedETag = `"ice-1"`, `"ice-2"`

var errNoSuchSession = fault.New(fault.NotFound, "not_found", "No such session.")

// fakeSFU records what it is asked.
type fakeSFU struct {
	mu  sync.Mutex
	err error
	// counters is what counter-offers fail with; nil fails them like all else.
	counters *error
	calls    []string
	open     map[string]bool
	state    Activity
	next     int
	// during runs while an offer is being answered.
	during func()
}

func (s *fakeSFU) answer(call, sessionID string) (Answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if s.during != nil {
		s.during()
	}
	if s.err != nil && (s.counters == nil || !strings.HasPrefix(call, "counter ")) {
		return Answer{}, s.err
	}
	if strings.HasPrefix(call, "counter ") && *s.counters != nil {
		return Answer{}, *s.counters
	}
	s.next++
	sessionID += string(rune('a' + s.next))
	s.open[sessionID] = true
	return Answer{SessionID: sessionID, SDP: []byte("v=0 answer"), ETag: testETag}, nil
}

func (s *fakeSFU) Publish(_ context.Context, mediaSession string, offer []byte) (Answer, error) {
	return s.answer("publish "+mediaSession+" "+string(offer), "whip-")
}

func (s *fakeSFU) PublishTwoWay(_ context.Context, mediaSession string, offer []byte) (Answer, error) {
	return s.answer("publish two-way "+mediaSession+" "+string(offer), "whip-")
}

func (s *fakeSFU) Play(_ context.Context, mediaSession, viewer string, wish Quality, offer []byte) (Answer, error) {
	return s.answer("play "+mediaSession+" "+viewer+wished(wish)+" "+string(offer), "whep-")
}

func wished(q Quality) string {
	if q.MaxHeight == 0 {
		return ""
	}
	return fmt.Sprintf(" %dp", q.MaxHeight)
}

func (s *fakeSFU) CounterOffer(_ context.Context, mediaSession, viewer string, wish Quality) (Answer, time.Time, error) {
	a, err := s.answer("counter "+mediaSession+" "+viewer+wished(wish), "counter-")
	return a, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), err
}

func (s *fakeSFU) Accept(_ context.Context, id string, answer []byte) error {
	return s.touch("accept "+id+" "+string(answer), id, false)
}

func (s *fakeSFU) Has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

func (s *fakeSFU) State(string) Activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *fakeSFU) Update(_ context.Context, id string, u Update) (Updated, error) {
	if err := s.touch(fmt.Sprintf("update %s any=%v %s", id, u.Any, u.Fragment), id, false); err != nil {
		return Updated{}, err
	}
	switch {
	case !u.Any && !slices.Contains(u.ETags, testETag):
		return Updated{}, ErrStaleETag
	case u.Any:
		return Updated{ETag: restartedETag, Fragment: []byte("a=ice-ufrag:new\r\n")}, nil
	}
	return Updated{}, nil
}

func (s *fakeSFU) SetQuality(id string, q Quality) error {
	return s.touch(fmt.Sprintf("quality %s %d %s %t", id, q.MaxHeight, q.RID, q.Paused), id, false)
}

func (s *fakeSFU) Layers(mediaSession string) []Layer {
	return []Layer{{RID: mediaSession, Active: true, Height: 360}}
}

func (s *fakeSFU) Close(id, reason string) error { return s.touch("close "+id+" "+reason, id, true) }

func (s *fakeSFU) touch(call, id string, remove bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
	if !s.open[id] {
		return errNoSuchSession
	}
	if remove {
		delete(s.open, id)
	}
	return nil
}

// take returns the calls since the last take.
func (s *fakeSFU) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

// fakeICE is a STUN and a TURN server on the host that the client came to.
type fakeICE struct{}

func (fakeICE) ICEServers(host string, who Guest) []ICEServer {
	return []ICEServer{
		{URLs: []string{"stun:" + host + ":3478"}},
		{
			URLs:     []string{"turn:" + host + ":3478?transport=udp", "turn:" + host + ":3478?transport=tcp"},
			Username: `1:"` + who.UserID + `"`, Credential: `a\b`,
		},
	}
}

// fakeSessions opens media sessions as control/streams does, without the rest.
type fakeSessions struct{ db *store.DB }

func (s fakeSessions) OpenMedia(ctx context.Context, p auth.Principal) (store.MediaSession, error) {
	m := store.MediaSession{
		ID: storetest.ID(), OwnerUserID: p.UserID, CameraDeviceID: p.DeviceID, Continuous: true, CreatedAt: storetest.Now(),
	}
	return s.db.OpenMediaSession(ctx, m, p.Actor())
}

func (s fakeSessions) EndMedia(ctx context.Context, p auth.Principal, id string) error {
	_, err := s.db.EndMediaSession(ctx, id, "ended_by_camera", storetest.Now(), p.Actor())
	return err
}

// world is the service behind a real listener, on a real database with a
// camera and a client that watches it.
type world struct {
	*Service
	db   *store.DB
	auth *auth.Service
	sfu  *fakeSFU
	url  string
	http *http.Client

	user           store.User
	camera, client store.Device
	stream         store.Stream

	mu sync.Mutex
	at time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{db: storetest.SQLite(t), sfu: &fakeSFU{open: map[string]bool{}}, at: time.Now()}
	w.user = storetest.User(t, w.db)
	w.camera, w.client = storetest.Camera(t, w.db, w.user.ID), storetest.Client(t, w.db, w.user.ID)
	w.stream = w.watch(t, w.client)
	secret := []byte("a secret of the tests")
	w.auth = must[*auth.Service](t)(auth.New(auth.Config{Store: w.db, Secret: secret}))
	w.Service = New(Config{
		Store: w.db, SFU: w.sfu, Signer: must[*auth.Signer](t)(auth.NewSigner(secret, "media")),
		Sessions: fakeSessions{w.db}, ICE: fakeICE{}, Logger: slog.New(slog.DiscardHandler), Now: w.clock,
	})
	w.url = serve(t, w.Service, w.auth)
	w.http = &http.Client{Transport: &http.Transport{}}
	t.Cleanup(w.http.CloseIdleConnections)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// watch opens a streaming stream.
func (w *world) watch(t *testing.T, client store.Device) store.Stream {
	t.Helper()
	at := storetest.Now()
	s := store.Stream{
		ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, RequesterDeviceID: client.ID,
		Status: store.StreamRequested, MediaProvider: "sfu", CreatedAt: at, UpdatedAt: at,
	}
	cmd := store.Command{
		ID: storetest.ID(), OwnerUserID: w.user.ID, SourceDeviceID: client.ID, TargetDeviceID: w.camera.ID,
		CommandType: "start_stream", Payload: []byte("{}"), Status: store.CommandQueued, CreatedAt: at, UpdatedAt: at,
	}
	s = must[store.Stream](t)(w.db.RequestStream(t.Context(), s, cmd, store.Actor{}))
	if s.Status == store.StreamRequested {
		m := store.MediaSession{ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, CreatedAt: at}
		var err error
		if s, _, err = w.db.AcceptStream(t.Context(), w.camera.ID, s.ID, m, store.Actor{}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// serve runs the routes on a listener of their own until the test ends.
func serve(t *testing.T, s *Service, a auth.Authenticator) string {
	t.Helper()
	app := fiber.New(fiber.Config{
		ErrorHandler: rest.ErrorHandler, Immutable: true, DisableStartupMessage: true, BodyLimit: 1 << 20,
	})
	app.Use(rest.Record(rest.RecordConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}))
	api := rest.New(app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, a))
	s.Mount(app, api)

	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- app.Listener(ln) }()
	t.Cleanup(func() {
		err := app.ShutdownWithTimeout(10 * time.Second)
		_ = ln.Close() // the server may not have known it yet: then it would go on
		if err := errors.Join(err, <-done); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String()
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func principalOf(d store.Device) auth.Principal {
	return auth.Principal{UserID: d.UserID, DeviceID: d.ID, Role: d.Role}
}

// issued returns the camera's and the client's.
func (w *world) issued(t *testing.T) (whip, whep Credentials) {
	t.Helper()
	whip = must[Credentials](t)(w.PublishCredentials(t.Context(), principalOf(w.camera), w.stream.ID, w.url))
	whep = must[Credentials](t)(w.SubscribeCredentials(t.Context(), principalOf(w.client), w.stream.ID, w.url))
	return whip, whep
}

// call is one HTTP request.
type call struct {
	method, url, token string
	contentType, body  string
	header             http.Header
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) do(t *testing.T, c call) answer {
	t.Helper()
	target := must[*url.URL](t)(url.Parse(w.url))
	target = must[*url.URL](t)(target.Parse(c.url))
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), c.method, target.String(), bytes.NewReader([]byte(c.body))))
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, values := range c.header {
		req.Header[name] = slices.Clone(values)
		if name == "Host" {
			req.Host = values[0]
		}
	}
	resp := must[*http.Response](t)(w.http.Do(req))
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body := must[[]byte](t)(io.ReadAll(resp.Body))
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

// openSession makes a session and returns its URL.
func (w *world) openSession(t *testing.T, c Credentials) string {
	t.Helper()
	got := w.do(t, call{method: http.MethodPost, url: c.URL, token: c.Token, contentType: typeSDP, body: "v=0"})
	if got.status != http.StatusCreated {
		t.Fatalf("POST %s: %d %s", c.Protocol, got.status, got.body)
	}
	w.sfu.take()
	return got.header.Get("Location")
}
