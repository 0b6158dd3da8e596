package sfu

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/udp"
)

const (
	// pionQueue is how many datagrams may wait for pion: the handshakes and consent checks of a crowd.
	pionQueue = 2048
	// pionMediaQueue is how many of those there may be besides that ICE only hands on: media from another address than
	// the selected one. They have a queue of their own, so that they take nobody's handshake its place.
	pionMediaQueue = 512
)

// pionConn is the socket as pion's UDP mux sees it: what the reader has for pion waits in bounded queues.
type pionConn struct {
	conn         *udp.Conn
	local        *net.UDPAddr
	contacts     *contacts
	queue, media chan *datagram
	pool         sync.Pool // of *datagram
	done         chan struct{}
	once         sync.Once
	dropped      atomic.Uint64
}

type datagram struct {
	from netip.AddrPort
	n    int
	buf  [receiveMTU]byte
}

func newPionConn(conn *udp.Conn, c *contacts) *pionConn {
	return &pionConn{
		conn: conn, local: net.UDPAddrFromAddrPort(conn.LocalAddr()), contacts: c,
		queue: make(chan *datagram, pionQueue), media: make(chan *datagram, pionMediaQueue),
		pool: sync.Pool{New: func() any { return new(datagram) }},
		done: make(chan struct{}),
	}
}

// deliver queues a datagram for pion in one of its queues. It never blocks: what does not fit is lost, as on the network,
// and counted.
func (c *pionConn) deliver(queue chan<- *datagram, b []byte, from netip.AddrPort) {
	if len(b) > receiveMTU {
		c.dropped.Add(1)
		return
	}
	d, ok := c.pool.Get().(*datagram)
	if !ok {
		return // the pool makes nothing else
	}
	d.from, d.n = from, copy(d.buf[:], b)
	select {
	case queue <- d:
	default:
		c.dropped.Add(1)
		c.pool.Put(d)
	}
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (c *pionConn) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	var d *datagram
	select {
	case d = <-c.queue: // first
	default:
		select {
		case d = <-c.queue:
		case d = <-c.media:
		case <-c.done:
			return 0, netip.AddrPort{}, net.ErrClosed
		}
	}
	n, from := copy(b, d.buf[:d.n]), d.from
	c.pool.Put(d)
	return n, from, nil
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (c *pionConn) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	c.contacts.wrote(to)
	if err := c.conn.Send(b, c.conn.Addr(to)); err != nil {
		return 0, err
	}
	return len(b), nil
}

// ReadFrom implements net.PacketConn.
func (c *pionConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromAddrPort(b)
	return n, net.UDPAddrFromAddrPort(from), err
}

// WriteTo implements net.PacketConn.
func (c *pionConn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError(to.String())
	}
	return c.WriteToAddrPort(b, u.AddrPort())
}

// Close implements net.PacketConn. The socket itself goes on until its owner closes it.
func (c *pionConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *pionConn) LocalAddr() net.Addr { return c.local }

// SetDeadline implements net.PacketConn; sends never wait, and reads end with Close.
func (c *pionConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn.
func (c *pionConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.PacketConn.
func (c *pionConn) SetWriteDeadline(time.Time) error { return nil }
