package turn

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

func TestRelayReachesAllowedPeer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			media := peer(t)
			s := start(t, Config{}, media)
			_, relay := allocate(t, s, network, "ada")
			exchange(t, relay, media, relay, media)
			if st := s.Stats(); st.Allocations != 1 || st.BytesToPeers == 0 || st.BytesFromPeers == 0 {
				t.Errorf("got %+v, want one allocation and bytes both ways", st)
			}
			if err := relay.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no allocation is left", func() bool { return s.Stats().Allocations == 0 })
		})
	}
}

func TestBindingTellsTheClientItsAddress(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	client := dial(t, s, "udp", "", "")
	mapped, err := client.SendBindingRequest()
	if err != nil {
		t.Fatal(err)
	}
	if !addrPortOf(mapped).Addr().IsLoopback() {
		t.Errorf("got %v, want a loopback address", mapped)
	}
}

func TestPermissionsAreDenied(t *testing.T) {
	t.Parallel()
	media := peer(t)
	s := start(t, Config{Addr: "0.0.0.0:0", PublicIPs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}, media)
	client, _ := allocate(t, s, "udp", "ada")
	for _, host := range []string{
		"127.0.0.2", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "8.8.8.8", "0.0.0.0",
	} {
		err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(host), Port: int(media.Port())})
		if err == nil || !strings.Contains(err.Error(), "403") {
			t.Errorf("%s: got %v, want a 403", host, err)
		}
	}
	if got := s.Stats().DeniedPermissions; got != 8 {
		t.Errorf("counted %d denied permissions, want 8", got)
	}
}

// TestOnlyTheMediaPortIsReached sends to a service beside the media port,
// whose host has a permission, and from there to the relay.
func TestOnlyTheMediaPortIsReached(t *testing.T) {
	t.Parallel()
	media := peer(t)
	service, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close() //nolint:errcheck // a test socket
	s := start(t, Config{}, media)
	_, relay := allocate(t, s, "udp", "ada")
	if _, err := relay.WriteTo([]byte("out"), service.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a packet out is dropped", func() bool { return s.Stats().DroppedPackets == 1 })
	if _, err := service.WriteTo([]byte("in"), relay.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a packet in is dropped", func() bool { return s.Stats().DroppedPackets == 2 })
	exchange(t, relay, media, relay, media)
}

// TestRelaysBetweenDevices has relays that may reach the public, and one network
// of the operator's.
func TestRelaysBetweenDevices(t *testing.T) {
	t.Parallel()
	other := peer(t)
	config := Config{
		Addr: "0.0.0.0:0", PublicIPs: []netip.Addr{netip.MustParseAddr("9.9.9.9")}, AllowPublic: true,
		AllowNetworks: []netip.Prefix{netip.PrefixFrom(other.Addr(), 32)},
		SeenAt:        func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("[::ffff:1.1.1.1]:8090")} },
	}
	s := start(t, config)
	client, relay := allocate(t, s, "udp", "ada")
	for host, allowed := range map[string]bool{
		"8.8.8.8": true, "127.0.0.1": true, "9.9.9.9": true, // a relay is there
		"1.1.1.1":   false, // nothing but this machine is
		"127.0.0.2": false, "10.0.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false,
	} {
		err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(host), Port: int(other.Port())})
		if (err == nil) != allowed {
			t.Errorf("%s: got %v, is allowed: %v", host, err, allowed)
		}
	}
	exchange(t, relay, other, relay, other)
	for _, service := range []string{"9.9.9.9:5432", "8.8.8.8:53"} {
		dropped := s.Stats().DroppedPackets
		if _, err := relay.WriteTo([]byte("out"), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(service))); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a packet to "+service+" is dropped", func() bool { return s.Stats().DroppedPackets > dropped })
	}
}

