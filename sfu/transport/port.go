package transport

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
)

// port is an address that the shared socket can be reached at.
type port struct {
	addr netip.AddrPort
	mux  net.Addr // the same, as the mux names it
}

// listen makes the ICE agent and its first ICE session.
func (t *Transport) listen() error {
	fingerprint, err := fingerprintOf(t.cfg.Certificate)
	if err != nil {
		return err
	}
	all, err := t.reachable()
	if err != nil {
		return err
	}
	t.ice.local = Local{Fingerprint: fingerprint, Lite: t.cfg.Lite, Candidates: t.cfg.advertise(all).describe()}
	t.ice.local.Ufrag, t.ice.local.Pwd = newCredentials()
	if t.agent, err = ice.NewAgentWithOptions(t.agentOptions()...); err != nil {
		return fmt.Errorf("transport: ice: %w", err)
	}
	if err = errors.Join(
		t.agent.OnConnectionStateChange(t.state),
		t.agent.OnSelectedCandidatePairChange(t.selected),
	); err == nil {
		var ports []opened
		if ports, err = t.open(oneAFamily(all), t.ice.local.Ufrag, t.ice.local.Pwd); err == nil {
			err = t.admit(ports)
		}
	}
	if err != nil {
		_ = t.agent.Close()
	}
	return err
}

func (t *Transport) agentOptions() []ice.AgentOption {
	options := []ice.AgentOption{
		ice.WithNet(t.cfg.Net), ice.WithUDPMux(t.cfg.Mux), ice.WithLoggerFactory(quiet{}),
		ice.WithNetworkTypes([]ice.NetworkType{
			ice.NetworkTypeUDP4, ice.NetworkTypeUDP6, ice.NetworkTypeTCP4, ice.NetworkTypeTCP6,
		}),
		ice.WithICELite(t.cfg.Lite),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}),
		ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled), ice.WithDisableActiveTCP(),
		ice.WithLocalCredentials(t.ice.local.Ufrag, t.ice.local.Pwd),
		ice.WithDisconnectedTimeout(t.cfg.DisconnectedTimeout), ice.WithFailedTimeout(t.cfg.FailedTimeout),
		ice.WithKeepaliveInterval(t.cfg.keepalive()),
		ice.WithBindingRequestHandler(t.follow),
	}
	if t.cfg.Loopback {
		options = append(options, ice.WithIncludeLoopback())
	}
	return options
}

// newCredentials makes a ufrag and a password: RFC 8445, section 5.3 asks for 24 and 128 bits. The ufrag has 80, as
// it also names the session in the mux.
func newCredentials() (ufrag, pwd string) { return rand.Text()[:16], rand.Text() }

// reachable lists the socket's addresses, loopback last.
func (t *Transport) reachable() ([]port, error) {
	var out, loopback []port
	for _, a := range t.cfg.Mux.GetListenAddresses() {
		u, ok := a.(*net.UDPAddr)
		if !ok {
			continue
		}
		ap := u.AddrPort()
		p := port{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), a}
		switch ip := p.addr.Addr(); {
		case ip.Zone() != "" || ip.IsUnspecified(): // cannot be named to a peer
		case ip.IsLoopback():
			loopback = append(loopback, p)
		default:
			out = append(out, p)
		}
	}
	if t.cfg.Loopback {
		out = append(out, loopback...)
	}
	if len(out) == 0 {
		return nil, ErrNoAddress
	}
	return out, nil
}

// oneAFamily chooses the addresses that the ICE agent knows. They are sent from by one socket, so that checks from
// each would all be the same check (RFC 8445, section 6.1.2.4), and pion would read for each with a goroutine and a
// buffer.
func oneAFamily(all []port) []port {
	var out []port
	seen := [2]bool{}
	for _, p := range all {
		family := 0
		if p.addr.Addr().Is6() {
			family = 1
		}
		if !seen[family] {
			seen[family] = true
			out = append(out, p)
		}
	}
	return out
}

