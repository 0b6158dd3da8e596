package turn

import (
	"net"
	"net/netip"
	"testing"
)

// BenchmarkFilter is what the policy costs for each packet of a relay.
func BenchmarkFilter(b *testing.B) {
	media := netip.MustParseAddrPort("192.168.1.5:8090")
	r := &relays{known: map[netip.AddrPort]*relayConn{}, local: map[netip.AddrPort]*relayConn{}}
	peers := newPeerSet([]netip.AddrPort{media})
	r.peers.Store(&peers)
	to := net.UDPAddrFromAddrPort(media)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := r.destination(addrPortOf(to)); !ok {
			b.Fatal("denied")
		}
		if _, ok := r.origin(media); !ok {
			b.Fatal("denied")
		}
	}
}
