package sfu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/stun/v4"

	"github.com/securecam/securecam/sfu/transport"
	"github.com/securecam/securecam/sfu/udp"
)

// socketBuffer holds a keyframe burst of many cameras while the reader is not scheduled. The kernel may grant less.
const socketBuffer = 4 << 20

// readPause is how long the reader rests after the system failed it.
const readPause = 10 * time.Millisecond

// watchedGather and unwatchedGather are how long a busy reader lets datagrams gather while somebody watches, and while
// nobody does.
const watchedGather, unwatchedGather = 2 * time.Millisecond, 5 * time.Millisecond

// socket is the one UDP port of all media. Its readers take RTP and RTCP of known addresses all the way to the shards,
// give pion what is ICE's or DTLS', and drop what is of no session. What comes from one address has one reader.
type socket struct {
	faults    atomic.Uint64 // reads that failed
	rejected  atomic.Uint64 // packets of known addresses that were not authentic
	strangers atomic.Uint64 // datagrams of no session
	drops     transport.Drops

	conns []*udp.Conn // one a reader, all on the port
	net   *freshNet
	pion  *pionConn
	who   *contacts
	mux   ice.UDPMux
	tcp   *transport.TCPPort // nil without one
	clock func() int64       // of packet arrivals
	done  sync.WaitGroup     // the readers, the discovery

	window time.Duration // the longest that datagrams may gather

	mapped *discovery
	stop   context.CancelFunc // of the discovery

	moves atomic.Uint64 // changes of peers

	mu    sync.RWMutex // guards peers; held for one look-up
	peers map[netip.AddrPort]*peer
}

// sighting is the peer that the packet before came from: a camera sends many in a row.
type sighting struct {
	from  netip.AddrPort
	peer  *peer
	moves uint64 // of the socket when it was looked up
}

