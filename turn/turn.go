// Package turn runs the TURN server and issues the credentials it accepts.
//
// It relays between clients and our own media port, and between two of its
// own clients; to no other address in the world, unless it is told which, for
// devices that send media to each other.
package turn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"
)

// Config says where to listen and what to allow.
type Config struct {
	// Addr is where clients connect, over UDP and TCP. Port 0 picks one.
	Addr string
	// PublicIPs are the addresses that clients are told to reach relays at.
	// Without one of a family, that is the address of this machine's
	// interface.
	PublicIPs []netip.Addr
	// Realm is "securecam" unless given.
	Realm string
	// Secret is what NewCredentials was given. It must not be empty.
	Secret []byte
	// RelayPortMin and RelayPortMax bound the UDP ports of relays; zero lets
	// the system pick.
	RelayPortMin, RelayPortMax uint16
	// AllowPeers returns the transport addresses, besides other relays, that
	// relays may talk to. It is called for every permission.
	AllowPeers func() []netip.AddrPort
	// AllowNetworks lets relays talk to every address in these but this
	// machine's, from port 1024 up.
	AllowNetworks []netip.Prefix
	// AllowPublic lets relays talk to every public address in the same way, but
	// for those in the networks that this machine's interfaces are in.
	AllowPublic bool
	// SeenAt returns at which addresses others reach this machine, besides those
	// of its interfaces and PublicIPs: neither of the two allows them. It is
	// called for every permission then, and may be nil.
	SeenAt func() []netip.AddrPort
	// Logger may be nil.
	Logger *slog.Logger

	// MaxAllocations and MaxUserAllocations bound relays, 1000 and 50 unless
	// given.
	MaxAllocations, MaxUserAllocations int
	// MaxConnections and MaxHostConnections bound TCP connections in all and
	// from one address, 1000 and 50 unless given.
	MaxConnections, MaxHostConnections int
	// Patience is how long a TCP connection may be without an allocation, or
	// leave data unread, 10 s unless given.
	Patience time.Duration
	// Now is the clock that credentials expire by, time.Now unless given.
	Now func() time.Time
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case len(c.Secret) == 0:
		return c, errors.New("turn: no secret")
	case c.RelayPortMin > c.RelayPortMax, c.RelayPortMin == 0 && c.RelayPortMax != 0:
		return c, fmt.Errorf("turn: relay ports %d to %d are no range", c.RelayPortMin, c.RelayPortMax)
	}
	orElse(&c.Realm, "securecam")
	orElse(&c.MaxAllocations, 1000)
	orElse(&c.MaxUserAllocations, 50)
	orElse(&c.MaxConnections, 1000)
	orElse(&c.MaxHostConnections, 50)
	orElse(&c.Patience, 10*time.Second)
	if c.AllowPeers == nil {
		c.AllowPeers = func() []netip.AddrPort { return nil }
	}
	if c.SeenAt == nil {
		c.SeenAt = func() []netip.AddrPort { return nil }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, nil
}

func orElse[T comparable](v *T, instead T) {
	var zero T
	if *v == zero {
		*v = instead
	}
}

// Server is a running TURN server.
type Server struct {
	realm   string
	secret  []byte
	now     func() time.Time
	addr    *net.UDPAddr
	relays  *relays
	tcp     *limitedListener
	server  *turn.Server
	stats   *counters
	revoked *revocations
	stop    func() error // shutdown, once
}

