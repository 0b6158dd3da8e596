package control_test

import (
	"testing"
	"time"

	client "github.com/fasthttp/websocket"
	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
)

func mountSocket(app fiber.Router) {
	app.Get("/socket", websocket.New(func(c *websocket.Conn) {
		for {
			kind, data, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, data) != nil {
				return
			}
		}
	}))
}

// TestWebSocketsLive is silent for longer than a request may take to arrive.
func TestWebSocketsLive(t *testing.T) {
	t.Parallel()
	s := startHurried(t)
	conn, res, err := client.DefaultDialer.DialContext(t.Context(), "ws://"+s.addr+"/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = res.Body.Close()
	for _, silence := range []time.Duration{0, hurried + hurried/2} {
		<-time.After(silence)
		if err := conn.WriteMessage(client.TextMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.ReadMessage(); err != nil || string(got) != "hello" {
			t.Fatalf("after %v: got %q, %v", silence, got, err)
		}
	}
}
