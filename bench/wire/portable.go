//go:build !linux

package wire

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Poller owns sockets and the goroutines that read them: here one each.
type Poller struct {
	cfg     Config
	mu      sync.Mutex
	sockets map[*Socket]struct{}
	running sync.WaitGroup
}

// Socket is one UDP socket of a Poller. It is safe for concurrent use.
type Socket struct {
	poller *Poller
	conn   *net.UDPConn
	handle Handler
}

// NewPoller returns a Poller without sockets.
func NewPoller(cfg Config) (*Poller, error) {
	return &Poller{cfg: cfg.withDefaults(), sockets: make(map[*Socket]struct{})}, nil
}

// SetInterval does nothing on this system.
func (p *Poller) SetInterval(time.Duration) {}

// Close ends the sockets and their readers.
func (p *Poller) Close() error {
	p.mu.Lock()
	all := make([]*Socket, 0, len(p.sockets))
	for s := range p.sockets {
		all = append(all, s)
	}
	p.mu.Unlock()
	var failed error
	for _, s := range all {
		failed = errors.Join(failed, s.Close())
	}
	p.running.Wait()
	return failed
}

// Open opens an IPv4 socket on addr, whose port may be 0. It is read from
// Start on.
func (p *Poller) Open(addr netip.AddrPort, h Handler) (*Socket, error) {
	if !addr.Addr().Is4() {
		return nil, errAddress
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(p.cfg.ReadBuffer) // less still works
	s := &Socket{poller: p, conn: conn, handle: h}
	p.mu.Lock()
	p.sockets[s] = struct{}{}
	p.mu.Unlock()
	return s, nil
}

// Start has the poller read the socket.
func (s *Socket) Start() error {
	s.poller.running.Go(s.read)
	return nil
}

func (s *Socket) read() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			s.handle(b[:n:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), time.Now().UnixNano())
		}
	}
}

// LocalAddr returns the address that the socket is bound to.
func (s *Socket) LocalAddr() netip.AddrPort {
	a, _ := s.conn.LocalAddr().(*net.UDPAddr)
	return a.AddrPort()
}

// Dropped is not known on this system.
func (s *Socket) Dropped() uint64 { return 0 }

// Send sends one datagram.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to)
	return err
}

// SendJoined sends the datagrams that lie one behind the other in b, each of segment bytes, only the last may be
// shorter.
func (s *Socket) SendJoined(b []byte, segment int, to netip.AddrPort) error {
	for len(b) > segment {
		if err := s.Send(b[:segment], to); err != nil {
			return err
		}
		b = b[segment:]
	}
	return s.Send(b, to)
}

// Close ends the socket.
func (s *Socket) Close() error {
	s.poller.mu.Lock()
	_, open := s.poller.sockets[s]
	delete(s.poller.sockets, s)
	s.poller.mu.Unlock()
	if !open {
		return nil
	}
	return s.conn.Close()
}
