package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"github.com/securecam/securecam/sfu/udp"
)

const (
	// maxStreams bounds the TCP connections of a port, maxStreamsEach those of one ICE session: a browser opens one for
	// each of its interfaces.
	maxStreams, maxStreamsEach = 4096, 8
	// maxStrangers bounds the connections of one address, of one /64 in IPv6, that have not said yet which session they
	// are of: nobody is to hold all places without a session.
	maxStrangers = 256
	// introduction is how long a connection may take to say which session it is of.
	introduction = 5 * time.Second
	// stuck is how long a peer may take nothing before its connection is cut.
	stuck = 10 * time.Second
	// lastWords is how long a peer may take to take what was said before the end.
	lastWords = time.Second
	// maxFrame is the longest frame that is taken, and written: longer ones are no media.
	maxFrame = udp.MaxSegment
	// streamQueue is the number of frames that wait to be read, and to be written.
	streamQueue = 128
)

// TCPStats are the counters of a TCPPort.
type TCPStats struct {
	Open     int    // connections now
	Accepted uint64 // connections there ever were
	Refused  uint64 // of those: too many, also of one address, or of no session
	Dropped  uint64 // frames that a peer did not take in time
}

// TCPPort is where peers connect to whom UDP does not reach: passive TCP candidates (RFC 6544), with frames as RFC 4571
// has them. A connection belongs to the ICE session whose ufrag its first packet names, and is closed at once if there
// is none.
type TCPPort struct {
	listener net.Listener
	accepts  sync.WaitGroup

	accepted, refused, dropped atomic.Uint64
	frames                     sync.Pool // of *frame

	mu       sync.Mutex // guards what follows
	sessions map[streamKey]*streams
	open     map[net.Conn]struct{}
	closed   bool
	// strangers are the connections that have not introduced themselves.
	strangers map[netip.Prefix]int
}

// streamKey tells the families of a session apart, as ICE has a candidate for each.
type streamKey struct {
	ufrag string
	ipv6  bool
}

// ListenTCP opens a port. The IPv6 wildcard takes IPv4 connections, too.
func ListenTCP(addr netip.AddrPort) (*TCPPort, error) {
	bind := net.TCPAddrFromAddrPort(addr)
	if addr.Addr() == netip.IPv6Unspecified() {
		bind.IP = nil // both families, or the one that the host has
	}
	l, err := net.ListenTCP("tcp", bind)
	if err != nil {
		return nil, err
	}
	p := &TCPPort{
		listener: l, sessions: make(map[streamKey]*streams), open: make(map[net.Conn]struct{}),
		strangers: make(map[netip.Prefix]int),
	}
	p.frames.New = func() any { return new(frame) }
	p.accepts.Go(p.accept)
	return p, nil
}

// Port returns the number of the port.
func (p *TCPPort) Port() uint16 {
	a, _ := p.listener.Addr().(*net.TCPAddr) // it is nothing else
	return a.AddrPort().Port()
}

// Stats returns the counters.
func (p *TCPPort) Stats() TCPStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return TCPStats{Open: len(p.open), Accepted: p.accepted.Load(), Refused: p.refused.Load(), Dropped: p.dropped.Load()}
}

// Close closes the port and every connection, and waits for them.
func (p *TCPPort) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		_ = c.Close()
	}
	left := slices.Collect(maps.Values(p.sessions))
	p.mu.Unlock()
	for _, s := range left {
		_ = s.Close()
	}
	err := p.listener.Close()
	p.accepts.Wait()
	return err
}

func (p *TCPPort) accept() {
	for {
		c, err := p.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // out of descriptors: those that are open will end
			<-time.After(introduction / 100)
			continue
		}
		p.accepted.Add(1)
		if !p.admit(c) {
			p.refused.Add(1)
			_ = c.Close()
			continue
		}
		p.accepts.Go(func() {
			defer p.forget(c)
			p.introduce(c)
		})
	}
}

func (p *TCPPort) admit(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := origin(c)
	if p.closed || len(p.open) >= maxStreams || p.strangers[from] >= maxStrangers {
		return false
	}
	p.strangers[from]++
	p.open[c] = struct{}{}
	return true
}

func (p *TCPPort) forget(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
	_ = c.Close()
}

// known says that a connection has introduced itself, or will not.
func (p *TCPPort) known(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := origin(c)
	if p.strangers[from]--; p.strangers[from] <= 0 {
		delete(p.strangers, from)
	}
}

