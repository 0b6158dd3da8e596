package sfu

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/transport/v5/stdnet"
)

// socketBuffer holds a keyframe burst of many cameras while the reader is not scheduled. The kernel may grant less.
const socketBuffer = 4 << 20

// socket is the one UDP port of all media.
type socket struct {
	conn *net.UDPConn
	net  *freshNet
	mux  ice.UDPMux
}

// listen opens addr. A wildcard address listens on IPv4 and IPv6 where the host has both, or on what the public
// addresses need, if there are any: the host's own are not advertised then.
func listen(addr string, public []netip.Addr) (*socket, error) {
	network := "udp"
	switch is4 := func(a netip.Addr) bool { return a.Is4() }; {
	case len(public) == 0:
	case !slices.ContainsFunc(public, func(a netip.Addr) bool { return !a.Is4() }):
		network = "udp4"
	case !slices.ContainsFunc(public, is4):
		network = "udp6"
	}
	udpAddr, err := net.ResolveUDPAddr(network, addr)
	if err != nil {
		return nil, fmt.Errorf("sfu: listen %s: %w", addr, err)
	}
	conn, err := net.ListenUDP(network, udpAddr)
	if err != nil {
		return nil, fmt.Errorf("sfu: listen %s: %w", addr, err)
	}
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	n, err := newFreshNet()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("sfu: network interfaces: %w", err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: silent{}, UDPConn: conn, Net: n})
	return &socket{conn: conn, net: n, mux: mux}, nil
}

func (s *socket) close() error {
	return s.mux.Close()
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

// freshNet is the standard network with a list of interfaces that follows the machine: pion's own is read once, and
// a camera box often starts before its network does.
type freshNet struct {
	*stdnet.Net
	mu      sync.Mutex // guards what follows
	current *stdnet.Net
	read    time.Time
}

// interfacesAge is how old the list of interfaces may be.
const interfacesAge = 5 * time.Second

func newFreshNet() (*freshNet, error) {
	n, err := stdnet.NewNet()
	if err != nil {
		return nil, err
	}
	return &freshNet{Net: n, current: n, read: time.Now()}, nil
}

// Interfaces returns the machine's interfaces of a few seconds ago at most.
func (f *freshNet) Interfaces() ([]*transport.Interface, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.read) > interfacesAge {
		n, err := stdnet.NewNet()
		if err != nil {
			return nil, err
		}
		f.current, f.read = n, time.Now()
	}
	return f.current.Interfaces()
}

// quiet makes loggers that say nothing: what pion would report is either counted or ends a session with a reason.
type quiet struct{}

// NewLogger implements logging.LoggerFactory.
func (quiet) NewLogger(string) logging.LeveledLogger { return silent{} }

type silent struct{}

func (silent) Trace(string)          {}
func (silent) Tracef(string, ...any) {}
func (silent) Debug(string)          {}
func (silent) Debugf(string, ...any) {}
func (silent) Info(string)           {}
func (silent) Infof(string, ...any)  {}
func (silent) Warn(string)           {}
func (silent) Warnf(string, ...any)  {}
func (silent) Error(string)          {}
func (silent) Errorf(string, ...any) {}
