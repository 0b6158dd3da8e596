package turn

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	media := bounds{media: newPeerSet([]netip.AddrPort{
		netip.MustParseAddrPort("192.168.1.5:8090"),
		netip.MustParseAddrPort("[::ffff:198.51.100.7]:8090"),
		netip.MustParseAddrPort("[2001:db8::5]:8090"),
	})}
	tests := []struct {
		name, peer        string
		host, hostAndPort bool
	}{
		{"media", "192.168.1.5:8090", true, true},
		{"media, mapped", "[::ffff:192.168.1.5]:8090", true, true},
		{"media listed as mapped", "198.51.100.7:8090", true, true},
		{"media over IPv6", "[2001:db8::5]:8090", true, true},
		{"media host, another port", "192.168.1.5:22", true, false},
		{"media host, port zero", "192.168.1.5:0", true, false},
		{"media host in NAT64", "[64:ff9b::c0a8:105]:8090", false, false},
		{"media host in local NAT64", "[64:ff9b:1::c0a8:105]:8090", false, false},
		{"media host in 6to4", "[2002:c0a8:105::]:8090", false, false},
		{"media host, compatible", "[::c0a8:105]:8090", false, false},
		{"neighbour", "192.168.1.6:8090", false, false},
		{"public", "203.0.113.9:8090", false, false},
		{"public over IPv6", "[2a00:1450::1]:443", false, false},
		{"private 10", "10.0.0.1:8090", false, false},
		{"private 172", "172.16.0.1:8090", false, false},
		{"loopback", "127.0.0.1:8090", false, false},
		{"loopback, mapped", "[::ffff:127.0.0.1]:8090", false, false},
		{"loopback over IPv6", "[::1]:8090", false, false},
		{"link-local", "169.254.0.1:8090", false, false},
		{"metadata", "169.254.169.254:80", false, false},
		{"metadata over IPv6", "[fd00:ec2::254]:80", false, false},
		{"link-local over IPv6", "[fe80::1]:8090", false, false},
		{"unique local", "[fd12::1]:8090", false, false},
		{"carrier-grade NAT", "100.64.0.1:8090", false, false},
		{"this network", "0.0.0.0:8090", false, false},
		{"unspecified", "[::]:8090", false, false},
		{"benchmark", "198.18.0.1:8090", false, false},
		{"reserved", "240.0.0.1:8090", false, false},
		{"broadcast", "255.255.255.255:8090", false, false},
		{"multicast", "224.0.0.1:8090", false, false},
		{"multicast over IPv6", "[ff02::1]:8090", false, false},
		{"Teredo", "[2001::1]:8090", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			peer := netip.MustParseAddrPort(tt.peer)
			if got := media.allowsHost(addrOf(peer.Addr().AsSlice())); got != tt.host {
				t.Errorf("the host is allowed: %v, want %v", got, tt.host)
			}
			if got := media.allows(addrPortOf(net.UDPAddrFromAddrPort(peer))); got != tt.hostAndPort {
				t.Errorf("the port is allowed: %v, want %v", got, tt.hostAndPort)
			}
		})
	}
}

