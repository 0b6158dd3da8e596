package turn

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// limitedListener bounds what clients over TCP can hold without an allocation.
// The library neither limits connections nor ever gives up on an idle one.
type limitedListener struct {
	net.Listener
	max, maxPerHost int
	// patience is how long a connection may be without an allocation, and
	// how long one that has one may leave data unread.
	patience time.Duration
	stats    *counters
	done     chan struct{}

	mu    sync.Mutex // guards what follows
	conns map[netip.AddrPort]*limitedConn
	hosts map[netip.Prefix]int
}

func newLimitedListener(l net.Listener, c Config, stats *counters) *limitedListener {
	return &limitedListener{
		Listener: l, max: c.MaxConnections, maxPerHost: c.MaxHostConnections, patience: c.Patience, stats: stats,
		done: make(chan struct{}), conns: map[netip.AddrPort]*limitedConn{}, hosts: map[netip.Prefix]int{},
	}
}

// acceptPause keeps Accept from spinning while the process has no file
// descriptor left.
const acceptPause = 50 * time.Millisecond

// Accept returns the next connection that is within the limits. It fails only
// when the listener is closed, because the library stops at the first error.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			select {
			case <-l.done:
			case <-time.After(acceptPause):
			}
			continue
		}
		if c := l.admit(conn); c != nil {
			return c, nil
		}
		l.stats.refusedConns.Add(1)
		conn.Close() //nolint:errcheck // the client is told by the reset
	}
}

// admit returns nil when a limit is reached.
func (l *limitedListener) admit(conn net.Conn) *limitedConn {
	remote := addrPortOf(conn.RemoteAddr())
	c := &limitedConn{Conn: conn, listener: l, remote: remote, host: hostOf(remote.Addr())}
	if err := conn.SetReadDeadline(time.Now().Add(l.patience)); err != nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	default:
	}
	if len(l.conns) >= l.max || l.hosts[c.host] >= l.maxPerHost {
		return nil
	}
	l.conns[remote] = c
	l.hosts[c.host]++
	return c
}

// hostOf returns what one client can have many addresses of: for IPv6 that is
// a /64.
func hostOf(ip netip.Addr) netip.Prefix {
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	prefix, _ := ip.Prefix(bits) // the zero Prefix is a host like any other
	return prefix
}

// allocated tells the connection from that address, if there is one, whether
// it has an allocation.
func (l *limitedListener) allocated(remote netip.AddrPort, has bool) {
	l.mu.Lock()
	c := l.conns[remote]
	l.mu.Unlock()
	if c == nil {
		return
	}
	var deadline time.Time // none: the allocation has its own lifetime
	if !has {
		deadline = time.Now().Add(l.patience)
	}
	c.SetReadDeadline(deadline) //nolint:errcheck // fails on a closed connection only
}

func (l *limitedListener) forget(c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c.remote)
	if l.hosts[c.host]--; l.hosts[c.host] <= 0 {
		delete(l.hosts, c.host)
	}
}

// count returns how many connections are open.
func (l *limitedListener) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// Close closes the listener and every connection.
func (l *limitedListener) Close() error {
	l.mu.Lock()
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	conns := make([]*limitedConn, 0, len(l.conns))
	for _, c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	err := l.Listener.Close()
	for _, c := range conns {
		c.Close() //nolint:errcheck // nothing is left to do about it
	}
	return err
}

// limitedConn is a connection that was admitted.
type limitedConn struct {
	net.Conn
	listener *limitedListener
	remote   netip.AddrPort
	host     netip.Prefix
	once     sync.Once
}

// Write sends a frame, or ends the connection of a client that does not read:
// half a frame would leave everything behind it unreadable.
func (c *limitedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.listener.patience)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		c.Close() //nolint:errcheck // the error of Write says more
	}
	return n, err
}

// Close ends the connection.
func (c *limitedConn) Close() error {
	c.once.Do(func() { c.listener.forget(c) })
	return c.Conn.Close()
}
