package sfu

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pion/stun/v4"

	"github.com/securecam/securecam/sfu/udp"
)

const (
	// discoverEvery keeps a NAT's mapping, which many forget after 30 s (RFC 4787, section 4.3 wants 2 min).
	discoverEvery = 25 * time.Second
	// discoverTries and discoverWait: a request is sent so often, an answer awaited so long after each.
	discoverTries = 3
	discoverWait  = 500 * time.Millisecond
	// resolveWithin bounds the look-up of a server's name.
	resolveWithin = 5 * time.Second
	// forgetAfter is how many rounds without an answer make an address old.
	forgetAfter = 3
)

// ParseSTUN returns the host and port of a STUN server's URL: RFC 7064.
func ParseSTUN(url string) (string, error) {
	u, err := stun.ParseURI(url)
	if err != nil || u.Scheme != stun.SchemeTypeSTUN {
		return "", fmt.Errorf("sfu: %q is no stun:host[:port]", url)
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(u.Port)), nil
}

// discovery asks STUN servers what the media socket looks like from outside (RFC 8489), from that socket itself: a NAT
// maps it, and no other.
type discovery struct {
	conn    *udp.Conn
	servers []string // host:port
	log     *slog.Logger

	mu      sync.Mutex // guards what follows
	pending map[[stun.TransactionIDSize]byte]chan<- netip.AddrPort
	found   map[asked]answered
	warned  bool
}

// asked is a server in one family.
type asked struct {
	server string
	ipv6   bool
}

type answered struct {
	addr   netip.AddrPort
	missed int // rounds without an answer since
}

func newDiscovery(conn *udp.Conn, urls []string, log *slog.Logger) (*discovery, error) {
	d := &discovery{
		conn: conn, log: log,
		pending: make(map[[stun.TransactionIDSize]byte]chan<- netip.AddrPort), found: make(map[asked]answered),
	}
	for _, u := range urls {
		server, err := ParseSTUN(u)
		if err != nil {
			return nil, err
		}
		d.servers = append(d.servers, server)
	}
	return d, nil
}

// addrs returns what was found, each address once.
func (d *discovery) addrs() []netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []netip.AddrPort
	for _, a := range d.found {
		if !slices.Contains(out, a.addr) {
			out = append(out, a.addr)
		}
	}
	slices.SortFunc(out, netip.AddrPort.Compare)
	return out
}

// run asks until ctx is over.
func (d *discovery) run(ctx context.Context) {
	tick := time.NewTicker(discoverEvery)
	defer tick.Stop()
	for {
		var round sync.WaitGroup
		for _, server := range d.servers {
			round.Go(func() { d.ask(ctx, server) })
		}
		round.Wait()
		d.judge(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask asks one server in both families, as far as it has them.
func (d *discovery) ask(ctx context.Context, server string) {
	resolve, cancel := context.WithTimeout(ctx, resolveWithin)
	defer cancel()
	host, port, _ := net.SplitHostPort(server)
	number, _ := strconv.ParseUint(port, 10, 16) // ParseSTUN has made it
	ips, err := net.DefaultResolver.LookupNetIP(resolve, "ip", host)
	if err != nil {
		d.log.Debug("stun server not resolved", slog.String("server", server), slog.Any("err", err))
	}
	for _, ipv6 := range []bool{false, true} {
		key := asked{server, ipv6}
		i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is6() == ipv6 })
		if i < 0 {
			d.missed(key)
			continue
		}
		if addr, ok := d.request(ctx, netip.AddrPortFrom(ips[i].Unmap(), uint16(number))); ok {
			d.learn(key, addr)
		} else {
			d.missed(key)
		}
	}
}

// request sends a binding request until it is answered.
func (d *discovery) request(ctx context.Context, to netip.AddrPort) (netip.AddrPort, bool) {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return netip.AddrPort{}, false
	}
	answer := make(chan netip.AddrPort, 1)
	d.mu.Lock()
	d.pending[m.TransactionID] = answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.pending, m.TransactionID)
		d.mu.Unlock()
	}()
	wait := time.NewTicker(discoverWait)
	defer wait.Stop()
	for range discoverTries {
		_ = d.conn.Send(m.Raw, d.conn.Addr(to)) // a family that the host has no way for
		select {
		case a := <-answer:
			return a, true
		case <-wait.C:
		case <-ctx.Done():
			return netip.AddrPort{}, false
		}
	}
	return netip.AddrPort{}, false
}

// take takes a datagram if it answers a request. The transaction's number, which nobody else knows, authenticates it.
func (d *discovery) take(b []byte) bool {
	if len(b) < 20 || b[0] != 1 || b[1] != 1 { // a binding success response: RFC 8489, section 5
		return false
	}
	d.mu.Lock()
	answer, ours := d.pending[[stun.TransactionIDSize]byte(b[8:20])]
	d.mu.Unlock()
	if !ours {
		return false
	}
	m := &stun.Message{Raw: slices.Clone(b)}
	var mapped stun.XORMappedAddress
	if m.Decode() != nil || mapped.GetFrom(m) != nil {
		return true
	}
	ip, ok := netip.AddrFromSlice(mapped.IP)
	if !ok || mapped.Port <= 0 || mapped.Port > 65535 {
		return true
	}
	select {
	case answer <- netip.AddrPortFrom(ip.Unmap(), uint16(mapped.Port)):
	default:
	}
	return true
}

func (d *discovery) learn(key asked, addr netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found[key].addr != addr {
		d.log.Info("media is seen from outside as", slog.String("address", addr.String()), slog.String("server", key.server))
	}
	d.found[key] = answered{addr: addr}
}

func (d *discovery) missed(key asked) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, ok := d.found[key]
	if !ok {
		return
	}
	if a.missed++; a.missed >= forgetAfter {
		delete(d.found, key)
		return
	}
	d.found[key] = a
}

// judge says once what the operator has to know about what was found.
func (d *discovery) judge(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.warned || ctx.Err() != nil {
		return
	}
	if len(d.found) == 0 {
		d.warned = true
		d.log.Warn("no STUN server of STUN_URLS has answered: media is not offered to the Internet until one does")
		return
	}
	for a := range maps.Values(d.found) {
		for b := range maps.Values(d.found) {
			if a.addr.Addr() == b.addr.Addr() && a.addr.Port() != b.addr.Port() {
				d.warned = true
				d.log.Warn("the router in front gives every peer another port: forward the media port to this machine, " +
					"or let viewers use TURN")
				return
			}
		}
	}
}