// advertised is what the peer is told.
type advertised struct{ host, mapped, tcp []netip.AddrPort }

// advertise chooses what the peer is told: this host's addresses, so that a viewer beside it need not go around by the
// router, then those that the world knows it by, and loopback last.
func (c Config) advertise(all []port) advertised {
	var a advertised
	number := all[0].addr.Port()
	seen := map[netip.AddrPort]bool{}
	add := func(to *[]netip.AddrPort, at netip.AddrPort) {
		if !seen[at] {
			seen[at] = true
			*to = append(*to, at)
		}
	}
	for _, p := range all {
		if !p.addr.Addr().IsLoopback() {
			add(&a.host, p.addr)
		}
	}
	for _, ip := range c.PublicIPs {
		add(&a.host, netip.AddrPortFrom(ip.Unmap(), number))
	}
	if c.Mapped != nil {
		for _, at := range c.Mapped() {
			add(&a.mapped, at)
			// Where the port is forwarded, it keeps its number.
			add(&a.mapped, netip.AddrPortFrom(at.Addr(), number))
		}
	}
	for _, p := range all {
		if p.addr.Addr().IsLoopback() {
			add(&a.host, p.addr)
		}
	}
	if c.TCP != nil {
		for _, at := range append(slices.Clone(a.host), a.mapped...) {
			at = netip.AddrPortFrom(at.Addr(), c.TCP.Port())
			if !slices.Contains(a.tcp, at) {
				a.tcp = append(a.tcp, at)
			}
		}
	}
	return a
}

// opened is a port under a ufrag, not known to the agent yet.
type opened struct {
	candidate ice.Candidate
	conn      *tap
}

// open makes the agent's candidates under a ufrag and its password; admit or closeAll takes them.
func (t *Transport) open(ports []port, ufrag, pwd string) ([]opened, error) {
	var out []opened
	for _, p := range ports {
		o, err := t.openPort(p, ufrag, pwd)
		if err == nil {
			out = append(out, o)
			if t.cfg.TCP != nil {
				if o, err = t.openTCP(p, ufrag, pwd); err == nil {
					out = append(out, o)
				}
			}
		}
		if err != nil {
			closeAll(out)
			return nil, err
		}
	}
	return out, nil
}

// openTCP takes the session's connections of the port's family.
func (t *Transport) openTCP(p port, ufrag, pwd string) (opened, error) {
	conn, err := t.cfg.TCP.session(ufrag, p.addr.Addr().Is6())
	if err != nil {
		return opened{}, err
	}
	conn.patient.Store(t.patient.Load())
	c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "tcp", Address: p.addr.Addr().String(), Port: int(t.cfg.TCP.Port()), Component: 1,
		TCPType: ice.TCPTypePassive,
	})
	if err != nil {
		_ = conn.Close()
		return opened{}, fmt.Errorf("transport: ice: %w", err)
	}
	return opened{c, t.newTap(conn, conn, pwd)}, nil
}

func (t *Transport) openPort(p port, ufrag, pwd string) (opened, error) {
	conn, err := t.cfg.Mux.GetConn(ufrag, p.mux)
	if err != nil {
		return opened{}, fmt.Errorf("transport: mux: %w", err)
	}
	io, ok := conn.(ice.AddrPortReaderWriter)
	if !ok {
		_ = conn.Close()
		return opened{}, errors.New("transport: the mux cannot read and write netip addresses")
	}
	c, err := ice.NewCandidateHost(&ice.CandidateHostConfig{
		Network: "udp", Address: p.addr.Addr().String(), Port: int(p.addr.Port()), Component: 1,
	})
	if err != nil {
		_ = conn.Close()
		return opened{}, fmt.Errorf("transport: ice: %w", err)
	}
	return opened{c, t.newTap(conn, io, pwd)}, nil
}

func closeAll(ports []opened) {
	for _, o := range ports {
		_ = o.conn.Close()
	}
}

