package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

var errRude = fault.New(fault.Conflict, "rude", "Not like that.")

// handlers registers one event for each way in which a handler can end.
func handlers(g *gateway.Gateway) {
	g.Handle("echo", func(_ context.Context, p auth.Principal, data json.RawMessage) (any, error) {
		var in struct {
			Text string `json:"text"`
		}
		if err := gateway.Decode(data, &in); err != nil {
			return nil, err
		}
		return map[string]string{"text": in.Text, "device": p.DeviceID, "ip": p.IP}, nil
	})
	fails := map[string]error{
		"rude": errRude, "missing": store.ErrNotFound, "broken": errors.New("secret detail"),
	}
	for event, err := range fails {
		g.Handle(event, func(context.Context, auth.Principal, json.RawMessage) (any, error) { return nil, err })
	}
	g.Handle("panic", func(context.Context, auth.Principal, json.RawMessage) (any, error) {
		panic("planned") //nolint:forbidigo // what the test is about
	})
	g.Handle("huge", func(context.Context, auth.Principal, json.RawMessage) (any, error) {
		return strings.Repeat("x", 70_000), nil
	})
	g.Handle("slow", func(ctx context.Context, _ auth.Principal, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

func TestMessages(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{HandlerTimeout: 100 * time.Millisecond}, handlers)
	tests := map[string]struct{ say, hear string }{
		"reply": {
			`{"event":"echo","id":"1","data":{"text":"hi"}}`,
			`{"event":"reply","id":"1","data":{"device":"1","ip":"127.0.0.1","text":"hi"}}`,
		},
		"reply without data":   {`{"event":"ping","id":"1"}`, `{"event":"reply","id":"1","data":{}}`},
		"unknown event":        {`{"event":"nothing","id":"1"}`, "unknown_event"},
		"ready is not for you": {`{"event":"ready","id":"1"}`, "unknown_event"},
		"second authenticate":  {`{"event":"authenticate","id":"1","data":{"token":"token-2"}}`, "unknown_event"},
		"fault":                {`{"event":"rude","id":"1"}`, "rude"},
		"store's not found":    {`{"event":"missing","id":"1"}`, "not_found"},
		"internal error":       {`{"event":"broken","id":"1"}`, "internal"},
		"panic":                {`{"event":"panic","id":"1"}`, "internal"},
		"reply too long":       {`{"event":"huge","id":"1"}`, "internal"},
		"handler too slow":     {`{"event":"slow","id":"1"}`, "timeout"},
		"bad data":             {`{"event":"echo","id":"1","data":{"txet":"hi"}}`, "validation_failed"},
		"data is a list":       {`{"event":"echo","id":"1","data":[]}`, "invalid_message"},
		"unknown member":       {`{"id":"1","event":"echo","extra":1}`, "invalid_message"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.connect(t, "1")
			c.say(tt.say)
			if strings.HasPrefix(tt.hear, "{") {
				_ = c.SetReadDeadline(time.Now().Add(wait))
				if _, frame, err := c.ReadMessage(); err != nil || string(frame) != tt.hear {
					t.Errorf("got %s, %v; want %s", frame, err, tt.hear)
				}
			} else if code := c.expectError("1"); code != tt.hear {
				t.Errorf("code %s, want %s", code, tt.hear)
			}
			// The connection lives on, and messages without an id get no reply.
			c.say(`{"event":"ping"}`)
			c.say(`{"event":"ping","id":"after"}`)
			if m := c.expect("reply"); m.ID != "after" {
				t.Errorf("reply to %q, want to \"after\"", m.ID)
			}
		})
	}
}

func TestErrorsWithoutID(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, handlers)
	c := n.connect(t, "1")
	for _, bad := range []string{"", "x", "[]", "null", "{}", `{"event":""}`, `{"event":"Ping"}`, `{"event":"ping"}{}`, `{"event":1}`} {
		c.say(bad)
		if code := c.expectError(""); code != "invalid_message" {
			t.Errorf("%q: code %s, want invalid_message", bad, code)
		}
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	tests := map[string]struct {
		kind int
		data string
		code int
	}{
		"oversized":     {websocket.TextMessage, strings.Repeat("x", 1<<20), gateway.CloseTooBig},
		"just too long": {websocket.TextMessage, strings.Repeat("x", 64<<10+1), gateway.CloseTooBig},
		"binary":        {websocket.BinaryMessage, `{"event":"ping"}`, gateway.CloseUnsupported},
		"not UTF-8":     {websocket.TextMessage, "{\"event\":\"ping\xff\"}", gateway.CloseInvalidText},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.connect(t, "1")
			if err := c.WriteMessage(tt.kind, []byte(tt.data)); err != nil {
				t.Fatal(err)
			}
			c.expectClose(tt.code)
		})
	}
	t.Run("long first message", func(t *testing.T) {
		t.Parallel()
		c := n.dial(t, nil)
		c.say(strings.Repeat("x", 9<<10))
		c.expectClose(gateway.CloseTooBig)
	})
	t.Run("as long as allowed", func(t *testing.T) {
		t.Parallel()
		c := n.connect(t, "1")
		message := `{"event":"nothing","data":{"x":"`
		c.say(message + strings.Repeat("x", 64<<10-len(message)-3) + `"}}`)
		if code := c.expectError(""); code != "unknown_event" {
			t.Errorf("code %s, want unknown_event", code)
		}
	})
	t.Run("protocol error", func(t *testing.T) {
		t.Parallel()
		c := n.connect(t, "1")
		if _, err := c.NetConn().Write([]byte{0xff, 0xff}); err != nil { // reserved bits and opcode
			t.Fatal(err)
		}
		c.expectClose(gateway.CloseProtocol)
	})
}

