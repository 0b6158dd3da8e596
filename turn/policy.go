package turn

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
)

// A TURN server that relays anywhere is a way into the network that it stands
// in. Ours is for reaching our own media port and nothing else, so the policy
// is a list of what is allowed: everything that is not on it is denied,
// whether private, loopback, link-local, multicast or public.
//
// Where devices send media to each other, two relays of ours bring any two
// together. The operator may allow more: networks by name, or what is public, as
// on any TURN server on the Internet. Public is not what shares a network with
// this machine, whatever its addresses look like: with IPv6, and in many data
// centres, neighbours have public ones, and trust each other as private ones do.

// bounds are where relays may send to and hear from, besides each other.
type bounds struct {
	media    peerSet
	networks []netip.Prefix          // any address in these
	public   bool                    // any public address that is not in near
	near     []netip.Prefix          // the networks that this machine is in
	own      map[netip.Addr]struct{} // this machine's addresses, which are never allowed by either
}

// lowestPort is the first that is nobody's by convention: no browser sends from
// one below, and what listens there does not expect media.
const lowestPort = 1024

// allows reports whether a packet may go to or come from exactly this address
// and port.
func (b *bounds) allows(peer netip.AddrPort) bool {
	peer = canonical(peer)
	return b.media.allows(peer) || peer.Port() >= lowestPort && b.beyond(peer.Addr())
}

// allowsHost reports whether a permission, which names no port (RFC 8656,
// section 9), may be given: whether some port of the host is allowed.
func (b *bounds) allowsHost(host netip.Addr) bool {
	host = host.Unmap()
	return b.media.allowsHost(host) || b.beyond(host)
}

// beyond reports whether a host is one that other people's devices may have.
func (b *bounds) beyond(host netip.Addr) bool {
	if _, own := b.own[host.WithZone("")]; own || !singleHost(host) {
		return false
	}
	return contains(b.networks, host) || b.public && isPublic(host) && !contains(b.near, host)
}

func contains(networks []netip.Prefix, host netip.Addr) bool {
	host = host.WithZone("")
	for _, p := range networks {
		if p.Contains(host) {
			return true
		}
	}
	return false
}

// surroundings returns the addresses that interfaces have, those at which each
// of their IPv4 networks is addressed as a whole, and the networks. Loopback is
// left out.
func surroundings(interfaces []net.Addr) (own map[netip.Addr]struct{}, near []netip.Prefix, err error) {
	own = map[netip.Addr]struct{}{}
	for _, a := range interfaces {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, nil, err
		}
		ip := p.Addr()
		if ip.IsLoopback() {
			continue
		}
		own[ip] = struct{}{}
		near = append(near, p.Masked())
		if ip.Is4() && p.Bits() < ip.BitLen()-1 { // RFC 3021: a network of two has neither
			own[p.Masked().Addr()], own[lastOf(p)] = struct{}{}, struct{}{}
		}
	}
	return own, near, nil
}

// lastOf returns the last address of an IPv4 network: its broadcast address.
func lastOf(p netip.Prefix) netip.Addr {
	ip := p.Addr().As4()
	n := binary.BigEndian.Uint32(ip[:]) | math.MaxUint32>>p.Bits()
	binary.BigEndian.PutUint32(ip[:], n)
	return netip.AddrFrom4(ip)
}

// isPublic reports whether an address is one of the public Internet.
func isPublic(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && ip.Zone() == "" && !isReserved(ip)
}

// isReserved covers what IANA keeps from the public Internet, beyond what
// net/netip knows, and the IPv6 addresses that stand for IPv4 ones.
func isReserved(ip netip.Addr) bool {
	for _, p := range reservedPrefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

var reservedPrefixes = [...]netip.Prefix{ //nolint:gochecknoglobals // a table, which each packet is held against
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

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
