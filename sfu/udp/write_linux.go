package udp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batchSystem is what sendmmsg needs beside a Batch's own memory.
type batchSystem struct {
	msgs    [writeMessages]mmsghdr
	iovecs  [writeMessages]unix.Iovec
	control [writeMessages][segmentControl]byte
}

// segmentControl is the room of a control message with one uint16.
const segmentControl = 24

// flush sends the batch with as few calls as the kernel allows. RawSyscall
// keeps the scheduler out of calls that never wait.
func (s *linuxSocket) flush(c *Conn, b *Batch) {
	if !s.enter() {
		return
	}
	defer s.leave()
	for i := range b.count {
		b.sys.prepare(i, &b.msgs[i], b.arena)
	}
	for at := 0; at < b.count; {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.sys.msgs[at])),
			uintptr(b.count-at), unix.MSG_DONTWAIT, 0, 0)
		c.count.sendCalls.Add(1)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			// Only the first message of the call is to blame.
			s.retry(c, b, &b.msgs[at], errno)
			at++
			continue
		}
		for i := at; i < at+int(n); i++ {
			c.count.sent.Add(uint64(b.msgs[i].segments))
		}
		at += int(n)
	}
}

// retry sends the datagrams of a message that the kernel refused to split one
// by one, and does not ask it again: a network card without the offload says
// EIO, a route with a smaller MTU EMSGSIZE or EINVAL.
func (s *linuxSocket) retry(c *Conn, b *Batch, m *message, errno unix.Errno) {
	switch {
	case m.segments == 1:
		c.count.refused.Add(1)
		return
	case errno == unix.EIO: // the card cannot, for anybody
		c.offload.Store(false)
	case errno == unix.EINVAL, errno == unix.EMSGSIZE: // the way to this receiver cannot: its MTU is smaller
		m.to.whole = true
	default:
		c.count.refused.Add(uint64(m.segments))
		return
	}
	for at := 0; at < m.size; at += m.segment {
		end := min(at+m.segment, m.size)
		c.count.sendCalls.Add(1)
		if s.send(b.arena[m.start+at:m.start+end], m.to) != nil {
			c.count.refused.Add(1)
			continue
		}
		c.count.sent.Add(1)
	}
}

func (y *batchSystem) prepare(i int, m *message, arena []byte) {
	y.iovecs[i].Base = &arena[m.start]
	y.iovecs[i].SetLen(m.size)
	h := &y.msgs[i].hdr
	h.Name = (*byte)(unsafe.Pointer(&m.to.raw))
	h.Namelen = m.to.len
	h.Iov = &y.iovecs[i]
	h.SetIovlen(1)
	if m.segments == 1 {
		h.Control = nil
		h.SetControllen(0)
		return
	}
	control := y.control[i][:]
	cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	cmsg.Level = unix.IPPROTO_UDP
	cmsg.Type = unix.UDP_SEGMENT
	cmsg.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(m.segment))
	h.Control = &control[0]
	h.SetControllen(unix.CmsgSpace(2))
}