func TestClosesWithThePeersCode(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	for sent, want := range map[int]int{1000: 1000, 4000: 4000, 1005: 1005} {
		c := n.connect(t, "1")
		if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(sent, ""), time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		c.expectClose(want)
	}
}

// TestNoMessageLimit sends many messages at once to a gateway without a limit.
func TestNoMessageLimit(t *testing.T) {
	t.Parallel()
	const messages = 1000
	handled := make(chan struct{}, messages)
	n := start(t, gateway.Config{MessagesPerSecond: gateway.AnyNumber}, func(g *gateway.Gateway) {
		g.Handle("x", func(context.Context, auth.Principal, json.RawMessage) (any, error) {
			handled <- struct{}{}
			return nil, nil
		})
	})
	c := n.connect(t, "1")
	for range messages {
		if err := c.WriteMessage(websocket.TextMessage, []byte(`{"event":"x"}`)); err != nil {
			t.Fatal(err)
		}
	}
	for range messages {
		<-handled
	}
	if s := n.Stats(); s.Floods != 0 {
		t.Errorf("%d floods", s.Floods)
	}
}

func TestFlood(t *testing.T) {
	t.Parallel()
	var handled atomic.Int64
	began := time.Now()
	n := start(t, gateway.Config{MessagesPerSecond: 1, MessageBurst: 50}, func(g *gateway.Gateway) {
		g.Handle("x", func(context.Context, auth.Principal, json.RawMessage) (any, error) {
			handled.Add(1)
			return nil, nil
		})
	})
	tests := map[string]func(c *client) error{
		"messages": func(c *client) error { return c.WriteMessage(websocket.TextMessage, []byte(`{"event":"x"}`)) },
		"pings":    func(c *client) error { return c.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait)) },
	}
	for name, send := range tests {
		t.Run(name, func(t *testing.T) {
			c, other := n.connect(t, "1"), n.connect(t, "2")
			for range 500 {
				if err := send(c); err != nil {
					break // cut off already
				}
			}
			c.expectClose(gateway.CloseFlood)
			other.say(`{"event":"ping","id":"1"}`)
			other.expect("reply")
		})
	}
	if n := handled.Load(); n > 50+int64(time.Since(began)/time.Second) {
		t.Errorf("%d messages handled, want the burst, and one a second", n)
	}
	if s := n.Stats(); s.Floods != 2 {
		t.Errorf("%d floods counted, want 2", s.Floods)
	}
}

// patienceListener knows until when the server waits for its only connection.
type patienceListener struct {
	net.Listener
	until atomic.Int64 // nanoseconds of the last read deadline
}

func (l *patienceListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return patienceConn{c, &l.until}, nil
}

type patienceConn struct {
	net.Conn
	until *atomic.Int64
}

func (c patienceConn) SetReadDeadline(t time.Time) error {
	c.until.Store(t.UnixNano())
	return c.Conn.SetReadDeadline(t)
}

// TestPongs holds that each answered ping lets a connection live on. What becomes
// of one that answers none: TestSilentConnectionDies.
func TestPongs(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	patient := &patienceListener{Listener: ln}
	n := startOn(t, patient, gateway.Config{PingEvery: 20 * time.Millisecond, DeadAfter: 2 * wait}, nil)
	c := n.connect(t, "1")
	ponged := make(chan string, 1)
	c.SetPongHandler(func(data string) error { ponged <- data; return nil })
	if err := c.WriteControl(websocket.PingMessage, []byte("hello"), time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { // answers pings
		_, _, err := c.ReadMessage()
		ended <- err
	}()
	if got := <-ponged; got != "hello" {
		t.Errorf("pong %q, want hello", got)
	}
	for range 3 {
		until := patient.until.Load()
		eventually(t, "a pong is a sign of life", func() bool { return patient.until.Load() > until })
	}
	select {
	case err := <-ended:
		t.Fatalf("ended: %v", err)
	default:
	}
	_ = c.Close()
	if err := <-ended; err == nil {
		t.Error("heard something after closing")
	}
}

func TestSilentConnectionDies(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{DeadAfter: 50 * time.Millisecond}, nil)
	c := n.connect(t, "1")
	c.SetPingHandler(func(string) error { return nil })
	c.expectClose(gateway.CloseSlow)
	if s := n.Stats(); s.SlowReaders != 0 {
		t.Errorf("a silent connection is counted as a slow reader")
	}
}

func TestHandlePanics(t *testing.T) {
	t.Parallel()
	for _, event := range []string{"", "Upper", "authenticate", "ping", "with space"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Handle(%q) did not panic", event)
				}
			}()
			gateway.New(gateway.Config{}).Handle(event, nil)
		}()
	}
}
