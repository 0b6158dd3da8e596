package control

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// writeTimeout bounds one write to the socket, at most one buffer. A timeout
// of the whole answer would cut downloads; none at all would let a client that
// does not read keep a connection for ever.
const writeTimeout = 60 * time.Second

// What a connection is still read for after an answer that came before the end
// of the request: closed at once, TCP would reset it and the client, still
// sending, lose the answer.
const (
	lingerTime  = time.Second
	lingerBytes = 4 << 20
)

// paced is a listener whose connections time out by write, and can be cut. It
// may be closed more than once.
type paced struct {
	net.Listener
	closing sync.Once

	mu    sync.Mutex // guards conns
	conns map[*pacedConn]struct{}
}

func newPaced(ln net.Listener) *paced {
	return &paced{Listener: ln, conns: make(map[*pacedConn]struct{})}
}

func (l *paced) Close() (err error) {
	l.closing.Do(func() { err = l.Listener.Close() })
	return err
}

func (l *paced) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if secure, ok := conn.(*tls.Conn); ok {
		c := &pacedTLSConn{pacedConn{Conn: conn, from: l}, secure}
		l.remember(&c.pacedConn)
		return c, nil
	}
	c := &pacedConn{Conn: conn, from: l}
	l.remember(c)
	return c, nil
}

func (l *paced) remember(c *pacedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
}

func (l *paced) forget(c *pacedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// cut ends every open connection, whatever it is doing, and returns how many
// there were.
func (l *paced) cut() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		conn := c.Conn
		if secure, ok := conn.(*tls.Conn); ok {
			conn = secure.NetConn() // TLS would say goodbye first, for up to 5 s
		}
		_ = conn.Close() // how it ends does not matter
	}
	return len(l.conns)
}

// pacedConn moves the write deadline along with each write, until somebody
// else sets one: a connection that became a WebSocket is its owner's.
type pacedConn struct {
	net.Conn
	from   *paced
	owned  atomic.Bool
	linger atomic.Bool
}

// Close hangs up, for a lingering connection after the client is heard out.
func (c *pacedConn) Close() error {
	defer c.from.forget(c)
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok && c.linger.Load() && half.CloseWrite() == nil {
		_ = c.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // how it ends does not matter
	}
	return c.Conn.Close()
}

// HearOut makes Close linger.
func (c *pacedConn) HearOut() { c.linger.Store(true) }

func (c *pacedConn) Write(p []byte) (int, error) {
	if !c.owned.Load() {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

func (c *pacedConn) SetDeadline(t time.Time) error {
	c.owned.Store(true)
	return c.Conn.SetDeadline(t)
}

func (c *pacedConn) SetWriteDeadline(t time.Time) error {
	c.owned.Store(true)
	return c.Conn.SetWriteDeadline(t)
}

// pacedTLSConn keeps the two methods by which fasthttp knows TLS.
type pacedTLSConn struct {
	pacedConn
	secure *tls.Conn
}

//nolint:noctx // fasthttp bounds it by the read deadline
func (c *pacedTLSConn) Handshake() error { return c.secure.Handshake() }

func (c *pacedTLSConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }
