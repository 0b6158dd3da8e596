package storetest

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
)

// Line is what lies between a test and its PostgreSQL server. It can be cut
// and mended.
type Line struct {
	t        *testing.T
	server   string // host:port
	address  string // of this end
	serving  sync.WaitGroup
	mu       sync.Mutex // guards what follows
	listener net.Listener
	conns    map[net.Conn]struct{}
}

// PostgresLine returns an empty PostgreSQL database behind a line.
func PostgresLine(t *testing.T) (*store.DB, *Line) {
	t.Helper()
	u, err := url.Parse(PostgresURL(t))
	if err != nil {
		t.Fatal(err)
	}
	l := &Line{t: t, server: u.Host, address: "127.0.0.1:0", conns: map[net.Conn]struct{}{}}
	if u.Port() == "" {
		l.server = net.JoinHostPort(u.Hostname(), "5432")
	}
	l.Mend()
	t.Cleanup(l.Cut)
	u.Host = l.address
	return open(t, u.String()), l
}

// Mend lets connections pass.
func (l *Line) Mend() {
	l.t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(l.t.Context(), "tcp", l.address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	l.listener, l.address = listener, listener.Addr().String()
	l.mu.Unlock()
	l.serving.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			l.serving.Go(func() { l.carry(near) })
		}
	})
}

// Cut breaks every connection and refuses new ones.
func (l *Line) Cut() {
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.serving.Wait()
}

func (l *Line) carry(near net.Conn) {
	defer func() { _ = near.Close() }()
	dialer := net.Dialer{Timeout: 5 * time.Second}
	far, err := dialer.DialContext(l.t.Context(), "tcp", l.server)
	if err != nil && l.t.Context().Err() != nil {
		return
	}
	if err != nil {
		l.t.Error(err)
		return
	}
	defer func() { _ = far.Close() }()
	if !l.hold(near, far) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.copy(far, near)
	}()
	l.copy(near, far)
	<-done
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, near)
	delete(l.conns, far)
}

// hold reports whether the line is not cut, and has Cut close both.
func (l *Line) hold(near, far net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener == nil {
		return false
	}
	l.conns[near], l.conns[far] = struct{}{}, struct{}{}
	return true
}

// copy ends both ends with either.
func (l *Line) copy(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil && !errors.Is(err, net.ErrClosed) {
		l.t.Logf("line: %v", err)
	}
	_ = to.Close()
	_ = from.Close()
}