// admit gives the agent its candidates, those for TCP when the peer connects. Caller holds ice, or is New.
func (t *Transport) admit(ports []opened) error {
	t.closeSlow()
	for i, o := range ports {
		if conn, ok := o.conn.PacketConn.(*streams); ok {
			t.slow = append(t.slow, conn)
			conn.mu.Lock()
			conn.announce = func() error { return t.announce(o, conn) }
			conn.mu.Unlock()
			continue
		}
		if err := t.agent.AddVirtualCandidate(o.candidate, o.conn); err != nil {
			closeAll(ports[i:])
			t.closeSlow()
			return fmt.Errorf("transport: ice: %w", err)
		}
	}
	return nil
}

// announce gives the agent a candidate for TCP, if its ICE session is still the one that goes on.
func (t *Transport) announce(o opened, conn *streams) error {
	t.ice.Lock()
	defer t.ice.Unlock()
	if !slices.Contains(t.slow, conn) {
		return ErrClosed
	}
	err := t.agent.AddVirtualCandidate(o.candidate, o.conn)
	if err != nil {
		_ = conn.Close()
	}
	return err
}

// closeSlow closes the TCP connections of the ICE session. Caller holds ice, or is New.
func (t *Transport) closeSlow() {
	for _, conn := range t.slow {
		_ = conn.Close()
	}
	t.slow = nil
}

// Local returns what the answer is to say.
func (t *Transport) Local() Local {
	t.ice.Lock()
	defer t.ice.Unlock()
	return t.ice.local
}

// Restart begins a new ICE session with the peer's new credentials (RFC 8445, section 9) and returns our new ones.
// The DTLS association, the SRTP keys and RemoteAddr stay as they are, and so must mids and SSRCs in the answer; the
// peer's candidates of this session follow by AddCandidate. It waits until Connect has begun, or ctx is over. When it
// fails, the ICE session that there was goes on, unless the transport has ended.
func (t *Transport) Restart(ctx context.Context, ufrag, pwd string) (Local, error) {
	if err := checkCredentials(ufrag, pwd); err != nil {
		return Local{}, err
	}
	select {
	case <-t.begun:
	case <-t.done:
		return Local{}, ErrClosed
	case <-ctx.Done():
		return Local{}, ctx.Err()
	}
	t.ice.Lock()
	defer t.ice.Unlock()
	if t.ended() {
		return Local{}, ErrClosed
	}
	all, err := t.reachable()
	if err != nil {
		return Local{}, err
	}
	local := Local{Fingerprint: t.ice.local.Fingerprint, Lite: t.cfg.Lite, Candidates: t.cfg.advertise(all).describe()}
	local.Ufrag, local.Pwd = newCredentials()
	ports, err := t.open(oneAFamily(all), local.Ufrag, local.Pwd)
	if err != nil {
		return Local{}, err
	}
	if err := t.agent.Restart(local.Ufrag, local.Pwd); err != nil { // it is closed: nothing else fails here
		closeAll(ports)
		return Local{}, ErrClosed
	}
	t.ice.local, t.ice.candidates = local, 0
	t.expect(pwd)
	if err := errors.Join(t.agent.SetRemoteCredentials(ufrag, pwd), t.admit(ports)); err != nil {
		return Local{}, fmt.Errorf("transport: ice: %w", err)
	}
	return local, nil
}

// expect takes the peer's answers to our checks by its password.
func (t *Transport) expect(pwd string) {
	key := stun.NewShortTermIntegrity(pwd)
	t.integrity.Store(&key)
}

// accept starts checking. Who has made the offer controls, unless it is lite: RFC 8445, section 6.1.1.
func (t *Transport) accept() error {
	t.ice.Lock()
	defer t.ice.Unlock()
	start := t.agent.StartAccept
	if t.offer && !t.cfg.Lite {
		start = t.agent.StartDial
	}
	conn, err := start(t.ice.remote.ufrag, t.ice.remote.pwd)
	if err != nil {
		return fmt.Errorf("ice: %w", err)
	}
	t.conn.Store(conn)
	close(t.begun)
	for _, c := range t.ice.waiting {
		if err := t.agent.AddRemoteCandidate(c); err != nil {
			return fmt.Errorf("ice: %w", err)
		}
	}
	t.ice.waiting = nil
	return nil
}