// origin is what counts as one address.
func origin(c net.Conn) netip.Prefix {
	remote, _ := c.RemoteAddr().(*net.TCPAddr) // it is nothing else
	addr := remote.AddrPort().Addr().Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	from, _ := addr.WithZone("").Prefix(bits) // it has that many
	return from
}

// introduce reads a connection's first packet and serves it for the session that that names.
func (p *TCPPort) introduce(c net.Conn) {
	_ = c.SetReadDeadline(time.Now().Add(introduction))
	first := p.frame()
	err := first.read(c)
	p.known(c)
	if err != nil {
		p.refused.Add(1)
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	remote, _ := c.RemoteAddr().(*net.TCPAddr)
	at := netip.AddrPortFrom(remote.AddrPort().Addr().Unmap(), remote.AddrPort().Port())
	p.mu.Lock()
	s := p.sessions[streamKey{ufragOf(first.bytes()), at.Addr().Is6()}]
	p.mu.Unlock()
	if s == nil || !s.begin() || !s.serve(c, at, first) {
		p.refused.Add(1)
	}
}

// ufragOf returns our part of the user name of a connectivity check (RFC 8445, section 7.2.2), empty if b is none.
func ufragOf(b []byte) string {
	m := &stun.Message{Raw: b}
	if !stun.IsMessage(b) || m.Decode() != nil || m.Type != stun.BindingRequest {
		return ""
	}
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		return ""
	}
	ours, _, _ := strings.Cut(string(name), ":")
	return ours
}

// session opens what takes a session's connections of one family. Its owner closes it.
func (p *TCPPort) session(ufrag string, ipv6 bool) (*streams, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	s := &streams{port: p, key: streamKey{ufrag, ipv6}, done: make(chan struct{})}
	p.sessions[s.key] = s
	return s, nil
}

// frame is one packet of a connection: its length (RFC 4571, section 2), then what it says.
type frame struct {
	from netip.AddrPort
	n    int // of the packet
	b    [2 + maxFrame]byte
}

// frame returns one that is to be given back by release.
func (p *TCPPort) frame() *frame {
	f, _ := p.frames.Get().(*frame) // the pool makes nothing else
	return f
}

func (p *TCPPort) release(f *frame) { p.frames.Put(f) }

func (f *frame) bytes() []byte { return f.b[2 : 2+f.n] }

var errFrame = errors.New("transport: frame too long")

func (f *frame) read(r io.Reader) error {
	if _, err := io.ReadFull(r, f.b[:2]); err != nil {
		return err
	}
	if f.n = int(binary.BigEndian.Uint16(f.b[:])); f.n > maxFrame {
		return errFrame
	}
	_, err := io.ReadFull(r, f.bytes())
	return err
}

func (f *frame) set(b []byte) {
	binary.BigEndian.PutUint16(f.b[:], uint16(len(b)))
	f.n = copy(f.b[2:], b)
}

// streams are the connections of one ICE session and family: for ICE, one packet connection.
type streams struct {
	port *TCPPort
	key  streamKey
	in   chan *frame // made with the first connection
	done chan struct{}
	once sync.Once
	// patient: media waits for a slow peer instead of being dropped.
	patient atomic.Bool

	mu sync.Mutex // guards what follows
	by map[netip.AddrPort]*stream
	// announce has ICE know of the streams; nil once it was called.
	announce func() error
}

// begin has ICE know of the streams with their first connection. Most sessions never have one, and pion would read for
// each with a goroutine and a buffer. It reports false if their ICE session is over.
func (s *streams) begin() bool {
	s.mu.Lock()
	announce := s.announce
	s.announce = nil
	if s.in == nil {
		s.in, s.by = make(chan *frame, streamQueue), make(map[netip.AddrPort]*stream)
	}
	s.mu.Unlock()
	return announce == nil || announce() == nil
}

// stream is one connection. What is written waits in out, so that whoever writes does not wait for the peer.
type stream struct {
	conn net.Conn
	out  chan *frame
}

