package streams

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// fasthttp keeps a goroutine for the Date header.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

// failer is what *testing.T and *rapid.T share.
type failer interface {
	Errorf(format string, args ...any)
}

// hearing is one event that a device was sent.
type hearing struct{ device, event, stream, status string }

// fakeGateway records events, and fails the test if one comes before its
// change is committed.
type fakeGateway struct {
	t    failer
	db   *store.DB
	user string
	mu   sync.Mutex
	sent []hearing
	away map[string]bool

	signal      gateway.Handler
	signalLimit gateway.Limit
}

func (g *fakeGateway) Send(ctx context.Context, device, event string, data any) (bool, error) {
	s, ok := data.(Stream)
	if !ok {
		g.t.Errorf("%s carries %T, want a Stream", event, data)
	}
	if row, err := g.db.Stream(context.WithoutCancel(ctx), g.user, s.ID); err != nil || string(row.Status) != s.Status {
		g.t.Errorf("%s told %s of status %s before the row had it (%s, %v)", event, device, s.Status, row.Status, err)
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, hearing{device, event, s.ID, s.Status})
	return true, nil
}

// Relay records a signal: its stream and who it comes from.
func (g *fakeGateway) Relay(_ context.Context, device, event string, data any) (bool, error) {
	signal, _ := data.(map[string]json.RawMessage)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent = append(g.sent, hearing{device, event, string(signal["streamSessionId"]), string(signal["fromDeviceId"])})
	return !g.away[device], nil
}

func (g *fakeGateway) HandleWithin(_ string, l gateway.Limit, h gateway.Handler) {
	g.signal, g.signalLimit = h, l
}

func (g *fakeGateway) Connected(_ context.Context, device string) (bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.away[device], nil
}

// take returns what was sent since the last take.
func (g *fakeGateway) take() []hearing {
	g.mu.Lock()
	defer g.mu.Unlock()
	sent := g.sent
	g.sent = nil
	return sent
}

// fakeCommands records commands, and fails the test if one is not committed.
type fakeCommands struct {
	t    failer
	db   *store.DB
	sent []store.Command
}

func (c *fakeCommands) Dispatch(ctx context.Context, cmd store.Command) {
	if _, err := c.db.Command(ctx, cmd.OwnerUserID, cmd.ID); err != nil {
		c.t.Errorf("command dispatched before its row: %v", err)
	}
	c.sent = append(c.sent, cmd)
}

// fakeMedia is an SFU that holds what tests put there.
type fakeMedia struct {
	mu    sync.Mutex
	held  map[string]MediaStatus
	calls []string
}

func (m *fakeMedia) Name() string { return ProviderSFU }

func (m *fakeMedia) Held() map[string]MediaStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := maps.Clone(m.held)
	for id, s := range held {
		s.Viewers = maps.Clone(s.Viewers)
		held[id] = s
	}
	return held
}

func (m *fakeMedia) Look(_ context.Context, held map[string]MediaStatus, _ []store.MediaSession, _ []store.Stream) (
	map[string]MediaStatus, error,
) {
	return held, nil
}

func (m *fakeMedia) End(id, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, id)
	m.calls = append(m.calls, fmt.Sprintf("end %s %s", id, reason))
}

func (m *fakeMedia) CloseViewer(id, stream, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held[id].Viewers, stream)
	m.calls = append(m.calls, fmt.Sprintf("close %s %s %s", id, stream, reason))
}

// publish puts a publisher and viewers into the SFU.
func (m *fakeMedia) publish(id string, viewers ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	status := MediaStatus{Publishing: true, Viewers: map[string]int{}}
	for _, v := range viewers {
		status.Viewers[v]++
	}
	m.held[id] = status
}

// lose takes the publisher away and keeps the viewers.
func (m *fakeMedia) lose(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if status, ok := m.held[id]; ok {
		status.Publishing = false
		m.held[id] = status
	}
}

func (m *fakeMedia) take() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	calls := m.calls
	m.calls = nil
	return calls
}

// clock is a time that only tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// world is a service on a real database with one user, a camera and two
// clients.
type world struct {
	*Service
	db       *store.DB
	gateway  *fakeGateway
	commands *fakeCommands
	media    *fakeMedia
	clock    *clock

	user           store.User
	camera         auth.Principal
	client, second auth.Principal
	browser        auth.Principal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, t, storetest.SQLite(t))
}

func newWorldOn(t *testing.T, f failer, db *store.DB) *world {
	t.Helper()
	w := &world{
		db:       db,
		gateway:  &fakeGateway{t: f, db: db},
		commands: &fakeCommands{t: f, db: db},
		media:    &fakeMedia{held: map[string]MediaStatus{}},
		clock:    &clock{at: storetest.Now()},
		user:     storetest.User(t, db),
	}
	w.gateway.user = w.user.ID
	w.camera = device(storetest.Camera(t, db, w.user.ID))
	w.client = device(storetest.Client(t, db, w.user.ID))
	w.second = device(storetest.Client(t, db, w.user.ID))
	w.browser = auth.Principal{UserID: w.user.ID, SessionID: storetest.ID()}
	w.Service = w.process(db)
	return w
}

// process is one more process on the same database, after a restart.
func (w *world) process(s Store) *Service { return w.node(s, "", w.media) }

// node is a process with an SFU of its own.
func (w *world) node(s Store, id string, m Provider) *Service {
	return New(Config{
		Store: s, Gateway: w.gateway, Commands: w.commands, Media: m, NodeID: id,
		Logger: slog.New(slog.DiscardHandler), Now: w.clock.now,
	})
}

func device(d store.Device) auth.Principal {
	return auth.Principal{UserID: d.UserID, DeviceID: d.ID, Role: d.Role}
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

// streaming opens a stream of client p.
func (w *world) streaming(t *testing.T, p auth.Principal) store.Stream {
	t.Helper()
	s := must[store.Stream](t)(w.Request(t.Context(), p, w.camera.DeviceID, ""))
	if s.Status == store.StreamRequested {
		s = must[store.Stream](t)(w.Accept(t.Context(), w.camera, s.ID))
	}
	return s
}

func (w *world) wantStatus(t *testing.T, id string, status store.StreamStatus, reason string) {
	t.Helper()
	s := must[store.Stream](t)(w.db.Stream(t.Context(), w.user.ID, id))
	if s.Status != status || s.Reason != reason {
		t.Errorf("the stream is %s for %q, want %s for %q", s.Status, s.Reason, status, reason)
	}
}
