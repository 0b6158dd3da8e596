package udp

import (
	"errors"
	"net"
	"net/netip"
)

// portable is a socket by net.UDPConn.
type portable struct{ conn *net.UDPConn }

func openPortable(addr netip.AddrPort, cfg Config) (socket, netip.AddrPort, bool, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, netip.AddrPort{}, false, err
	}
	// A kernel that grants less still works.
	if cfg.ReadBuffer > 0 {
		_ = conn.SetReadBuffer(cfg.ReadBuffer)
	}
	if cfg.WriteBuffer > 0 {
		_ = conn.SetWriteBuffer(cfg.WriteBuffer)
	}
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, netip.AddrPort{}, false, errors.Join(errAddress, conn.Close())
	}
	return portable{conn}, unmap(local.AddrPort()), false, nil
}

func (p portable) send(b []byte, to *Addr) error {
	_, err := p.conn.WriteToUDPAddrPort(b, to.addr)
	return err
}

func (p portable) flush(c *Conn, b *Batch) {
	for i := range b.count {
		m := &b.msgs[i]
		for at := 0; at < m.size; at += m.segment {
			end := min(at+m.segment, m.size)
			c.count.sendCalls.Add(1)
			if p.send(b.arena[m.start+at:m.start+end], m.to) != nil {
				c.count.refused.Add(1)
				continue
			}
			c.count.sent.Add(1)
		}
	}
}

func (p portable) close() error { return p.conn.Close() }

func (p portable) newReader(c *Conn) Reader {
	return &portableReader{conn: c, udp: p.conn, buf: make([]byte, 1<<16)}
}

type portableReader struct {
	conn *Conn
	udp  *net.UDPConn
	buf  []byte
}

func (r *portableReader) Next() ([]byte, netip.AddrPort, error) {
	n, from, err := r.udp.ReadFromUDPAddrPort(r.buf)
	r.conn.count.readCalls.Add(1)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	r.conn.count.received.Add(1)
	return r.buf[:n], unmap(from), nil
}

func (r *portableReader) Buffered() bool { return false }

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
