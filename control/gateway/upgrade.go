package gateway

import (
	"context"
	"crypto/rand"
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
	CloseNormal          = 1000 // the client said goodbye
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

// Mount adds GET /realtime, and GET /socket.io/ for clients written on
// Socket.IO; neither is an operation of the API.
func (g *Gateway) Mount(app fiber.Router, api huma.API) {
	if api != nil {
		document(api)
	}
	app.Get("/realtime", g.check, g.upgrade(func() dialect { return native{} }))
	speak := g.upgrade(func() dialect {
		return &socketIO{sid: rand.Text(), pingEvery: g.cfg.PingEvery, deadAfter: g.cfg.DeadAfter}
	})
	for _, path := range [...]string{"/socket.io", "/socket.io/"} {
		app.Get(path, checkEngine, g.check, speak)
		app.Post(path, checkEngine) // what polling would use
	}
}

func (g *Gateway) upgrade(speak func() dialect) fiber.Handler {
	return websocket.New(func(ws *websocket.Conn) { g.accept(ws, speak()) }, websocket.Config{
		// Any page and any program may connect: what counts is the token,
		// which unlike a cookie no browser sends by itself.
		Origins:        []string{"*"},
		RecoverHandler: func(*websocket.Conn) { g.recovered(recover()) },
	})
}

// engineFault is how Engine.IO tells what is wrong with a handshake.
type engineFault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// checkEngine refuses other transports and protocols in Engine.IO's own words,
// which its clients show.
func checkEngine(c *fiber.Ctx) error {
	switch {
	case c.Query("transport") != "websocket" || c.Method() != fiber.MethodGet:
		const message = "Transport unknown: connect with transports: [\"websocket\"]"
		return c.Status(fiber.StatusBadRequest).JSON(engineFault{0, message})
	case c.Query("EIO") != "4":
		return c.Status(fiber.StatusBadRequest).JSON(engineFault{5, "Unsupported protocol version: use socket.io-client 3 or newer"})
	default:
		return c.Next()
	}
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
	// The library keeps what c.IP returns, which lives in the request's buffer
	// when a proxy header is trusted.
	ip := rest.RequestOf(c.UserContext()).IP
	if ip == "" {
		ip = utils.CopyString(c.IP())
	}
	if g.busy(rest.Request{IP: ip}.Network()) {
		g.refused.Add(1)
		return rest.Problem(c, errBusy)
	}
	c.Locals(ipLocal, ip)
	return c.Next()
}

func (g *Gateway) busy(network string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing || g.full(network)
}

// accept runs a connection, on a goroutine that fasthttp has given away: its
// server neither waits for it nor ends it.
func (g *Gateway) accept(ws *websocket.Conn, d dialect) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ip, _ := ws.Locals(ipLocal).(string)
	c := &conn{
		g: g, ws: ws.Conn, dialect: d, ip: ip, network: rest.Request{IP: ip}.Network(), cancel: cancel,
		queue:   make(chan message, g.cfg.QueueSize),
		stopped: make(chan struct{}),
		limiter: rate.NewLimiter(g.cfg.rate(), g.cfg.MessageBurst),
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
	c.serve(ctx, hello{token: ws.Headers(fiber.HeaderAuthorization), after: ws.Query("after")})
}

func (g *Gateway) recovered(v any) {
	if v != nil {
		g.panicked(v)
	}
}