// selected follows the agent's choice of a pair.
func (t *Transport) selected(local, remote ice.Candidate) {
	p := &pair{remote: remote}
	if ip, err := netip.ParseAddr(remote.Address()); err == nil && local.NetworkType().IsUDP() {
		p.addr = netip.AddrPortFrom(ip.Unmap(), uint16(remote.Port()))
	}
	before := t.RemoteAddr()
	if t.pair.Swap(p) == nil {
		now := time.Now().UTC().Truncate(time.Millisecond)
		t.reached.Store(&now)
	}
	if f := t.onAddress.Load(); f != nil && p.addr != before {
		(*f)(p.addr)
	}
}

// follow decides whether a binding request moves the selected pair against the agent's rule, which is to take a
// nomination only if it betters the pair's priority (RFC 5245's aggressive nomination, which Chromium sends, needs
// that). The rule would keep a pair that died, when the peer went on to a worse one, or when a NAT gave it another
// address, from which Firefox nominates nothing again: a check from there, which has been answered the other way, too,
// is as good as a nomination then.
func (t *Transport) follow(_ *stun.Message, _, remote ice.Candidate, next *ice.CandidatePair) bool {
	p := t.pair.Load()
	return p != nil && p.remote != remote && next != nil && (t.cfg.Lite || next.ResponsesReceived() > 0) &&
		time.Since(p.remote.LastReceived()) > t.silence()
}

// tap is a mux connection that keeps everything from ICE that is not STUN, or not authentic.
type tap struct {
	net.PacketConn
	io    ice.AddrPortReaderWriter
	in    func([]byte)
	drops *Drops

	// Owned by whoever reads.
	ours    stun.MessageIntegrity // of checks: RFC 8445, section 7.3
	theirs  *atomic.Pointer[stun.MessageIntegrity]
	message stun.Message
}

func (t *Transport) newTap(conn net.PacketConn, io ice.AddrPortReaderWriter, pwd string) *tap {
	return &tap{
		PacketConn: conn, io: io, in: t.inbound, drops: t.cfg.Drops,
		ours: stun.NewShortTermIntegrity(pwd), theirs: &t.integrity,
	}
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (c *tap) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.io.ReadFromAddrPort(b)
		switch {
		case err != nil:
			return n, from, err
		case !stun.IsMessage(b[:n]):
			c.in(b[:n])
		case c.authentic(b[:n]):
			return n, from, nil
		default:
			c.drops.Forged.Add(1)
		}
	}
}

// authentic tells what the agent would drop without a word, and work for in its own turn.
func (c *tap) authentic(b []byte) bool {
	m := &c.message
	m.Raw = b
	if m.Decode() != nil {
		return false
	}
	switch m.Type.Class { //nolint:exhaustive // that is all
	case stun.ClassRequest:
		return c.ours.Check(m) == nil
	case stun.ClassSuccessResponse, stun.ClassErrorResponse:
		theirs := c.theirs.Load()
		return theirs != nil && theirs.Check(m) == nil
	}
	return true // an indication is not authenticated: RFC 8445, section 11
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (c *tap) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return c.io.WriteToAddrPort(b, to)
}

// inbound takes what is not STUN by its first byte: RFC 7983, section 7. The rest is dropped.
func (t *Transport) inbound(b []byte) {
	switch {
	case len(b) == 0:
	case b[0] >= 128 && b[0] <= 191:
		f := t.onMedia.Load()
		if f == nil {
			t.cfg.Drops.Early.Add(1)
			return
		}
		(*f)(b)
	case b[0] >= 20 && b[0] <= 63:
		t.inboundDTLS(b)
	}
}
