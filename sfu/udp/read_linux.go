package udp

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// groBuffer holds the largest message that UDP_GRO joins.
	groBuffer     = 1 << 16
	controlLength = 64
)

// linuxReader reads with recvmmsg. A message may be several datagrams that the
// kernel joined, all of one length but the last.
type linuxReader struct {
	conn    *Conn
	socket  *linuxSocket
	watch   *watch
	receive func(uintptr) bool
	fault   error // why there is no watch
	errno   unix.Errno

	gather gathering
	pause  *time.Timer
	heeds  bool // the watch wakes us

	msgs    [readMessages]mmsghdr
	iovecs  [readMessages]unix.Iovec
	names   [readMessages]unix.RawSockaddrInet6
	control [readMessages][controlLength]byte
	buffers [][]byte

	count, at int    // messages read, and the next one
	rest      []byte // of the current message
	segment   int    // length of its datagrams
	from      netip.AddrPort
}

func (s *linuxSocket) newReader(c *Conn) Reader {
	r := &linuxReader{conn: c, socket: s, buffers: make([][]byte, readMessages)}
	r.watch, r.fault = s.newWatch()
	r.heeds = true
	r.pause = time.NewTimer(time.Hour)
	r.pause.Stop()
	r.receive = r.take
	memory := make([]byte, readMessages*groBuffer)
	for i := range r.msgs {
		r.buffers[i] = memory[i*groBuffer : (i+1)*groBuffer]
		r.iovecs[i].Base = &r.buffers[i][0]
		r.iovecs[i].SetLen(groBuffer)
		h := &r.msgs[i].hdr
		h.Iov = &r.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Control = &r.control[i][0]
	}
	return r
}

func (r *linuxReader) Buffered() bool { return len(r.rest) > 0 || r.at < r.count }

func (r *linuxReader) Next() ([]byte, netip.AddrPort, error) {
	for len(r.rest) == 0 {
		if r.at == r.count {
			if err := r.fill(); err != nil {
				return nil, netip.AddrPort{}, err
			}
		}
		r.open(r.at)
		r.at++
	}
	n := min(r.segment, len(r.rest))
	datagram := r.rest[:n:n]
	r.rest = r.rest[n:]
	r.conn.count.received.Add(1)
	return datagram, r.from, nil
}

// fill waits for a first message and takes what else is there.
func (r *linuxReader) fill() error {
	if !r.socket.enter() {
		return ErrClosed
	}
	defer r.socket.leave()
	if r.fault != nil {
		return r.fault
	}
	found, err := r.look()
	if err == nil && !found {
		err = r.await()
	}
	if err != nil {
		return err
	}
	if r.errno != 0 {
		return r.errno
	}
	return nil
}

// await waits for messages.
func (r *linuxReader) await() error {
	if err := r.heed(true); err != nil {
		return err
	}
	r.empty()
	if err := r.watch.ready.Read(r.receive); err != nil || r.socket.closed.Load() {
		return ErrClosed
	}
	if pause := time.Duration(r.conn.gather.Load()); pause > 0 && r.gather.looked(1, time.Now(), pause) {
		return r.heed(false)
	}
	return nil
}

// heed has the watch wake the reader when something comes, or not.
func (r *linuxReader) heed(on bool) error {
	if on == r.heeds {
		return nil
	}
	events := uint32(0)
	if on {
		events = unix.EPOLLIN
	}
	if err := r.watch.set(r.socket.fd, events); err != nil {
		return err
	}
	r.heeds = on
	return nil
}

// look waits for messages to gather, as long as that is worth it. It reports false if there are none and they must be
// waited for.
func (r *linuxReader) look() (found bool, err error) {
	for r.gather.on && !found {
		pause := time.Duration(r.conn.gather.Load())
		if pause > 0 && r.count < readMessages { // else there are more
			r.pause.Reset(pause + gatherSlack)
			<-r.pause.C
		}
		if r.socket.closed.Load() {
			return false, ErrClosed
		}
		r.empty()
		found = r.take(0)
		r.gather.looked(r.count, time.Now(), pause)
	}
	return found, nil
}

// empty makes room for the next messages.
func (r *linuxReader) empty() {
	for i := range r.msgs {
		r.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.msgs[i].hdr.SetControllen(controlLength)
	}
	r.count, r.at, r.errno = 0, 0, 0
}

// take is one recvmmsg. It reports false when there is nothing to read yet.
func (r *linuxReader) take(uintptr) bool {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(r.socket.fd), uintptr(unsafe.Pointer(&r.msgs[0])),
			readMessages, unix.MSG_DONTWAIT, 0, 0)
		r.conn.count.readCalls.Add(1)
		switch errno {
		case 0:
			if n > 0 {
				r.count = int(n)
				return true
			}
		case unix.EAGAIN:
			return false
		case unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// ICMP errors for what we sent are reported here on some kernels; they concern one peer, not the socket.
		default:
			r.errno = errno
			return true
		}
	}
}

// open makes message i the current one.
func (r *linuxReader) open(i int) {
	m := &r.msgs[i]
	r.rest = r.buffers[i][:m.len]
	r.segment = int(m.len)
	if size := segmentSize(r.control[i][:m.hdr.Controllen]); size > 0 {
		r.segment = size
	}
	r.from = decode(&r.names[i])
}

// segmentSize finds what UDP_GRO tells of a joined message, or 0.
func segmentSize(control []byte) int {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Len < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(control)) { //nolint:unconvert // 32 bits on some systems
			return 0
		}
		data := control[unix.CmsgLen(0):h.Len]
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 2 {
			return int(binary.NativeEndian.Uint16(data))
		}
		next := unix.CmsgSpace(len(data))
		if next > len(control) {
			return 0
		}
		control = control[next:]
	}
	return 0
}

func decode(raw *unix.RawSockaddrInet6) netip.AddrPort {
	if raw.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(raw))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), swap(v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(raw.Addr).Unmap(), swap(raw.Port))
}
