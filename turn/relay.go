package turn

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/pion/turn/v5"
)

var (
	errFull         = errors.New("turn: no allocation left")
	errQuota        = errors.New("turn: the user has no allocation left")
	errClosed       = errors.New("turn: closed")
	errNoTCPRelay   = errors.New("turn: relays are UDP only")
	errPortNotRange = errors.New("turn: port outside the relay range")
)

// relays opens relay sockets and knows which are open. It is the library's
// RelayAddressGenerator.
type relays struct {
	bind             netip.Addr // unspecified: every interface
	public           []netip.Addr
	portMin, portMax uint16
	max, maxPerUser  int
	media            func() []netip.AddrPort
	anywhere         bool           // also to public addresses
	networks         []netip.Prefix // also to these
	seenAt           func() []netip.AddrPort
	stats            *counters
	revoked          *revocations

	// bounds are where relays may send to, as last found out. Each permission does
	// so anew, so that packets need not.
	bounds atomic.Pointer[bounds]

	mu     sync.RWMutex // guards what follows; nothing is called under it
	closed bool
	known  map[netip.AddrPort]*relayConn // by the address that clients know
	local  map[netip.AddrPort]*relayConn // by the address that relays use
	users  map[string]int
}

// Validate is part of turn.RelayAddressGenerator.
func (r *relays) Validate() error { return nil }

// AllocateListener is part of turn.RelayAddressGenerator: RFC 6062 is refused.
func (r *relays) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCPRelay
}

// AllocateConn is part of turn.RelayAddressGenerator: RFC 6062 is refused.
func (r *relays) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) {
	return nil, errNoTCPRelay
}

// AllocatePacketConn opens a relay socket for the user.
func (r *relays) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	// The library hands back what authenticate gave it.
	h, _ := parseHolder(c.UserID)
	if err := r.reserve(h.principal.User); err != nil {
		r.stats.refused.Add(1)
		return nil, nil, err
	}
	conn, err := r.listen(c.Network, c.RequestedPort)
	if err != nil {
		r.release(nil, h.principal.User)
		r.stats.refused.Add(1)
		return nil, nil, err
	}
	port := addrPortOf(conn.LocalAddr()).Port()
	relay := &relayConn{
		UDPConn: conn, relays: r, principal: h.principal,
		known: netip.AddrPortFrom(r.advertise(c.Network), port),
		local: netip.AddrPortFrom(r.hairpin(c.Network), port),
	}
	r.mu.Lock()
	closed := r.closed
	r.known[relay.known], r.local[relay.local] = relay, relay
	r.mu.Unlock()
	// Whoever was revoked since authenticate looked was not among the relays
	// then to close.
	if closed || r.revoked.covers(h) {
		relay.Close() //nolint:errcheck // Close of a relay answers nil
		return nil, nil, errClosed
	}
	return relay, net.UDPAddrFromAddrPort(relay.known), nil
}

// reserve counts an allocation before it exists, so that no number of
// simultaneous requests goes past the limits.
func (r *relays) reserve(user string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return errClosed
	case r.total() >= r.max:
		return errFull
	case r.users[user] >= r.maxPerUser:
		return errQuota
	}
	r.users[user]++
	return nil
}

// release forgets a relay, or a reservation that did not become one.
func (r *relays) release(relay *relayConn, user string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if relay != nil {
		delete(r.known, relay.known)
		delete(r.local, relay.local)
	}
	if r.users[user]--; r.users[user] <= 0 {
		delete(r.users, user)
	}
}

// total returns how many allocations there are. The caller holds mu.
func (r *relays) total() (n int) {
	for _, count := range r.users {
		n += count
	}
	return n
}

// withinQuota answers before the library opens a socket, which makes the
// refusal a proper 486.
func (r *relays) withinQuota(id, _ string, _ net.Addr) bool {
	h, _ := parseHolder(id)
	r.mu.RLock()
	ok := r.users[h.principal.User] < r.maxPerUser
	r.mu.RUnlock()
	if !ok {
		r.stats.refused.Add(1)
	}
	return ok
}

