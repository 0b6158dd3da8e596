package turn

import (
	"net"
	"net/netip"
	"sync"
)

// relayConn is one allocation's socket. It passes packets to and from allowed
// peers only: a permission names a host, this filter its port as well.
type relayConn struct {
	*net.UDPConn
	relays    *relays
	principal Principal
	known     netip.AddrPort // as clients know it
	local     netip.AddrPort // as other relays reach it
	once      sync.Once
}

// ReadFrom returns the next packet of an allowed peer.
func (c *relayConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.ReadFromUDPAddrPort(p)
		if err != nil {
			return 0, nil, err
		}
		peer, ok := c.relays.origin(canonical(from))
		if !ok {
			c.relays.stats.dropped.Add(1)
			continue
		}
		c.relays.stats.bytesFromPeers.Add(uint64(n))
		return n, net.UDPAddrFromAddrPort(peer), nil
	}
}

// WriteTo sends a packet to the peer, or nowhere when it is not allowed: RFC
// 8656, section 11.2, has the server discard it silently.
func (c *relayConn) WriteTo(p []byte, to net.Addr) (int, error) {
	peer, ok := c.relays.destination(addrPortOf(to))
	if !ok {
		c.relays.stats.dropped.Add(1)
		return len(p), nil
	}
	c.relays.stats.bytesToPeers.Add(uint64(len(p)))
	return c.WriteToUDPAddrPort(p, peer)
}

// Close gives the socket back. It answers nil, because the library stops
// closing the others at the first error.
func (c *relayConn) Close() error {
	c.once.Do(func() {
		c.relays.release(c, c.principal.User)
		c.UDPConn.Close() //nolint:errcheck // nothing is left to do about it
	})
	return nil
}
