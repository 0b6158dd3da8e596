package gateway

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/fasthttp/websocket"
	"golang.org/x/time/rate"

	"github.com/securecam/securecam/control/auth"
)

const (
	textMessage = websocket.TextMessage
	pongMessage = websocket.PongMessage
)

// maxDiscarded bounds what is read from a peer only to be thrown away.
const maxDiscarded = 1 << 20

// message is one WebSocket message to a client.
type message struct {
	kind int
	data []byte
}

// conn is one connection. The goroutine of serve reads, the goroutine of write
// is the only one that writes messages, and everybody else uses enqueue, stop
// and cut, which never block.
type conn struct {
	g       *Gateway
	ws      *websocket.Conn
	dialect dialect
	queue   chan message
	stopped chan struct{}
	cancel  context.CancelFunc // ends what handlers do

	device *device // nil until authenticated; guarded by Gateway.mu, and never changed afterwards

	// Guarded by device.mu, but for the reading goroutine before live.
	pos  int64 // the last kept event that was given to the client
	live bool  // it gets events as they come

	// Of the reading goroutine.
	ip        string
	network   string // of the ip
	limiter   *rate.Limiter
	limiters  map[string]*rate.Limiter // by event, of those that have a limit of their own
	token     string
	principal auth.Principal
	checked   time.Time // when token was last verified
	readErr   error

	mu       sync.Mutex // guards what follows; never held while anything blocks
	stopping bool
	code     int // 0 closes without a close frame
	reason   string
	over     bool // ws and what is beneath it belong to somebody else
}

// serve runs the connection. When it returns, nothing uses ws any more: what
// is beneath it goes back to pools at that moment.
func (c *conn) serve(ctx context.Context, asked hello) {
	began := time.Now()
	c.prepare(ctx) // before the writer, which ends reading by a deadline of its own
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	defer func() {
		if v := recover(); v != nil {
			c.g.panicked(v)
		}
		c.stop(CloseInternal, "internal error")
		<-written
		c.discard()
		c.mu.Lock()
		c.over = true
		c.mu.Unlock()
		if c.principal.DeviceID != "" {
			c.g.log.Info("device disconnected", slog.String("device", c.principal.DeviceID), slog.Int("code", c.code),
				slog.Duration("dur", time.Since(began)))
		}
	}()
	if c.begin(ctx, asked) {
		for {
			frame, ok := c.next()
			if !ok {
				return
			}
			c.handle(ctx, frame)
		}
	}
	// Closing a socket with unread data resets it, and the client would never
	// see why it was refused.
	for c.readErr == nil {
		c.next()
	}
}

// prepare sets what the WebSocket library would do by itself: it answers pings
// and close frames from the reading goroutine, blocking it behind a slow peer.
func (c *conn) prepare(ctx context.Context) {
	c.ws.SetReadLimit(maxFirstMessage)
	c.readBy(time.Now().Add(c.g.cfg.AuthTimeout))
	c.ws.SetPingHandler(func(data string) error {
		if c.permit() {
			c.alive()
			c.enqueue(message{kind: pongMessage, data: []byte(data)})
		}
		return nil
	})
	c.ws.SetPongHandler(func(string) error {
		c.alive()
		c.recheck(ctx)
		return nil
	})
	c.ws.SetCloseHandler(func(int, string) error { return nil }) // next answers it
}

// next returns the client's next text message. It returns false when there
// will be none; messages that arrive after stop are thrown away.
func (c *conn) next() ([]byte, bool) {
	for {
		kind, frame, err := c.ws.ReadMessage()
		if err != nil {
			c.readErr = err
			c.readFailed(err)
			return nil, false
		}
		switch {
		case !c.permit():
		case kind != textMessage && c.dialect.binary():
			c.alive()
		case kind != textMessage:
			c.stop(CloseUnsupported, "messages are text")
		case !utf8.Valid(frame): // RFC 6455, section 8.1
			c.stop(CloseInvalidText, "text is UTF-8")
		default:
			c.alive()
			return frame, true
		}
	}
}

// readFailed stops the connection with the code that goes with a read error.
func (c *conn) readFailed(err error) {
	var closed *websocket.CloseError
	switch {
	case errors.As(err, &closed):
		// RFC 6455, section 5.5.1: echo the status code. 1005 stands for
		// none, and 1006 for a socket that ended without a close frame.
		if closed.Code == websocket.CloseAbnormalClosure {
			c.stop(0, "")
			return
		}
		c.stop(closed.Code, "")
	case errors.Is(err, websocket.ErrReadLimit): // the library has sent 1009
		c.stop(CloseTooBig, "")
	case isTimeout(err) && c.principal.DeviceID == "":
		c.deny("", errTooLate)
	case isTimeout(err):
		c.stop(CloseSlow, "no sign of life")
	default: // a lost socket, or a protocol error that the library has answered with 1002
		c.stop(CloseProtocol, "")
	}
}

// permit reports whether the connection may go on with what it just sent.
func (c *conn) permit() bool {
	select {
	case <-c.stopped:
		return false
	default:
	}
	if c.limiter.Allow() {
		return true
	}
	if c.stop(CloseFlood, "too many messages") {
		c.g.floods.Add(1)
	}
	return false
}

// alive lets an authenticated connection live on for Config.DeadAfter. An
// unauthenticated one keeps its deadline.
func (c *conn) alive() {
	if c.principal.DeviceID == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopping {
		c.readBy(time.Now().Add(c.g.cfg.DeadAfter))
	}
}

// readBy sets the time at which reading fails. An error means that the socket
// is closed already, which the reader is about to see.
func (c *conn) readBy(t time.Time) { _ = c.ws.SetReadDeadline(t) }

// discard reads what a peer has still under way after a read error, so that
// closing the socket does not reset it before the peer has seen the close
// frame.
func (c *conn) discard() {
	var closed *websocket.CloseError
	if c.readErr == nil || errors.As(c.readErr, &closed) || isTimeout(c.readErr) {
		return
	}
	c.readBy(time.Now().Add(c.g.cfg.CloseGrace))
	_, _ = io.CopyN(io.Discard, c.ws.NetConn(), maxDiscarded)
}

// stop ends the connection with a close code, once; it reports whether this
// call did. Whatever the connection is doing gets Config.CloseGrace to finish.
func (c *conn) stop(code int, reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return false
	}
	c.stopping, c.code, c.reason = true, code, reason
	close(c.stopped)
	// Frees a writer that waits for a peer which does not read. The socket is
	// still ours: over is set only after a stop.
	_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(c.g.cfg.CloseGrace))
	return true
}

// cut ends the connection without a word and cancels its handlers.
func (c *conn) cut() {
	c.cancel()
	c.stop(0, "")
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	socket := c.ws.NetConn()
	// fasthttp's wrapper closes nothing before accept returns.
	if wrapped, ok := socket.(interface{ UnsafeConn() net.Conn }); ok {
		socket = wrapped.UnsafeConn()
	}
	_ = socket.Close()
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (g *Gateway) panicked(v any) {
	g.panics.Add(1)
	g.log.Error("handler panicked", slog.Any("err", v), slog.String("stack", string(debug.Stack())))
}