// listen opens a socket on the port, or on a free one of the range.
func (r *relays) listen(network string, port int) (*net.UDPConn, error) {
	bind := net.IP(r.bind.AsSlice())
	if r.bind.IsUnspecified() {
		bind = nil
	}
	first, ports := r.portMin, int(r.portMax)-int(r.portMin)+1
	switch {
	case r.portMax == 0:
		return net.ListenUDP(network, &net.UDPAddr{IP: bind, Port: port})
	case port != 0 && (port < int(r.portMin) || port > int(r.portMax)):
		return nil, errPortNotRange
	case port != 0:
		first, ports = uint16(port), 1
	}
	err := errFull
	for i, start := 0, rand.N(ports); i < ports; i++ {
		port := int(first) + (start+i)%ports
		if r.isOpen(network, port) {
			continue
		}
		var conn *net.UDPConn
		if conn, err = net.ListenUDP(network, &net.UDPAddr{IP: bind, Port: port}); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (r *relays) isOpen(network string, port int) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.local[netip.AddrPortFrom(r.hairpin(network), uint16(port))]
	return ok
}

// advertise returns the address that clients are told.
func (r *relays) advertise(network string) netip.Addr {
	for _, ip := range r.public {
		if ip.Is4() == (network == "udp4") {
			return ip
		}
	}
	if !r.bind.IsUnspecified() {
		return r.bind
	}
	return interfaceAddr(network)
}

// hairpin returns the address at which one relay reaches another, whatever
// the network outside does with packets to our public address.
func (r *relays) hairpin(network string) netip.Addr {
	switch {
	case !r.bind.IsUnspecified():
		return r.bind
	case network == "udp4":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	default:
		return netip.IPv6Loopback()
	}
}

// interfaceAddr returns the address from which this machine speaks to others,
// or loopback when it cannot.
func interfaceAddr(network string) netip.Addr {
	elsewhere, loopback := "192.0.2.1:9", netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if network != "udp4" {
		elsewhere, loopback = "[2001:db8::1]:9", netip.IPv6Loopback()
	}
	// A UDP dial asks the routing table and sends nothing.
	conn, err := new(net.Dialer).DialContext(context.Background(), network, elsewhere)
	if err != nil {
		return loopback
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	return addrPortOf(conn.LocalAddr()).Addr()
}

// permit is the library's PermissionHandler.
func (r *relays) permit(_ net.Addr, peer net.IP) bool {
	allowed := r.look()
	r.bounds.Store(allowed)
	host := addrOf(peer)
	if allowed.allowsHost(host) || r.isRelayHost(host) {
		return true
	}
	r.stats.denied.Add(1)
	return false
}

// look finds out where relays may send to now.
func (r *relays) look() *bounds {
	found := &bounds{media: newPeerSet(r.media())}
	if !r.anywhere && len(r.networks) == 0 {
		return found
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil { // lest it is this machine
		return found
	}
	own, near, err := surroundings(interfaces)
	if err != nil {
		return found
	}
	for _, ip := range r.public {
		own[ip.Unmap()] = struct{}{}
	}
	for _, a := range r.seenAt() {
		own[a.Addr().Unmap()] = struct{}{}
	}
	found.own, found.near, found.public, found.networks = own, near, r.anywhere, r.networks
	return found
}

func (r *relays) isRelayHost(host netip.Addr) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for known := range r.known {
		if known.Addr() == host {
			return true
		}
	}
	return false
}

// destination returns where a packet for the peer must be sent.
func (r *relays) destination(peer netip.AddrPort) (to netip.AddrPort, ok bool) {
	r.mu.RLock()
	relay := r.known[peer]
	r.mu.RUnlock()
	if relay != nil {
		return relay.local, true
	}
	return peer, r.bounds.Load().allows(peer)
}

// origin returns which peer a packet came from.
func (r *relays) origin(from netip.AddrPort) (peer netip.AddrPort, ok bool) {
	r.mu.RLock()
	relay := r.local[from]
	if relay == nil {
		relay = r.known[from]
	}
	r.mu.RUnlock()
	if relay != nil {
		return relay.known, true
	}
	return from, r.bounds.Load().allows(from)
}

// count returns how many relays are open.
func (r *relays) count() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.known)
}

// close closes every relay and opens no more.
func (r *relays) close() {
	r.mu.Lock()
	r.closed = true
	open := make([]*relayConn, 0, len(r.known))
	for _, relay := range r.known {
		open = append(open, relay)
	}
	r.mu.Unlock()
	for _, relay := range open {
		relay.Close() //nolint:errcheck // Close of a relay answers nil
	}
}
