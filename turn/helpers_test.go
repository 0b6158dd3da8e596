package turn

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/turn/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second // for what must happen soon

// peer is an address that echoes what it gets.
func peer(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(buf[:n], from) //nolint:errcheck // the reader notices
		}
	}()
	t.Cleanup(func() {
		conn.Close() //nolint:errcheck // a test socket
		<-done
	})
	return addrPortOf(conn.LocalAddr())
}

// start runs a server that may relay to the peers.
func start(t *testing.T, c Config, peers ...netip.AddrPort) *Server {
	t.Helper()
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	c.Secret = []byte("secret")
	c.AllowPeers = func() []netip.AddrPort { return peers }
	c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reach returns where the server is for a client on this machine.
func reach(s *Server) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), s.Addr().AddrPort().Port()).String()
}

// dial returns a client of the server.
func dial(t *testing.T, s *Server, network, username, password string) *turn.Client {
	t.Helper()
	var conn net.PacketConn
	if network == "tcp" {
		stream, err := net.Dial("tcp", reach(s))
		if err != nil {
			t.Fatal(err)
		}
		conn = turn.NewSTUNConn(stream)
	} else {
		var err error
		if conn, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		STUNServerAddr: reach(s), TURNServerAddr: reach(s), Conn: conn, Username: username, Password: password,
		LoggerFactory: libraryLog{slog.New(slog.DiscardHandler)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		conn.Close() //nolint:errcheck // a test socket
	})
	return client
}

func dialAs(t *testing.T, s *Server, network, user string) *turn.Client {
	t.Helper()
	username, password := NewCredentials([]byte("secret"), Principal{User: user}, time.Hour, time.Now())
	return dial(t, s, network, username, password)
}

// allocate returns a relay of a new client.
func allocate(t *testing.T, s *Server, network, user string) (*turn.Client, net.PacketConn) {
	t.Helper()
	client := dialAs(t, s, network, user)
	relay, err := client.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { relay.Close() }) //nolint:errcheck // the server may be gone
	return client, relay
}

// allocateSoon is allocate over TCP, at a server as impatient as this machine lets a client allocate with.
func allocateSoon(t *testing.T, media netip.AddrPort) (*Server, net.PacketConn) {
	t.Helper()
	for within := time.Second; ; within *= 2 {
		s := start(t, Config{Patience: within}, media)
		relay, err := dialAs(t, s, "tcp", "ada").Allocate()
		if err == nil {
			t.Cleanup(func() { relay.Close() }) //nolint:errcheck // the server may be gone
			return s, relay
		}
		if within > patience/4 {
			t.Fatal(err)
		}
	}
}

// exchange sends text from a relay until the wanted answer is read at another.
func exchange(t *testing.T, from net.PacketConn, to netip.AddrPort, at net.PacketConn, want netip.AddrPort) {
	t.Helper()
	got := make(chan netip.AddrPort, 1)
	go func() {
		buf := make([]byte, 100)
		n, source, err := at.ReadFrom(buf)
		if err != nil || string(buf[:n]) != "hello" {
			close(got)
			return
		}
		got <- addrPortOf(source)
	}()
	deadline := time.After(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if _, err := from.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(to)); err != nil {
			t.Fatal(err)
		}
		select {
		case source := <-got:
			if source != want {
				t.Errorf("read from %v, want %v", source, want)
			}
			return
		case <-tick.C:
		case <-deadline:
			at.SetReadDeadline(time.Now()) //nolint:errcheck // ends the reader
			t.Fatal("nothing arrived")
		}
	}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for tick := time.NewTicker(5 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not in time: %s", what)
		}
	}
}