// listen opens the media ports. A wildcard address listens on IPv4 and IPv6 where the host has both.
func listen(cfg Config, clock func() int64) (*socket, error) {
	bind, err := bindAddress(cfg.UDPAddr)
	if err != nil {
		return nil, fmt.Errorf("sfu: listen %s: %w", cfg.UDPAddr, err)
	}
	conns, err := udp.ListenGroup(bind, cfg.Readers, udp.Config{
		ReadBuffer: socketBuffer, WriteBuffer: socketBuffer, NoOffload: cfg.NoOffload,
	})
	if err != nil {
		return nil, fmt.Errorf("sfu: listen %s: %w", cfg.UDPAddr, err)
	}
	who := newContacts(clock)
	s := &socket{
		conns: conns, clock: clock, who: who, pion: newPionConn(conns[0], who), peers: make(map[netip.AddrPort]*peer),
		window: cfg.BurstWindow,
	}
	s.hurry(false)
	if err := s.setUp(cfg); err != nil {
		return nil, errors.Join(err, s.hangUp())
	}
	// What the mux would say is counted, or ends a session with a reason.
	silent := (&logging.DefaultLoggerFactory{Writer: io.Discard}).NewLogger("ice")
	s.mux = &namingMux{contacts: who, UDPMux: ice.NewUDPMuxDefault(ice.UDPMuxParams{
		Logger: silent, UDPConn: s.pion, Net: s.net,
		OnUnhandledPacket: func([]byte, netip.AddrPort) { s.strangers.Add(1) }, // its session has just ended
	})}
	for _, c := range conns {
		s.done.Go(func() { s.readLoop(c) })
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if len(cfg.STUNServers) > 0 {
		s.done.Go(func() { s.mapped.run(ctx) })
	}
	return s, nil
}

// setUp adds what the socket needs beside itself. Nothing that it leaves behind when it fails needs an end.
func (s *socket) setUp(cfg Config) (err error) {
	if s.net, err = newFreshNet(); err != nil {
		return fmt.Errorf("sfu: network interfaces: %w", err)
	}
	if s.mapped, err = newDiscovery(s.conns[0], cfg.STUNServers, cfg.Logger); err != nil {
		return err
	}
	if cfg.TCPAddr == "" {
		return nil
	}
	bind, err := bindAddress(cfg.TCPAddr)
	if err != nil {
		return fmt.Errorf("sfu: listen %s: %w", cfg.TCPAddr, err)
	}
	if s.tcp, err = transport.ListenTCP(bind); err != nil {
		return fmt.Errorf("sfu: %w", err)
	}
	return nil
}

// bindAddress resolves where to listen.
func bindAddress(addr string) (netip.AddrPort, error) {
	resolved, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip := resolved.AddrPort().Addr().Unmap()
	if !ip.IsValid() {
		ip = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(ip, uint16(resolved.Port)), nil
}

func (s *socket) close() error {
	s.stop()
	err := errors.Join(s.mux.Close(), s.hangUp())
	if s.tcp != nil {
		err = errors.Join(err, s.tcp.Close())
	}
	s.done.Wait()
	return err
}

// hangUp closes the port.
func (s *socket) hangUp() (err error) {
	for _, c := range s.conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// readLoop takes datagrams apart as RFC 7983, section 7, says, until the socket is closed. Those that came together have
// one time of arrival.
func (s *socket) readLoop(conn *udp.Conn) {
	r := conn.NewReader()
	now := int64(0)
	var last sighting
	for {
		fresh := !r.Buffered()
		b, from, err := r.Next()
		if errors.Is(err, udp.ErrClosed) {
			return
		}
		if err != nil { // the system is out of memory, or worse: there is nothing to do but to try again
			s.faults.Add(1)
			<-time.After(readPause)
			continue
		}
		if fresh {
			now = s.clock()
		}
		if isMedia(b) {
			if moves := s.moves.Load(); from != last.from || moves != last.moves {
				last = sighting{from: from, peer: s.peer(from), moves: moves}
			}
			if last.peer != nil {
				last.peer.receive(b, now)
				continue
			}
		}
		s.pass(b, from, now)
	}
}

// pass gives pion a datagram that is a session's business, as far as whoever sent it is not too busy.
func (s *socket) pass(b []byte, from netip.AddrPort, now int64) {
	if stun.IsMessage(b) {
		s.passCheck(b, from, now)
		return
	}
	c := s.who.of(from, now)
	switch media := isMedia(b); {
	case c == nil || !media && !isDTLS(b):
		s.strangers.Add(1)
	case !c.records.take(now, maxRecords):
		s.pion.dropped.Add(1)
	case media:
		s.pion.deliver(s.pion.media, b, from)
	default:
		s.pion.deliver(s.pion.queue, b, from)
	}
}

// passCheck gives pion a STUN message of a contact, or one that names a session. Nobody's takes the place of another's.
func (s *socket) passCheck(b []byte, from netip.AddrPort, now int64) {
	if s.mapped.take(b) {
		return
	}
	var checks *budget
	if c := s.who.of(from, now); c != nil {
		checks = &c.checks
	} else if n := s.who.named(calledName(b)); n != nil {
		checks = &n.checks
	}
	switch {
	case checks == nil:
		s.strangers.Add(1)
	case !checks.take(now, maxChecks):
		s.pion.dropped.Add(1)
	default:
		s.pion.deliver(s.pion.queue, b, from)
	}
}

// hurry says whether somebody waits for what cameras send. Recordings do not: without viewers a busy reader rests longer.
func (s *socket) hurry(watched bool) {
	gather := unwatchedGather
	if watched {
		gather = watchedGather
	}
	for _, c := range s.conns {
		c.Gather(min(gather, s.window))
	}
}

// isMedia says whether b is RTP or RTCP: RFC 7983, section 7.
func isMedia(b []byte) bool { return len(b) > 0 && b[0] >= 128 && b[0] < 192 }

// isDTLS says whether b is of DTLS: RFC 7983, section 7.
func isDTLS(b []byte) bool { return len(b) > 0 && b[0] >= 20 && b[0] < 64 }

func (s *socket) peer(from netip.AddrPort) *peer {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.peers[from]
}

// route gives the media of a remote address to p.
func (s *socket) route(from netip.AddrPort, p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[from] = p
	s.moves.Add(1)
}

// unroute undoes route, unless the address is another session's by now.
func (s *socket) unroute(from netip.AddrPort, sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[from]; p != nil && p.session == sess {
		delete(s.peers, from)
		s.moves.Add(1)
	}
}

// addrs returns the addresses that media can be sent to from this host.
func (s *socket) addrs() []netip.AddrPort {
	var out []netip.AddrPort
	for _, a := range s.mux.GetListenAddresses() {
		if u, ok := a.(*net.UDPAddr); ok {
			ap := u.AddrPort()
			out = append(out, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
		}
	}
	return out
}

// stats returns what the socket has counted.
func (s *socket) stats() SocketStats {
	u := udp.Stats{Offload: true}
	for _, c := range s.conns {
		u.Add(c.Stats())
	}
	var t transport.TCPStats
	if s.tcp != nil {
		t = s.tcp.Stats()
	}
	return SocketStats{
		TCPOpen: t.Open, TCPAccepted: t.Accepted, TCPRefused: t.Refused, TCPDropped: t.Dropped,
		Received: u.Received, Sent: u.Sent, ReadCalls: u.ReadCalls, SendCalls: u.SendCalls, Refused: u.Refused,
		Rejected: s.rejected.Load(), Strangers: s.strangers.Load(), Forged: s.drops.Forged.Load(), Early: s.drops.Early.Load(),
		Overflowed: s.pion.dropped.Load() + s.drops.Records.Load(), Faults: s.faults.Load(), Offload: u.Offload,
	}
}