// TestRelaysBetweenDevicesAlone has relays that reach each other, and one
// network of the operator's, and not the public.
func TestRelaysBetweenDevicesAlone(t *testing.T) {
	t.Parallel()
	other := peer(t)
	s := start(t, Config{
		Addr: "0.0.0.0:0", PublicIPs: []netip.Addr{netip.MustParseAddr("9.9.9.9")},
		AllowNetworks: []netip.Prefix{netip.PrefixFrom(other.Addr(), 32)},
	})
	client, relay := allocate(t, s, "udp", "ada")
	_, second := allocate(t, s, "tcp", "bob")
	for _, host := range []string{"8.8.8.8", "1.1.1.1", "127.0.0.2"} {
		if err := client.CreatePermission(&net.UDPAddr{IP: net.ParseIP(host), Port: int(other.Port())}); err == nil {
			t.Errorf("%s is allowed", host)
		}
	}
	exchange(t, relay, other, relay, other)
	if _, err := second.WriteTo([]byte("hello"), relay.LocalAddr()); err != nil { // lets in what the first sends
		t.Fatal(err)
	}
	exchange(t, relay, addrPortOf(second.LocalAddr()), second, addrPortOf(relay.LocalAddr()))
}

func TestRelaysReachEachOther(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config Config
	}{
		{"one address", Config{}},
		{"every interface", Config{Addr: "0.0.0.0:0"}},
		{"both families", Config{Addr: ":0"}},
		{"behind a public address", Config{Addr: "0.0.0.0:0", PublicIPs: []netip.Addr{netip.MustParseAddr("198.51.100.7")}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.config)
			clientA, a := allocate(t, s, "udp", "ada")
			clientB, b := allocate(t, s, "tcp", "bob")
			if len(tt.config.PublicIPs) > 0 && addrPortOf(a.LocalAddr()).Addr() != tt.config.PublicIPs[0] {
				t.Errorf("the relay is told to be at %v", a.LocalAddr())
			}
			for _, err := range []error{clientA.CreatePermission(b.LocalAddr()), clientB.CreatePermission(a.LocalAddr())} {
				if err != nil {
					t.Fatal(err)
				}
			}
			exchange(t, a, addrPortOf(b.LocalAddr()), b, addrPortOf(a.LocalAddr()))
		})
	}
}

func TestBadCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	good, password := NewCredentials([]byte("secret"), Principal{User: "ada"}, time.Hour, time.Now())
	expired, expiredPassword := NewCredentials([]byte("secret"), Principal{User: "ada"}, -time.Second, time.Now())
	forged, forgedPassword := NewCredentials([]byte("another secret"), Principal{User: "ada"}, time.Hour, time.Now())
	for name, c := range map[string][2]string{
		"wrong password": {good, password + "x"}, "expired": {expired, expiredPassword},
		"another secret": {forged, forgedPassword}, "another user": {strings.Replace(good, "ada", "bob", 1), password},
		"no REST user name": {"ada", password},
	} {
		_, err := dial(t, s, "udp", c[0], c[1]).Allocate()
		if err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%s: got %v, want a 401", name, err)
		}
	}
	if st := s.Stats(); st.Allocations != 0 || st.AuthFailures < 5 {
		t.Errorf("got %+v, want no allocation and every failure counted", st)
	}
}

