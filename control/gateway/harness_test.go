package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock for the Date header runs as long as the process.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		// Its pool's cleaner notices the shutdown when it next wakes, within 10 s.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

const wait = 30 * time.Second

// tokens is an Authenticator: the token of device X is "token-X" until revoked.
type tokens struct {
	mu      sync.Mutex
	revoked map[string]bool
	down    bool
	onCheck func(token string) // before the answer
}

var errDatabase = errors.New("the database is away")

func (a *tokens) Device(_ context.Context, token string) (auth.Principal, store.Device, error) {
	a.mu.Lock()
	hook, down, revoked := a.onCheck, a.down, a.revoked[token]
	a.mu.Unlock()
	if hook != nil {
		defer hook(token)
	}
	switch {
	case down:
		return auth.Principal{}, store.Device{}, errDatabase
	case revoked || len(token) < 7 || token[:6] != "token-":
		return auth.Principal{}, store.Device{}, auth.ErrUnauthenticated
	}
	d := store.Device{ID: token[6:], UserID: "user", Role: store.RoleCamera}
	return auth.Principal{UserID: d.UserID, DeviceID: d.ID, Role: d.Role}, d, nil
}

func (a *tokens) revoke(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.revoked == nil {
		a.revoked = make(map[string]bool)
	}
	a.revoked[token] = true
}

// presence is a PresenceStore that remembers every change.
type presence struct {
	mu  sync.Mutex
	log map[string][]store.DeviceStatus
}

func (p *presence) SetPresence(_ context.Context, id string, s store.DeviceStatus, _ time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log == nil {
		p.log = make(map[string][]store.DeviceStatus)
	}
	p.log[id] = append(p.log[id], s)
	return nil
}

func (p *presence) last(id string) store.DeviceStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.log[id]); n > 0 {
		return p.log[id][n-1]
	}
	return ""
}

func (p *presence) count(id string, s store.DeviceStatus) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, got := range p.log[id] {
		if got == s {
			n++
		}
	}
	return n
}

// events is an EventLog in memory.
type events struct {
	mu  sync.Mutex
	log map[string][]store.DeviceEvent
	cut map[string]int // how many of the first are forgotten
	err error
}

func (l *events) AppendDeviceEvent(_ context.Context, id string, e store.DeviceEvent, keep int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if l.log == nil {
		l.log, l.cut = make(map[string][]store.DeviceEvent), make(map[string]int)
	}
	e.Seq = int64(len(l.log[id]) + 1)
	l.log[id] = append(l.log[id], e)
	l.cut[id] = max(l.cut[id], len(l.log[id])-keep)
	return e.Seq, nil
}

func (l *events) DeviceEvents(_ context.Context, id string, after int64, limit int) ([]store.DeviceEvent, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.log[id][min(len(l.log[id]), max(l.cut[id], int(after))):]
	return slices.Clone(kept[:min(len(kept), limit)]), l.err
}

func (l *events) DeviceEventRange(_ context.Context, id string) (oldest, newest int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.log[id]) == 0 {
		return 0, 0, l.err
	}
	return int64(l.cut[id] + 1), int64(len(l.log[id])), l.err
}

// node is a gateway on a listener of its own.
type node struct {
	*gateway.Gateway
	auth     *tokens
	presence *presence
	events   *events
	url      string
}

func newBus(t *testing.T) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), bus.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

// start runs a gateway. setup, which may be nil, registers handlers.
func start(t *testing.T, cfg gateway.Config, setup func(*gateway.Gateway)) *node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, ln, cfg, setup)
}

func startOn(t *testing.T, ln net.Listener, cfg gateway.Config, setup func(*gateway.Gateway)) *node {
	t.Helper()
	n := &node{auth: &tokens{}, presence: &presence{}, events: &events{}}
	if cfg.Events == nil {
		cfg.Events = n.events
	} else {
		n.events, _ = cfg.Events.(*events)
	}
	if cfg.Bus == nil {
		cfg.Bus = newBus(t)
	}
	if cfg.Presence == nil {
		cfg.Presence = n.presence
	} else {
		n.presence, _ = cfg.Presence.(*presence)
	}
	cfg.Auth = n.auth
	n.Gateway = gateway.New(cfg)
	if setup != nil {
		setup(n.Gateway)
	}
	app := fiber.New(fiber.Config{DisableStartupMessage: true, ErrorHandler: rest.ErrorHandler, Immutable: true})
	n.Mount(app, nil)
	n.url = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := app.Shutdown(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

// client is a device's end of a connection.
type client struct {
	*websocket.Conn
	t *testing.T
}

type received struct {
	Event  string          `json:"event"`
	ID     string          `json:"id"`
	Cursor string          `json:"cursor"`
	Data   json.RawMessage `json:"data"`
}

func (n *node) dial(t *testing.T, header http.Header) *client {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/realtime", header)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	return &client{Conn: ws, t: t}
}

// connect returns a connection that is ready.
func (n *node) connect(t *testing.T, device string) *client {
	t.Helper()
	c := n.dial(t, http.Header{"Authorization": {"Bearer token-" + device}})
	c.expect("ready")
	return c
}

func (c *client) say(message string) {
	c.t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hear() received {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	kind, frame, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	var m received
	if err := json.Unmarshal(frame, &m); err != nil || kind != websocket.TextMessage {
		c.t.Fatalf("message of type %d: %s", kind, frame)
	}
	return m
}

func (c *client) expect(event string) received {
	c.t.Helper()
	m := c.hear()
	if m.Event != event {
		c.t.Fatalf("heard %s %s, want %s", m.Event, m.Data, event)
	}
	return m
}

// expectError returns the code of the next message, which must be an error.
func (c *client) expectError(id string) string {
	c.t.Helper()
	m := c.expect("error")
	var p struct{ Code, Message string }
	if err := json.Unmarshal(m.Data, &p); err != nil || p.Message == "" || m.ID != id {
		c.t.Fatalf("error %q for %q, want one for %q", m.Data, m.ID, id)
	}
	return p.Code
}

// expectClose reads on to the close frame.
func (c *client) expectClose(code int) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(wait))
	for {
		_, frame, err := c.ReadMessage()
		if err == nil {
			c.t.Logf("before the close frame: %.100s", frame)
			continue
		}
		var closed *websocket.CloseError
		if !errors.As(err, &closed) || closed.Code != code {
			c.t.Fatalf("ended with %v, want close code %d", err, code)
		}
		return
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(wait)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s: %s", wait, what)
		}
	}
}

func mustSend(t *testing.T, n *node, device, event string, data any) bool {
	t.Helper()
	delivered, err := n.Send(t.Context(), device, event, data)
	if err != nil {
		t.Fatal(err)
	}
	return delivered
}