// TestPolicyBetweenDevices holds what may be relayed to where devices send media
// to each other: on a machine with public neighbours, some of whom the operator
// names.
func TestPolicyBetweenDevices(t *testing.T) {
	t.Parallel()
	own, near, err := surroundings(interfaces(t,
		"127.0.0.1/8", "::1/128", "9.9.9.9/24", "10.1.0.1/16", "2620:fe::fe/48", "2a01:4f8:1:2::10/64", "fe80::10/64"))
	if err != nil {
		t.Fatal(err)
	}
	r := bounds{
		media: newPeerSet([]netip.AddrPort{netip.MustParseAddrPort("9.9.9.9:8090")}), public: true, own: own, near: near,
		networks: []netip.Prefix{
			netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd12::/32"), netip.MustParsePrefix("2a01:4f8:1:2::40/124"),
		},
	}
	for peer, want := range map[string]bool{
		"8.8.8.8:50000": true, "[::ffff:8.8.8.8]:50000": true, "[2a00:1450::1]:50000": true, "8.8.8.8:1024": true,
		"8.8.8.8:1023": false, "8.8.8.8:53": false, "8.8.8.8:0": false,
		"9.9.9.9:8090": true, "9.9.9.9:5432": false, "[2620:fe::fe]:50000": false, // this machine
		"9.9.9.10:5353": false, "[::ffff:9.9.9.10]:5353": false, "9.9.8.10:5353": true, // its neighbours, and others
		"[2a01:4f8:1:2::20]:5353": false, "[2a01:4f8:1:3::20]:5353": true, "[2620:fe::1]:5353": false, "[2a01:4f8:1:2::41]:5353": true,
		"10.1.255.255:50000": false, "10.1.0.0:50000": false, "9.9.9.255:50000": false, "[fe80::10%eth0]:50000": false, // all of them
		"10.1.2.3:50000": true, "10.1.0.1:50000": false, "10.2.0.1:50000": false, "[fd12::5]:50000": true, "[fd13::5]:50000": false,
		"127.0.0.1:50000": false, "[::1]:50000": false, "[::ffff:127.0.0.1]:50000": false, "0.0.0.0:50000": false, "[::]:50000": false,
		"192.168.1.1:50000": false, "172.16.0.1:50000": false, "100.64.0.1:50000": false, "198.18.0.1:50000": false,
		"169.254.169.254:50000": false, "[fe80::1%eth0]:50000": false, "[fe80::1]:50000": false, "[fd00:ec2::254]:50000": false,
		"[64:ff9b::7f00:1]:50000": false, "[64:ff9b:1::a00:1]:50000": false, "[2002:7f00:1::]:50000": false, "[::10.0.0.1]:50000": false,
		"224.0.0.1:50000": false, "[ff0e::1]:50000": false, "255.255.255.255:50000": false, "240.0.0.1:50000": false,
		"192.0.2.1:50000": false, "203.0.113.9:50000": false, "[2001:db8::1]:50000": false, "[2001::1]:50000": false,
	} {
		if got := r.allows(netip.MustParseAddrPort(peer)); got != want {
			t.Errorf("%s is allowed: %v, want %v", peer, got, want)
		}
	}
	if r.allowsHost(netip.Addr{}) || r.allowsHost(netip.MustParseAddr("127.0.0.1")) || !r.allowsHost(netip.MustParseAddr("8.8.8.8")) {
		t.Error("hosts are not judged like their ports")
	}
	r.public = false
	for peer, want := range map[string]bool{
		"8.8.8.8:50000": false, "[2a00:1450::1]:50000": false, "9.9.9.10:50000": false, "[2a01:4f8:1:2::20]:50000": false,
		"10.1.2.3:50000": true, "[2a01:4f8:1:2::41]:50000": true, "[fd12::5]:50000": true, "9.9.9.9:8090": true,
	} {
		if got := r.allows(netip.MustParseAddrPort(peer)); got != want {
			t.Errorf("without what is public, %s is allowed: %v, want %v", peer, got, want)
		}
	}
}

// interfaces are addresses with the lengths of their networks, as the system
// tells them.
func interfaces(t *testing.T, cidrs ...string) (all []net.Addr) {
	t.Helper()
	for _, s := range cidrs {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	return all
}

func TestSurroundings(t *testing.T) {
	t.Parallel()
	own, near, err := surroundings(interfaces(t,
		"127.0.0.1/8", "::1/128", "198.51.100.7/30", "192.0.2.7/31", "192.0.2.9/32", "2001:db8::7/64", "fe80::7/64"))
	if err != nil {
		t.Fatal(err)
	}
	wantOwn := []string{ // the network of four is addressed as a whole by its first and its last
		"192.0.2.7", "192.0.2.9", "198.51.100.4", "198.51.100.7", "2001:db8::7", "fe80::7",
	}
	if got := slices.SortedFunc(maps.Keys(own), netip.Addr.Compare); fmt.Sprint(got) != fmt.Sprint(wantOwn) {
		t.Errorf("own are %v, want %v", got, wantOwn)
	}
	wantNear := []string{"198.51.100.4/30", "192.0.2.6/31", "192.0.2.9/32", "2001:db8::/64", "fe80::/64"}
	if fmt.Sprint(near) != fmt.Sprint(wantNear) {
		t.Errorf("near are %v, want %v", near, wantNear)
	}
	if _, _, err := surroundings([]net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.IPMask{255, 0, 255, 0}}}); err == nil {
		t.Error("a network that nobody understands is passed over")
	}
}

// TestThisMachine holds that its own interfaces are understood.
func TestThisMachine(t *testing.T) {
	t.Parallel()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	own, near, err := surroundings(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			t.Fatalf("%v is a %T", a, a)
		}
		ip := addrOf(n.IP)
		if _, known := own[ip]; known == ip.IsLoopback() || contains(near, ip) == ip.IsLoopback() {
			t.Errorf("%v is not told by %v and %v", n, own, near)
		}
	}
}

// TestPolicyIgnoresWildcards lists what a careless caller may list.
func TestPolicyIgnoresWildcards(t *testing.T) {
	t.Parallel()
	for _, peer := range []netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:8090"), netip.MustParseAddrPort("[::]:8090"),
		netip.MustParseAddrPort("[::ffff:0.0.0.0]:8090"), netip.MustParseAddrPort("224.0.0.1:8090"),
		netip.MustParseAddrPort("[ff02::1]:8090"), netip.MustParseAddrPort("255.255.255.255:8090"),
		netip.MustParseAddrPort("192.168.1.5:0"),
		{},
	} {
		if set := newPeerSet([]netip.AddrPort{peer}); len(set) != 0 {
			t.Errorf("%v became allowed", peer)
		}
	}
	if addrPortOf(&net.IPAddr{}).IsValid() || addrOf(nil).IsValid() {
		t.Error("an address of no transport became one")
	}
}
