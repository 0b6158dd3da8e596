package turn

import (
	"net"
	"net/netip"
)

// A TURN server that relays anywhere is a way into the network that it stands
// in. Ours is for reaching our own media port and nothing else, so the policy
// is a list of what is allowed: everything that is not on it is denied,
// whether private, loopback, link-local, multicast or public.

// peerSet is the transport addresses that relays may talk to.
type peerSet map[netip.AddrPort]struct{}

// newPeerSet returns the peers as a set. It leaves out what names no single
// host, lest a wildcard listener's address opens more than itself.
func newPeerSet(peers []netip.AddrPort) peerSet {
	set := make(peerSet, len(peers))
	for _, p := range peers {
		if p = canonical(p); p.Port() != 0 && singleHost(p.Addr()) {
			set[p] = struct{}{}
		}
	}
	return set
}

func singleHost(ip netip.Addr) bool {
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return ip.IsValid() && !ip.IsUnspecified() && !ip.IsMulticast() && ip != broadcast
}

// allows reports whether a packet may go to or come from exactly this address
// and port.
func (s peerSet) allows(peer netip.AddrPort) bool {
	_, ok := s[canonical(peer)]
	return ok
}

// allowsHost reports whether a permission, which names no port (RFC 8656,
// section 9), may be given: whether some port of the host is allowed.
func (s peerSet) allowsHost(host netip.Addr) bool {
	host = host.Unmap()
	for p := range s {
		if p.Addr() == host {
			return true
		}
	}
	return false
}

// canonical makes an IPv4 address out of an IPv4-mapped IPv6 one, so that both
// spellings are the same peer. Other embeddings, such as NAT64, stay what they
// are: addresses of their own, which nobody allowed.
func canonical(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip) // the zero Addr is never allowed
	return a.Unmap()
}

func addrPortOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return canonical(a.AddrPort())
	case *net.TCPAddr:
		return canonical(a.AddrPort())
	default:
		return netip.AddrPort{}
	}
}
