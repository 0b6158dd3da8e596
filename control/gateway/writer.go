package gateway

import (
	"time"

	"github.com/fasthttp/websocket"
)

// enqueue gives m to the writer and reports whether it took it. A full queue
// means that the peer does not read: the connection is closed.
func (c *conn) enqueue(m message) bool {
	select {
	case <-c.stopped:
		return false
	default:
	}
	select {
	case c.queue <- m:
		return true
	default:
	}
	if c.stop(CloseSlow, "not reading") {
		c.g.slow.Add(1)
	}
	return false
}

// write sends what is queued, and pings, until the connection is stopped.
func (c *conn) write() {
	ping := time.NewTicker(c.g.cfg.PingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-c.stopped:
			c.sayGoodbye()
			return
		default:
		}
		select {
		case <-c.stopped:
			continue
		case m := <-c.queue:
			err = c.send(m, time.Now().Add(c.g.cfg.WriteTimeout))
		case <-ping.C:
			err = c.send(c.dialect.ping(), time.Now().Add(c.g.cfg.WriteTimeout))
		}
		if err != nil && c.stop(0, "") && isTimeout(err) {
			c.g.slow.Add(1)
		}
	}
}

func (c *conn) send(m message, deadline time.Time) error {
	if m.kind != textMessage {
		return c.ws.WriteControl(m.kind, m.data, deadline)
	}
	if err := c.ws.SetWriteDeadline(deadline); err != nil {
		return err
	}
	return c.ws.WriteMessage(m.kind, m.data)
}

// sayGoodbye writes what is still queued and the close frame, and gives the
// peer time to answer it (RFC 6455, section 7.1.1).
func (c *conn) sayGoodbye() {
	deadline := time.Now().Add(c.g.cfg.CloseGrace)
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	var err error
	// Whose access has ended gets nothing any more.
	for more := code != 0 && code != CloseRevoked; more && err == nil; {
		select {
		case m := <-c.queue:
			err = c.send(m, deadline)
		default:
			more = false
		}
	}
	if frame := c.dialect.leave(code); code != 0 && err == nil && frame != nil {
		err = c.send(message{kind: textMessage, data: frame}, deadline)
	}
	if code != 0 && err == nil {
		err = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), deadline)
	}
	if code == 0 || err != nil {
		deadline = time.Now()
	}
	c.readBy(deadline)
}