func TestQuota(t *testing.T) {
	t.Parallel()
	s := start(t, Config{MaxAllocations: 3, MaxUserAllocations: 2})
	_, first := allocate(t, s, "udp", "ada")
	allocate(t, s, "tcp", "ada")
	_, err := dialAs(t, s, "udp", "ada").Allocate()
	if err == nil || !strings.Contains(err.Error(), "486") {
		t.Errorf("got %v for the third of one user, want a 486", err)
	}
	allocate(t, s, "udp", "bob")
	_, err = dialAs(t, s, "udp", "eve").Allocate()
	if err == nil || !strings.Contains(err.Error(), "508") {
		t.Errorf("got %v for the fourth of all, want a 508", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the allocation is given back", func() bool { return s.Stats().Allocations == 2 })
	allocate(t, s, "udp", "eve")
}

// TestQuotaHoldsUnderConcurrency opens relays in parallel, as the library does
// for TCP connections, past the check that it makes before.
func TestQuotaHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	s := start(t, Config{MaxUserAllocations: 4})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, _, err := s.relays.AllocatePacketConn(turn.AllocateListenerConfig{Network: "udp4", UserID: "0.ada.."})
			if err != nil && !errors.Is(err, errQuota) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.Allocations != 4 || st.RefusedAllocations != 46 {
		t.Errorf("got %+v, want 4 allocations and 46 refused", st)
	}
}

func TestRelayPortRange(t *testing.T) {
	t.Parallel()
	// A port that was free a moment ago, and the two above it.
	low := peerPort(t)
	s := start(t, Config{RelayPortMin: low, RelayPortMax: low + 2})
	seen := map[uint16]bool{}
	for range 3 {
		relay, err := dialAs(t, s, "udp", "ada").Allocate()
		if err != nil {
			continue // another process took the port
		}
		defer relay.Close() //nolint:errcheck // a test socket
		port := addrPortOf(relay.LocalAddr()).Port()
		if port < low || port > low+2 || seen[port] {
			t.Errorf("got port %d, want another one from %d to %d", port, low, low+2)
		}
		seen[port] = true
	}
	if _, err := dialAs(t, s, "udp", "ada").Allocate(); err == nil {
		t.Error("a fourth relay found a port")
	}
}

func peerPort(t *testing.T) uint16 {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test socket
	return min(addrPortOf(conn.LocalAddr()).Port(), 65000)
}

// TestMalformedIndication sends a Send indication whose peer address is empty,
// which killed servers (GHSA-34rh-wp3j-6cxc).
func TestMalformedIndication(t *testing.T) {
	t.Parallel()
	media := peer(t)
	s := start(t, Config{}, media)
	client, relay := allocate(t, s, "udp", "ada")
	for _, attribute := range []stun.AttrType{stun.AttrXORPeerAddress, stun.AttrData} {
		m := stun.New()
		m.TransactionID = stun.NewTransactionID()
		m.SetType(stun.NewType(stun.MethodSend, stun.ClassIndication))
		m.Add(stun.AttrData, []byte("x"))
		m.Add(attribute, nil)
		m.WriteHeader()
		if _, err := client.WriteTo(m.Raw, s.Addr()); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, relay, media, relay, media)
}

// TestOverflowingChannelData sends a frame over TCP whose length wrapped
// around in 16 bits, which spun a core for ever (pion/turn#593): the server
// must wait for the rest of the frame, and not for long.
func TestOverflowingChannelData(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Patience: 200 * time.Millisecond})
	frame, err := hex.DecodeString("4000fffc" + strings.Repeat("00", 20))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", reach(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test socket
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, conn)
	eventually(t, "the connection is forgotten", func() bool { return s.Stats().Connections == 0 })
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Patience: 100 * time.Millisecond})
	conn, err := net.Dial("tcp", reach(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test socket
	wantClosed(t, conn)
}

func TestAllocationKeepsItsConnection(t *testing.T) {
	t.Parallel()
	media := peer(t)
	s, relay := allocateSoon(t, media)
	idle, err := net.Dial("tcp", reach(s))
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()  //nolint:errcheck // a test socket
	wantClosed(t, idle) // so the patience is over for the other one too
	exchange(t, relay, media, relay, media)
	if err := relay.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is closed after its allocation", func() bool { return s.Stats().Connections == 0 })
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"in all": {MaxConnections: 2}, "per host": {MaxHostConnections: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c)
			var conns []net.Conn
			for range 3 {
				conn, err := net.Dial("tcp", reach(s))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close() //nolint:errcheck // a test socket
				conns = append(conns, conn)
			}
			wantClosed(t, conns[2])
			if st := s.Stats(); st.Connections != 2 || st.RefusedConnections != 1 {
				t.Errorf("got %+v, want 2 connections and 1 refused", st)
			}
		})
	}
}

func wantClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := io.ReadAll(conn); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("the connection is still open")
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	allocate(t, s, "udp", "ada")
	allocate(t, s, "tcp", "ada")
	conn, err := net.Dial("tcp", reach(s))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test socket
	eventually(t, "both connections are there", func() bool { return s.Stats().Connections == 2 })
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantClosed(t, conn)
	if st := s.Stats(); st.Allocations != 0 || st.Connections != 0 {
		t.Errorf("got %+v after Close", st)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"no secret":   {Addr: "127.0.0.1:0"},
		"no range":    {Addr: "127.0.0.1:0", Secret: []byte("x"), RelayPortMin: 2, RelayPortMax: 1},
		"half range":  {Addr: "127.0.0.1:0", Secret: []byte("x"), RelayPortMax: 1},
		"no address":  {Secret: []byte("x")},
		"not ours":    {Addr: "192.0.2.1:0", Secret: []byte("x")},
		"port is bad": {Addr: "127.0.0.1:x", Secret: []byte("x")},
	} {
		if s, err := New(c); err == nil {
			t.Errorf("%s: it started", name)
			s.Close() //nolint:errcheck // the test has failed already
		}
	}
}
