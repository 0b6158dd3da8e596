package commands_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/commands"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// fasthttp's clock for the Date header runs as long as the process, and
		// its pool's cleaner notices the shutdown when it next wakes.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
	)
}

// cookies takes the value of the only cookie for a user id; tokens are real.
type cookies struct{ *auth.Service }

func (cookies) Session(_ context.Context, cs []*http.Cookie) (auth.Principal, *http.Cookie, error) {
	if len(cs) != 1 {
		return auth.Principal{}, nil, auth.ErrUnauthenticated
	}
	return auth.Principal{UserID: cs[0].Value, SessionID: "s"}, nil, nil
}

// world is a server with one user, who has a linked camera and client.
type world struct {
	t              *testing.T
	db             *store.DB
	auth           *auth.Service
	gate           *gateway.Gateway
	service        *commands.Service
	url            string
	user           string
	camera, client store.Device
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, db: storetest.SQLite(t)}
	w.user = storetest.User(t, w.db).ID
	w.camera, w.client = storetest.Camera(t, w.db, w.user), storetest.Client(t, w.db, w.user)
	var err error
	if w.auth, err = auth.New(auth.Config{Store: w.db, Secret: []byte("0123456789abcdef")}); err != nil {
		t.Fatal(err)
	}
	b, err := bus.Open(t.Context(), bus.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w.gate = gateway.New(gateway.Config{Auth: w.auth, Presence: w.db, Events: w.db, Bus: b})
	w.service = commands.New(commands.Config{Store: w.db, Gateway: w.gate})
	w.db.OnCommandsEnded(w.service.TellEnded)
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true, DisableStartupMessage: true})
	api := rest.New(app, rest.Config{})
	api.UseMiddleware(auth.Middleware(api, cookies{w.auth}))
	w.gate.Mount(app, api)
	w.service.Mount(app, api)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- app.Listener(ln) }()
	t.Cleanup(func() {
		ctx := context.Background()
		for _, err := range []error{w.gate.Close(ctx), app.Shutdown(), <-served, b.Close(ctx)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return w
}

func (w *world) token(d store.Device) string {
	w.t.Helper()
	token, _, err := w.auth.IssueDeviceToken(d)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// as names who makes a request: a device, or a user.
func (w *world) as(d store.Device) string { return "token:" + w.token(d) }
func user(id string) string               { return "user:" + id }

// call returns the problem's code, if the answer is one.
func (w *world) call(who, method, path, body string, want int, into any) string {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.url+path, bytes.NewBufferString(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Close = true
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	switch kind, value, _ := strings.Cut(who, ":"); kind {
	case "user":
		r.AddCookie(&http.Cookie{Name: "id", Value: value})
	case "token":
		r.Header.Set("Authorization", "Bearer "+value)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	got, _ := io.ReadAll(response.Body)
	if response.StatusCode != want {
		w.t.Fatalf("%s %s %.200s: %d %s, want %d", method, path, body, response.StatusCode, got, want)
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

// send posts a command from the client to the camera.
func (w *world) send(commandType string) commands.Command {
	w.t.Helper()
	var c commands.Command
	body := `{"targetDeviceId":"` + w.camera.ID + `","commandType":"` + commandType + `","payload":{"n": 1}}`
	w.call(w.as(w.client), "POST", "/commands", body, 201, &c)
	return c
}

// socket is a device's connection.
type socket struct {
	*websocket.Conn
	t *testing.T
}

func (w *world) connect(d store.Device) *socket {
	w.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + w.token(d)}}
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+w.url+"/realtime", header)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = response.Body.Close()
	w.t.Cleanup(func() { _ = ws.Close() })
	s := &socket{ws, w.t}
	s.expect("ready", nil)
	return s
}

func (s *socket) say(message string) {
	s.t.Helper()
	if err := s.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) expect(event string, data any) {
	s.t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, frame, err := s.ReadMessage()
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", event, err)
	}
	var m struct {
		Event string
		Data  json.RawMessage
	}
	if err := json.Unmarshal(frame, &m); err != nil || m.Event != event {
		s.t.Fatalf("heard %s, want %s", frame, event)
	}
	if data == nil {
		return
	}
	if err := json.Unmarshal(m.Data, data); err != nil {
		s.t.Fatalf("%s: %v", m.Data, err)
	}
}

// expectCommand hears an event about a command.
func (s *socket) expectCommand(event, id, status string) commands.Command {
	s.t.Helper()
	var c commands.Command
	s.expect(event, &c)
	if c.ID != id || c.Status != status {
		s.t.Fatalf("%s is about %s (%s), want %s (%s)", event, c.ID, c.Status, id, status)
	}
	return c
}

func (w *world) expectStatus(id, status string) commands.Command {
	w.t.Helper()
	var c commands.Command
	w.call(user(w.user), "GET", "/commands/"+id, "", 200, &c)
	if c.Status != status {
		w.t.Fatalf("the command is %s, want %s", c.Status, status)
	}
	return c
}