// serve takes packets from a connection until it ends. It reports false if the session takes no more connections.
func (s *streams) serve(c net.Conn, at netip.AddrPort, first *frame) bool {
	st := &stream{conn: c, out: make(chan *frame, streamQueue)}
	if !s.add(at, st) {
		return false
	}
	defer s.remove(at)
	stop, written := make(chan struct{}), make(chan struct{})
	defer func() {
		close(stop)
		<-written
	}()
	go func() {
		defer close(written)
		s.writeLoop(st, stop)
	}()
	for f := first; ; f = s.port.frame() {
		if f != first {
			if err := f.read(c); err != nil {
				return true
			}
		}
		f.from = at
		select {
		case s.in <- f: // a peer that sends faster than we read is held up
		case <-s.done: // the writer closes the connection
			_, _ = io.Copy(io.Discard, c)
			return true
		}
	}
}

func (s *streams) add(at netip.AddrPort, st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		return false
	default:
	}
	if len(s.by) >= maxStreamsEach {
		return false
	}
	s.by[at] = st
	return true
}

func (s *streams) remove(at netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, at)
}

func (s *streams) to(at netip.AddrPort) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[at]
}

// writeLoop writes what waits. A connection that takes nothing for long is cut.
func (s *streams) writeLoop(st *stream, stop <-chan struct{}) {
	for {
		select {
		case f := <-st.out:
			_ = st.conn.SetWriteDeadline(time.Now().Add(stuck))
			_, err := st.conn.Write(f.b[:2+f.n])
			s.port.release(f)
			if err != nil {
				_ = st.conn.Close()
				return
			}
		case <-s.done:
			st.sayLast()
			_ = st.conn.Close()
			return
		case <-stop:
			return
		}
	}
}

// sayLast writes what waits yet, the goodbye among it.
func (st *stream) sayLast() {
	_ = st.conn.SetWriteDeadline(time.Now().Add(lastWords))
	for {
		select {
		case f := <-st.out:
			if _, err := st.conn.Write(f.b[:2+f.n]); err != nil {
				return
			}
		default:
			return
		}
	}
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *streams) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	select {
	case f := <-s.in:
		n, from := copy(b, f.bytes()), f.from
		s.port.release(f)
		return n, from, nil
	case <-s.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

// WriteToAddrPort implements ice.AddrPortReaderWriter. It waits only if Patient says so, and for media alone: checks
// are sent by those who must not wait, and are sent again.
func (s *streams) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	st := s.to(to)
	if st == nil {
		return 0, net.ErrClosed
	}
	if len(b) > maxFrame {
		return 0, io.ErrShortWrite
	}
	f := s.port.frame()
	f.set(b)
	select {
	case st.out <- f:
	default:
		if !s.patient.Load() || !isRTP(b) || !s.wait(st, f) {
			s.port.dropped.Add(1)
			s.port.release(f)
		}
	}
	return len(b), nil
}

// wait queues a frame when there is room, unless the connection is gone by then.
func (s *streams) wait(st *stream, f *frame) bool {
	timer := time.NewTimer(stuck)
	defer timer.Stop()
	select {
	case st.out <- f:
		return true
	case <-s.done:
	case <-timer.C:
	}
	return false
}

// isRTP tells RTP from everything else: RFC 7983, section 7; RFC 5761, section 4.
func isRTP(b []byte) bool {
	return len(b) > 1 && b[0] >= 128 && b[0] <= 191 && (b[1] < 192 || b[1] > 223)
}

// ReadFrom implements net.PacketConn.
func (s *streams) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := s.ReadFromAddrPort(b)
	return n, net.TCPAddrFromAddrPort(from), err
}

// WriteTo implements net.PacketConn.
func (s *streams) WriteTo(b []byte, to net.Addr) (int, error) {
	t, ok := to.(*net.TCPAddr)
	if !ok {
		return 0, net.InvalidAddrError(to.String())
	}
	at := t.AddrPort()
	return s.WriteToAddrPort(b, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
}

// Close implements net.PacketConn: it closes the session's connections.
func (s *streams) Close() error {
	s.once.Do(func() {
		s.port.mu.Lock()
		if s.port.sessions[s.key] == s {
			delete(s.port.sessions, s.key)
		}
		s.port.mu.Unlock()
		close(s.done)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, st := range s.by { // each writer closes its connection
			_ = st.conn.SetWriteDeadline(time.Now().Add(lastWords))
		}
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (s *streams) LocalAddr() net.Addr { return s.port.listener.Addr() }

// SetDeadline implements net.PacketConn; reads end with Close.
func (s *streams) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (s *streams) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (s *streams) SetWriteDeadline(time.Time) error { return nil }
