package wire

import (
	"encoding/binary"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	readMessages  = 32
	messageSize   = 1 << 16 // the largest that UDP_GRO joins
	controlLength = 128
)

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// buffer is the memory of one reader.
type buffer struct {
	msgs    [readMessages]mmsghdr
	iovecs  [readMessages]unix.Iovec
	names   [readMessages]unix.RawSockaddrInet4
	control [readMessages][controlLength]byte
	data    []byte
	count   int
}

func newBuffer() *buffer {
	b := &buffer{data: make([]byte, readMessages*messageSize)}
	for i := range b.msgs {
		b.iovecs[i].Base = &b.data[i*messageSize]
		b.iovecs[i].SetLen(messageSize)
		h := &b.msgs[i].hdr
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i][0]
	}
	return b
}

// fill reads what is there, up to the number of messages that fit.
func (b *buffer) fill(fd int) int {
	for i := range b.msgs {
		b.msgs[i].hdr.Namelen = unix.SizeofSockaddrInet4
		b.msgs[i].hdr.SetControllen(controlLength)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.msgs[0])),
		readMessages, unix.MSG_DONTWAIT, 0, 0)
	b.count = int(n)
	if errno != 0 {
		// Nothing there, or an ICMP error that concerns one peer.
		b.count = 0
	}
	return b.count
}

// deliver hands the datagrams on, split as they were on the network.
func (b *buffer) deliver(s *Socket) {
	for i := range b.count {
		m := &b.msgs[i]
		data := b.data[i*messageSize : i*messageSize+int(m.len)]
		segment, at := s.note(b.control[i][:m.hdr.Controllen])
		if segment == 0 {
			segment = len(data)
		}
		if at == 0 {
			at = time.Now().UnixNano()
		}
		from := netip.AddrPortFrom(netip.AddrFrom4(b.names[i].Addr), port(&b.names[i]))
		for len(data) > 0 {
			n := min(segment, len(data))
			s.handle(data[:n:n], from, at)
			data = data[n:]
		}
	}
	b.count = 0
}

func port(a *unix.RawSockaddrInet4) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
}

// note reads the control messages: the length of joined datagrams, or 0, the
// time of arrival, and how many the socket has lost.
func (s *Socket) note(control []byte) (segment int, at int64) {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		if h.Len < unix.SizeofCmsghdr || uint64(h.Len) > uint64(len(control)) { //nolint:unconvert // 32 bits on some systems
			return segment, at
		}
		data := control[unix.CmsgLen(0):h.Len]
		switch {
		case h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO && len(data) >= 2:
			segment = int(binary.NativeEndian.Uint16(data))
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= 16:
			at = (*unix.Timespec)(unsafe.Pointer(&data[0])).Nano()
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			s.dropped.Store(uint64(binary.NativeEndian.Uint32(data)))
		}
		next := unix.CmsgSpace(len(data))
		if next > len(control) {
			return segment, at
		}
		control = control[next:]
	}
	return segment, at
}
