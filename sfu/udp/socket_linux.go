package udp

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Addr is a receiver in the form that the system wants.
type Addr struct {
	addr  netip.AddrPort
	whole bool                  // its messages must not be split by the kernel; of the Batch
	raw   unix.RawSockaddrInet6 // or a RawSockaddrInet4 in its first bytes
	len   uint32
}

// Addr returns the receiver at a for this socket.
func (c *Conn) Addr(a netip.AddrPort) *Addr {
	to := &Addr{addr: unmap(a)}
	if s, ok := c.socket.(*linuxSocket); ok {
		to.len = s.encode(&to.raw, to.addr)
	}
	return to
}

// share lets other sockets of ours have the address, too. It reports false if that cannot be.
func (c *Conn) share() bool {
	s, ok := c.socket.(*linuxSocket)
	return ok && unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) == nil
}

// mmsghdr is struct mmsghdr of sendmmsg(2); Go aligns it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// linuxSocket is a socket outside Go's network poller, which registers for EPOLLOUT edges, too: the kernel sends one
// for every datagram that leaves while a reader waits, and each wakes a thread. A reader waits on an epoll instance of
// its own instead, which knows of EPOLLIN only and is itself what the poller watches. (A reader that blocks in the
// kernel would do without, but then the scheduler looks after it at every turn.)
type linuxSocket struct {
	fd     int
	family uint16
	closed atomic.Bool
	users  atomic.Int64 // readers and writers in system calls; the last one closes fd

	mu      sync.Mutex // guards watches
	watches []*os.File
}

// watch tells a reader that there is something to read.
type watch struct {
	file  *os.File // an epoll instance
	ready syscall.RawConn
}

func (s *linuxSocket) newWatch() (*watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	in := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	err = errors.Join(unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, s.fd, &in), unix.SetNonblock(fd, true))
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	w := &watch{file: os.NewFile(uintptr(fd), "udp")}
	if w.ready, err = w.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	s.watches = append(s.watches, w.file)
	return w, nil
}

// set changes what of the socket the reader is woken for: EPOLLIN, or nothing.
func (w *watch) set(socket int, events uint32) error {
	var err error
	change := unix.EpollEvent{Events: events, Fd: int32(socket)}
	if w.ready.Control(func(fd uintptr) { err = unix.EpollCtl(int(fd), unix.EPOLL_CTL_MOD, socket, &change) }) != nil {
		return ErrClosed
	}
	return err
}

func openSystem(addr netip.AddrPort, cfg Config) (socket, netip.AddrPort, bool, error) {
	addr = unmap(addr)
	s := &linuxSocket{family: unix.AF_INET}
	if addr.Addr().Is6() {
		s.family = unix.AF_INET6
	}
	fd, err := unix.Socket(int(s.family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.Addr() == netip.IPv6Unspecified() {
		// A host without IPv6: the IPv4 wildcard is what is left of the wish.
		return openSystem(netip.AddrPortFrom(netip.IPv4Unspecified(), addr.Port()), cfg)
	}
	if err != nil {
		return nil, netip.AddrPort{}, false, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: err}
	}
	s.fd = fd
	s.users.Store(1)
	local, err := s.setUp(addr, cfg)
	if err != nil {
		return nil, netip.AddrPort{}, false, &net.OpError{
			Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(addr), Err: errors.Join(err, unix.Close(fd)),
		}
	}
	if !s.usable() {
		if err := s.close(); err != nil {
			return nil, netip.AddrPort{}, false, err
		}
		return openPortable(addr, cfg)
	}
	if !cfg.NoOffload {
		// A kernel before 5.0 does not know it; datagrams then come one by one.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}
	_, err = unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
	return s, local, err == nil, nil
}

// usable reports whether the system has what readers and batches call, or an old kernel or a sandbox refuses it.
func (s *linuxSocket) usable() bool {
	for _, call := range []uintptr{unix.SYS_RECVMMSG, unix.SYS_SENDMMSG} {
		if _, _, errno := unix.Syscall6(call, uintptr(s.fd), 0, 0, unix.MSG_DONTWAIT, 0, 0); errno != 0 { // of no messages
			return false
		}
	}
	w, err := s.newWatch()
	if err != nil {
		return false
	}
	s.watches = nil
	return errors.Join(w.set(s.fd, 0), w.file.Close()) == nil
}

func (s *linuxSocket) setUp(addr netip.AddrPort, cfg Config) (netip.AddrPort, error) {
	if s.family == unix.AF_INET6 {
		only := 1
		if addr.Addr() == netip.IPv6Unspecified() {
			only = 0
		}
		if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return netip.AddrPort{}, err
		}
	}
	if cfg.shared {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return netip.AddrPort{}, err
		}
	}
	setBuffer(s.fd, unix.SO_RCVBUF, unix.SO_RCVBUFFORCE, cfg.ReadBuffer)
	setBuffer(s.fd, unix.SO_SNDBUF, unix.SO_SNDBUFFORCE, cfg.WriteBuffer)
	var bind unix.Sockaddr = &unix.SockaddrInet4{Port: int(addr.Port())}
	if s.family == unix.AF_INET6 {
		bind = &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
	} else if addr.Addr().Is4() {
		bind = &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	if err := unix.Bind(s.fd, bind); err != nil {
		return netip.AddrPort{}, err
	}
	bound, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch b := bound.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(b.Addr), uint16(b.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(b.Addr), uint16(b.Port)), nil
	default:
		return netip.AddrPort{}, errAddress
	}
}

// setBuffer asks for a buffer beyond the system's limit first, which root may,
// and then for what the limit allows. A kernel that grants less still works.
func setBuffer(fd, option, force, size int) {
	if size > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, size)
	}
}

// encode writes a as a socket address of our family.
func (s *linuxSocket) encode(raw *unix.RawSockaddrInet6, a netip.AddrPort) uint32 {
	if s.family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		v4.Family = unix.AF_INET
		v4.Port = swap(a.Port())
		if a.Addr().Is4() {
			v4.Addr = a.Addr().As4()
		}
		return unix.SizeofSockaddrInet4
	}
	raw.Family = unix.AF_INET6
	raw.Port = swap(a.Port())
	raw.Addr = a.Addr().As16()
	if zone := a.Addr().Zone(); zone != "" {
		if i, err := net.InterfaceByName(zone); err == nil {
			raw.Scope_id = uint32(i.Index)
		}
	}
	return unix.SizeofSockaddrInet6
}

// swap turns a port into network order in memory.
func swap(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

func (s *linuxSocket) send(b []byte, to *Addr) error {
	if !s.enter() {
		return ErrClosed
	}
	defer s.leave()
	var base *byte
	if len(b) > 0 {
		base = &b[0]
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(s.fd), uintptr(unsafe.Pointer(base)), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&to.raw)), uintptr(to.len))
	if errno != 0 {
		return errno
	}
	return nil
}

// enter and leave keep the descriptor from being closed, and so from meaning
// another file, while a system call uses it.
func (s *linuxSocket) enter() bool {
	if s.users.Add(1); s.closed.Load() {
		s.leave()
		return false
	}
	return true
}

func (s *linuxSocket) leave() {
	if s.users.Add(-1) == 0 {
		_ = unix.Close(s.fd)
	}
}

func (s *linuxSocket) close() error {
	if s.closed.Swap(true) {
		return ErrClosed
	}
	s.mu.Lock()
	var err error
	for _, f := range s.watches { // wakes readers
		err = errors.Join(err, f.Close())
	}
	s.mu.Unlock()
	s.leave()
	return err
}
