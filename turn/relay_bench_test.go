package turn

import (
	"net"
	"net/netip"
	"testing"
)

// BenchmarkFilter is what the policy costs for each packet of a relay.
func BenchmarkFilter(b *testing.B) {
	media := netip.MustParseAddrPort("192.168.1.5:8090")
	for name, peer := range map[string]netip.AddrPort{"media": media, "public": netip.MustParseAddrPort("8.8.8.8:50000")} {
		b.Run(name, func(b *testing.B) {
			r := &relays{known: map[netip.AddrPort]*relayConn{}, local: map[netip.AddrPort]*relayConn{}}
			r.bounds.Store(&bounds{media: newPeerSet([]netip.AddrPort{media}), public: true, near: []netip.Prefix{
				netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("2001:db8::/64"), netip.MustParsePrefix("fe80::/64"),
			}})
			to := net.UDPAddrFromAddrPort(peer)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := r.destination(addrPortOf(to)); !ok {
					b.Fatal("denied")
				}
				if _, ok := r.origin(peer); !ok {
					b.Fatal("denied")
				}
			}
		})
	}
}