// New starts a server. It serves until Close.
func New(c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	udp, tcp, err := listen(c.Addr)
	if err != nil {
		return nil, err
	}
	s := &Server{realm: c.Realm, secret: c.Secret, now: c.Now, stats: new(counters), revoked: new(revocations)}
	s.addr, _ = udp.LocalAddr().(*net.UDPAddr)
	s.relays = &relays{
		bind: addrOf(s.addr.IP), public: c.PublicIPs, portMin: c.RelayPortMin, portMax: c.RelayPortMax,
		max: c.MaxAllocations, maxPerUser: c.MaxUserAllocations, media: c.AllowPeers,
		anywhere: c.AllowPublic, networks: c.AllowNetworks, seenAt: c.SeenAt, stats: s.stats, revoked: s.revoked,
		known: map[netip.AddrPort]*relayConn{}, local: map[netip.AddrPort]*relayConn{}, users: map[string]int{},
	}
	s.relays.bounds.Store(&bounds{})
	s.tcp = newLimitedListener(tcp, c, s.stats)
	s.server, err = turn.NewServer(turn.ServerConfig{
		Realm:         c.Realm,
		AuthHandler:   s.authenticate,
		QuotaHandler:  s.relays.withinQuota,
		EventHandler:  s.events(),
		LoggerFactory: libraryLog{c.Logger},
		PacketConnConfigs: []turn.PacketConnConfig{{
			PacketConn: udp, RelayAddressGenerator: s.relays, PermissionHandler: s.relays.permit,
		}},
		ListenerConfigs: []turn.ListenerConfig{{
			Listener: s.tcp, RelayAddressGenerator: s.relays, PermissionHandler: s.relays.permit,
		}},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("turn: %w", err), udp.Close(), s.tcp.Close())
	}
	s.stop = sync.OnceValue(s.shutdown)
	return s, nil
}

// sharedPortAttempts is how often listen picks another port because UDP got
// one that is taken over TCP.
const sharedPortAttempts = 20

// listen opens the same port over UDP and TCP.
func listen(addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, fmt.Errorf("turn: %w", err)
	}
	ctx, config := context.Background(), net.ListenConfig{} // binding a port waits for nothing
	for attempt := 1; ; attempt++ {
		udp, err := config.ListenPacket(ctx, "udp", addr)
		if err != nil {
			return nil, nil, fmt.Errorf("turn: %w", err)
		}
		_, same, err := net.SplitHostPort(udp.LocalAddr().String())
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("turn: %w", err), udp.Close())
		}
		tcp, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, same))
		if err == nil {
			return udp, tcp, nil
		}
		if err := errors.Join(fmt.Errorf("turn: %w", err), udp.Close()); port != "0" || attempt == sharedPortAttempts {
			return nil, nil, err
		}
	}
}

// events keeps what the library tells. It may hold its own locks meanwhile, so
// none of this calls it back.
func (s *Server) events() turn.EventHandler {
	return turn.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
			if !ok {
				s.stats.authFailures.Add(1)
			}
		},
		OnAllocationCreated: func(client, _ net.Addr, _, _, _ string, _ net.Addr, _ int) {
			s.overTCP(client, true)
		},
		OnAllocationDeleted: func(client, _ net.Addr, _, _, _ string) {
			s.overTCP(client, false)
		},
	}
}

func (s *Server) overTCP(client net.Addr, allocated bool) {
	if _, ok := client.(*net.TCPAddr); ok {
		s.tcp.allocated(addrPortOf(client), allocated)
	}
}

// Addr returns where the server listens, over UDP and over TCP.
func (s *Server) Addr() *net.UDPAddr { return s.addr }

// Close ends every allocation and connection and stops listening. It may be
// called again.
func (s *Server) Close() error { return s.stop() }

func (s *Server) shutdown() error {
	err := s.server.Close()
	s.relays.close()
	if err != nil {
		return fmt.Errorf("turn: %w", err)
	}
	return nil
}

type counters struct {
	refused, revoked, refusedConns, denied, dropped, authFailures, bytesToPeers, bytesFromPeers atomic.Uint64
}

// Stats counts what the server does.
type Stats struct {
	Allocations        int    // open now
	Connections        int    // TCP connections open now
	RefusedAllocations uint64 // over a quota, or without a free port
	RevokedAllocations uint64 // closed by Revoke
	RefusedConnections uint64 // over a limit
	DeniedPermissions  uint64 // to hosts that are not allowed
	DroppedPackets     uint64 // from or to addresses that are not allowed
	AuthFailures       uint64
	BytesToPeers       uint64
	BytesFromPeers     uint64
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	return Stats{
		Allocations:        s.relays.count(),
		Connections:        s.tcp.count(),
		RefusedAllocations: s.stats.refused.Load(),
		RevokedAllocations: s.stats.revoked.Load(),
		RefusedConnections: s.stats.refusedConns.Load(),
		DeniedPermissions:  s.stats.denied.Load(),
		DroppedPackets:     s.stats.dropped.Load(),
		AuthFailures:       s.stats.authFailures.Load(),
		BytesToPeers:       s.stats.bytesToPeers.Load(),
		BytesFromPeers:     s.stats.bytesFromPeers.Load(),
	}
}
