package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/utils"
	"golang.org/x/time/rate"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

// The close codes that clients see.
const (
	CloseGoingAway       = 1001 // the server is shutting down: connect again
	CloseProtocol        = 1002 // not WebSocket
	CloseUnsupported     = 1003 // a binary message
	CloseInvalidText     = 1007 // not UTF-8
	CloseTooBig          = 1009 // a message over 64 KiB
	CloseInternal        = 1011 // a defect of the server
	CloseTryAgain        = 1013 // too many connections, or an outage
	CloseUnauthenticated = 4401 // no token, or one that does not hold
	CloseRevoked         = 4403 // the token has ended
	CloseSlow            = 4408 // not reading, or no sign of life
	CloseReplaced        = 4409 // the device has too many newer connections
	CloseFlood           = 4429 // too many messages
)

var (
	errTokenInURL = fault.New(fault.Invalid, "token_in_url",
		"Tokens do not belong in addresses, which end in logs: send it in the Authorization header or the first message.")
	errBusy = fault.New(fault.Unavailable, "busy", "Too many connections.")
)

const (
	ipLocal = "gateway.ip"
	version = "13" // RFC 6455, section 4.1
)

// Mount adds GET /realtime, which is no operation of the API.
func (g *Gateway) Mount(app fiber.Router, _ huma.API) {
	app.Get("/realtime", g.check, websocket.New(g.accept, websocket.Config{
		// Any page and any program may connect: what counts is the token,
		// which unlike a cookie no browser sends by itself.
		Origins:        []string{"*"},
		RecoverHandler: func(*websocket.Conn) { g.recovered(recover()) },
	}))
}

// check refuses what must not become a WebSocket.
func (g *Gateway) check(c *fiber.Ctx) error {
	query := c.Context().QueryArgs()
	for _, name := range [...]string{"token", "access_token", "auth", "authorization"} {
		if query.Has(name) {
			return rest.Problem(c, errTokenInURL)
		}
	}
	if !websocket.IsWebSocketUpgrade(c) || c.Get(fiber.HeaderSecWebSocketVersion) != version {
		// RFC 6455, section 4.4, and RFC 9110, section 15.5.22: say what to
		// upgrade to.
		c.Set(fiber.HeaderSecWebSocketVersion, version)
		c.Set(fiber.HeaderUpgrade, "websocket")
		c.Set(fiber.HeaderConnection, fiber.HeaderUpgrade)
		return rest.Problem(c, fiber.ErrUpgradeRequired)
	}
	if g.full() {
		g.refused.Add(1)
		return rest.Problem(c, errBusy)
	}
	// The library keeps what c.IP returns, which lives in the request's buffer
	// when a proxy header is trusted.
	ip := rest.RequestOf(c.UserContext()).IP
	if ip == "" {
		ip = utils.CopyString(c.IP())
	}
	c.Locals(ipLocal, ip)
	return c.Next()
}

func (g *Gateway) full() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing || len(g.conns) >= g.cfg.MaxConns || g.unauthenticated >= g.cfg.MaxUnauthenticated
}

// accept runs a connection, on a goroutine that fasthttp has given away: its
// server neither waits for it nor ends it.
func (g *Gateway) accept(ws *websocket.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ip, _ := ws.Locals(ipLocal).(string)
	c := &conn{
		g: g, ws: ws.Conn, ip: ip, cancel: cancel,
		queue:   make(chan message, g.cfg.QueueSize),
		stopped: make(chan struct{}),
		limiter: rate.NewLimiter(rate.Limit(g.cfg.MessagesPerSecond), g.cfg.MessageBurst),
	}
	// check has looked already, but many may have passed it at once.
	if err := g.admit(c); err != nil {
		g.refused.Add(1)
		goodbye := websocket.FormatCloseMessage(CloseTryAgain, "too many connections")
		if errors.Is(err, bus.ErrClosed) {
			goodbye = websocket.FormatCloseMessage(CloseGoingAway, "the server is shutting down")
		}
		_ = ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(g.cfg.CloseGrace))
		return
	}
	defer g.release(c)
	g.accepted.Add(1)
	c.serve(ctx, ws.Headers(fiber.HeaderAuthorization))
}

func (g *Gateway) recovered(v any) {
	if v != nil {
		g.panicked(v)
	}
}
