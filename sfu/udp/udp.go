// Package udp is a UDP socket for many small packets: it reads and writes
// whole batches with one system call, and lets the kernel split and join
// segments of equal size (UDP_SEGMENT, UDP_GRO) where it can.
//
// On Linux the socket stays outside Go's network poller, which wakes a thread
// for every datagram that leaves. Elsewhere, where the system refuses the calls
// for batches, or when Config.Portable says so, the same goes through
// net.UDPConn, one datagram at a time.
package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// ErrClosed reports a use of the socket after Close.
var ErrClosed = net.ErrClosed

var (
	errAddress = errors.New("udp: not an IP address and port")
	errTooLong = errors.New("udp: datagram too long")
)

const (
	// MaxSegment is the longest datagram that a Batch takes: what came in an
	// Ethernet frame, with room for what is added before it goes on.
	MaxSegment = 1536

	// maxSegments and maxMessage are what one segmented message may hold:
	// the kernel's UDP_MAX_SEGMENTS of old, and a UDP payload.
	maxSegments = 64
	maxMessage  = 65507

	readMessages  = 32
	writeMessages = 32
	arenaSize     = 256 << 10

	// gatherStep is what Go's scheduler rounds waits down to.
	gatherStep = time.Millisecond
)

// Config says how to open a socket; the zero value works.
type Config struct {
	ReadBuffer  int  // bytes the kernel may keep for us; 0 leaves its default
	WriteBuffer int  // bytes of ours the kernel may keep; 0 leaves its default
	Portable    bool // use net.UDPConn on every system
	NoOffload   bool // never ask the kernel to split or join segments

	Gather time.Duration // what Conn.Gather is told at first

	shared bool // other sockets of ours are on the address
}

// Stats counts what a socket did. Datagrams are what the network sees.
type Stats struct {
	Received, Sent       uint64 // datagrams
	ReadCalls, SendCalls uint64
	Refused              uint64 // datagrams that the kernel did not take
	Offload              bool   // the kernel still splits our messages
}

// Add sums up. Offload stays only if it is said of both.
func (s *Stats) Add(o Stats) {
	s.Offload = s.Offload && o.Offload
	s.Received += o.Received
	s.Sent += o.Sent
	s.ReadCalls += o.ReadCalls
	s.SendCalls += o.SendCalls
	s.Refused += o.Refused
}

type counters struct {
	received, sent, readCalls, sendCalls, refused atomic.Uint64
}

// Conn is a UDP socket. Send and Close are safe for concurrent use; a Reader
// and a Batch each belong to one goroutine.
type Conn struct {
	socket  socket
	local   netip.AddrPort
	offload atomic.Bool
	gather  atomic.Int64 // nanoseconds that readers may let datagrams gather
	count   counters
}

// socket is what differs between systems.
type socket interface {
	send(b []byte, to *Addr) error
	newReader(c *Conn) Reader
	flush(c *Conn, b *Batch)
	close() error
}

// Reader returns datagrams one by one and fetches them by the batch.
type Reader interface {
	// Next returns the next datagram and where it came from, unmapped. It
	// waits for one when Buffered is false. The datagram is valid until the
	// next call that has to wait, and may be changed until then.
	Next() ([]byte, netip.AddrPort, error)
	// Buffered says whether Next returns without a system call.
	Buffered() bool
}

// Listen opens a socket on addr. The IPv6 wildcard listens on IPv4 too.
func Listen(addr netip.AddrPort, cfg Config) (*Conn, error) {
	open := openSystem
	if cfg.Portable {
		open = openPortable
	}
	c := &Conn{}
	var err error
	var offload bool
	if c.socket, c.local, offload, err = open(addr, cfg); err != nil {
		return nil, err
	}
	c.offload.Store(offload && !cfg.NoOffload)
	c.Gather(cfg.Gather)
	return c, nil
}

// ListenGroup opens up to n sockets on addr, where the system can share one among them: all datagrams from one address come
// to the same socket. One socket is enough to send to anybody, and its Addr is good for all.
func ListenGroup(addr netip.AddrPort, n int, cfg Config) ([]*Conn, error) {
	first, err := Listen(addr, cfg)
	if err != nil {
		return nil, err
	}
	// Whoever has the address already does not let the first one in, which does not ask to share it until it is alone there.
	group := []*Conn{first}
	if n < 2 || !first.share() {
		return group, nil
	}
	cfg.shared = true
	for len(group) < n {
		c, err := Listen(first.LocalAddr(), cfg)
		if err != nil {
			for _, c := range group {
				err = errors.Join(err, c.Close())
			}
			return nil, err
		}
		group = append(group, c)
	}
	return group, nil
}

// LocalAddr returns the address that the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// NewReader returns a reader. The socket may have several: the kernel hands
// each datagram to one of them.
func (c *Conn) NewReader() Reader { return c.socket.newReader(c) }

// Gather sets how long a busy Reader may let datagrams wait, so that it wakes less often: whole milliseconds, what is
// between them is left off. Less than one is not at all. Safe for concurrent use.
func (c *Conn) Gather(most time.Duration) { c.gather.Store(int64(most.Truncate(gatherStep))) }

// Send sends one datagram at once. It never waits: a full socket buffer is an
// error, as a full queue on the way would be a loss.
func (c *Conn) Send(b []byte, to *Addr) error {
	if len(b) > maxMessage {
		return errTooLong
	}
	c.count.sendCalls.Add(1)
	if err := c.socket.send(b, to); err != nil {
		c.count.refused.Add(1)
		return err
	}
	c.count.sent.Add(1)
	return nil
}

// Close ends the socket; readers that wait return ErrClosed.
func (c *Conn) Close() error { return c.socket.close() }

// Stats returns the counters.
func (c *Conn) Stats() Stats {
	return Stats{
		Received: c.count.received.Load(), Sent: c.count.sent.Load(),
		ReadCalls: c.count.readCalls.Load(), SendCalls: c.count.sendCalls.Load(),
		Refused: c.count.refused.Load(), Offload: c.offload.Load(),
	}
}
