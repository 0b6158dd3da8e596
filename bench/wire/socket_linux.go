package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Socket is one UDP socket of a Poller. It is safe for concurrent use.
type Socket struct {
	fd      int
	local   netip.AddrPort
	reader  *reader
	handle  Handler
	closed  atomic.Bool
	users   atomic.Int64 // the last one closes fd
	dropped atomic.Uint64
}

// Open opens an IPv4 socket on addr, whose port may be 0. It is read from
// Start on.
func (p *Poller) Open(addr netip.AddrPort, h Handler) (*Socket, error) {
	if !addr.Addr().Is4() {
		return nil, errAddress
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("wire: socket: %w", err)
	}
	s := &Socket{fd: fd, handle: h, reader: p.readers[p.next.Add(1)%uint64(len(p.readers))]}
	s.users.Store(1)
	if err := s.setUp(addr, p.cfg.ReadBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("wire: %w", err), s.Close())
	}
	return s, nil
}

func (s *Socket) setUp(addr netip.AddrPort, readBuffer int) error {
	if err := unix.Bind(s.fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		return err
	}
	if unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, readBuffer) != nil {
		// Only root goes beyond the system's limit; less still works.
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, readBuffer)
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
		return err
	}
	// A kernel before 5.0 does not know it; datagrams then come one by one.
	_ = unix.SetsockoptInt(s.fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	bound, err := unix.Getsockname(s.fd)
	if err != nil {
		return err
	}
	v4, ok := bound.(*unix.SockaddrInet4)
	if !ok {
		return errAddress
	}
	s.local = netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), uint16(v4.Port))
	return nil
}

// Start has the poller read the socket.
func (s *Socket) Start() error { return s.reader.add(s) }

// LocalAddr returns the address that the socket is bound to.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// Dropped returns how many datagrams the kernel threw away because nobody
// read the socket in time: the generator's fault, not the server's.
func (s *Socket) Dropped() uint64 { return s.dropped.Load() }

// Send sends one datagram at once, or fails.
func (s *Socket) Send(b []byte, to netip.AddrPort) error {
	if !to.Addr().Is4() {
		return errAddress
	}
	if len(b) == 0 {
		return nil
	}
	if !s.enter() {
		return net.ErrClosed
	}
	defer s.leave()
	raw := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&raw.Port))[:], to.Port())
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet4)
	if errno != 0 {
		return errno
	}
	return nil
}

// SendJoined sends the datagrams that lie one behind the other in b, each of segment bytes, only the last may be
// shorter. The kernel gets them in one message and splits it; on loopback it does not even that, so that they arrive as
// a network card with receive offload hands them over.
func (s *Socket) SendJoined(b []byte, segment int, to netip.AddrPort) error {
	if !to.Addr().Is4() {
		return errAddress
	}
	if len(b) <= segment {
		return s.Send(b, to)
	}
	if !s.enter() {
		return net.ErrClosed
	}
	defer s.leave()
	control := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	h.Level, h.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(segment))
	return unix.Sendmsg(s.fd, b, control, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, unix.MSG_DONTWAIT)
}

// Close ends the socket. A handler that runs goes on to its end.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.reader.remove(s)
	s.leave()
	return nil
}

// enter and leave keep the descriptor from being closed, and so from meaning
// another file, while a system call uses it.
func (s *Socket) enter() bool {
	if s.users.Add(1); s.closed.Load() {
		s.leave()
		return false
	}
	return true
}

func (s *Socket) leave() {
	if s.users.Add(-1) == 0 {
		_ = unix.Close(s.fd)
	}
}
