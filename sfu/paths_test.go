package sfu

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

// TestPaths has cameras and viewers that have only one way to the server, on one node.
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host string
		network    webrtc.NetworkType
		lite       bool
		plain      bool // the kernel is asked to split and join nothing
	}{
		{"TCP", "127.0.0.1", webrtc.NetworkTypeTCP4, false, false},
		{"IPv6", "[::1]", webrtc.NetworkTypeUDP6, false, false},
		{"ICE-lite", "127.0.0.1", webrtc.NetworkTypeUDP4, true, false},
		{"dual stack", "", webrtc.NetworkTypeUDP6, false, false},
		{"no offload", "127.0.0.1", webrtc.NetworkTypeUDP4, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t, func(c *Config) {
				c.UDPAddr, c.TCPAddr, c.Lite, c.NoOffload = tt.host+":0", tt.host+":0", tt.lite, tt.plain
			})
			only := func(e *webrtc.SettingEngine) {
				e.SetNetworkTypes([]webrtc.NetworkType{tt.network})
				if tt.network == webrtc.NetworkTypeUDP6 { // pion gathers no ::1 by itself
					e.SetICEUDPMux(webrtc.NewICEUDPMux(quietLogger(), newUDP6(t)))
				}
			}
			c := publishWith(t, s, "m", only, vp8, opus)
			c.run()
			if lite := strings.Contains(string(c.answer.SDP), "a=ice-lite\r\n"); lite != tt.lite {
				t.Errorf("ice-lite %v in\n%s", lite, c.answer.SDP)
			}
			w := watchWith(t, s, "m", "v", only, video, audio)
			continuous(t, w.await(video, 60))
			w.await(audio, 20)
			st, lanes := s.Stats().Socket, 0
			s.mu.Lock()
			for _, sess := range s.sessions {
				if sess.lane != nil {
					lanes++
				}
			}
			s.mu.Unlock()
			if tcp := tt.name == "TCP"; tcp && (st.TCPOpen < 2 || lanes != 1) || !tcp && lanes != 0 || tt.plain && st.Offload {
				t.Errorf("%d lanes, stats %+v", lanes, st)
			}
		})
	}
}

// movingConn is the socket of a peer that a NAT in between moves: from move on, its datagrams come from another one.
type movingConn struct {
	net.PacketConn
	next atomic.Pointer[net.UDPConn]
	in   chan datagramIn
	done chan struct{}
	once sync.Once
}

type datagramIn struct {
	b    []byte
	from net.Addr
}

func newMovingConn(t *testing.T) *movingConn {
	t.Helper()
	c := &movingConn{PacketConn: newUDP(t), in: make(chan datagramIn, 64), done: make(chan struct{})}
	go c.pump(c.PacketConn)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func newUDP(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func quietLogger() logging.LeveledLogger {
	return (&logging.DefaultLoggerFactory{Writer: io.Discard}).NewLogger("ice")
}

// newUDP6 is a socket that pion's mux closes.
func newUDP6(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// move closes the old address for ever.
func (c *movingConn) move(t *testing.T) netip.AddrPort {
	t.Helper()
	to := newUDP(t)
	t.Cleanup(func() { _ = to.Close() })
	go c.pump(to)
	c.next.Store(to)
	_ = c.PacketConn.Close()
	return to.LocalAddr().(*net.UDPAddr).AddrPort()
}

func (c *movingConn) pump(from net.PacketConn) {
	var b [1500]byte
	for {
		n, addr, err := from.ReadFrom(b[:])
		if err != nil {
			return
		}
		select {
		case c.in <- datagramIn{bytes.Clone(b[:n]), addr}:
		case <-c.done:
			return
		}
	}
}

func (c *movingConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-c.in:
		return copy(b, d.b), d.from, nil
	case <-c.done:
		return 0, nil, net.ErrClosed
	}
}

func (c *movingConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if next := c.next.Load(); next != nil {
		return next.WriteTo(b, to)
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *movingConn) Close() error {
	c.once.Do(func() { close(c.done) })
	return c.PacketConn.Close()
}

// TestMovingPeers moves a viewer and a camera to other addresses without a word, as a NAT does that forgets: both go on.
func TestMovingPeers(t *testing.T) {
	t.Parallel()
	s := newSFU(t, func(c *Config) { c.PublisherTimeout, c.ConsentTimeout = patience, patience })
	moving := func(conn *movingConn) func(*webrtc.SettingEngine) {
		return func(e *webrtc.SettingEngine) {
			e.SetICEUDPMux(webrtc.NewICEUDPMux(quietLogger(), conn))
			e.SetICETimeouts(patience, patience, 100*time.Millisecond) // its checks are what the server follows
		}
	}
	viewerConn, cameraConn := newMovingConn(t), newMovingConn(t)
	c := publishWith(t, s, "m", moving(cameraConn), vp8)
	c.run()
	w := watchWith(t, s, "m", "v", moving(viewerConn), video)
	w.await(video, 20)
	at := func(id string) netip.AddrPort {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sessions[id] == nil {
			t.Fatal("the session is gone")
		}
		return s.sessions[id].link.RemoteAddr()
	}
	to := viewerConn.move(t)
	eventually(t, "the viewer followed", func() bool { return at(w.answer.SessionID) == to })
	w.await(video, len(w.packets(video))+20)
	to = cameraConn.move(t)
	eventually(t, "the camera followed", func() bool { return at(c.answer.SessionID) == to })
	w.await(video, len(w.packets(video))+20)
}

// stunServer answers binding requests with the address that it makes up for each.
func stunServer(t *testing.T, mapped func(from netip.AddrPort) netip.AddrPort) string {
	t.Helper()
	conn := newUDP(t)
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		var b [1500]byte
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b[:])
			if err != nil {
				return
			}
			m := &stun.Message{Raw: b[:n]}
			if m.Decode() != nil {
				continue
			}
			to := mapped(from)
			out := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
				&stun.XORMappedAddress{IP: to.Addr().AsSlice(), Port: int(to.Port())})
			forged := bytes.Clone(out.Raw)
			forged[10] ^= 1
			_, _ = conn.WriteToUDPAddrPort(forged, from)
			_, _ = conn.WriteToUDPAddrPort(out.Raw, from)
		}
	}()
	return "stun:" + conn.LocalAddr().String()
}

// TestDiscovery holds that what STUN servers say of the media port is offered, and what does not add up is said.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	here := func(port uint16) func(netip.AddrPort) netip.AddrPort {
		return func(netip.AddrPort) netip.AddrPort {
			return netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), port)
		}
	}
	deaf := newUDP(t)
	defer func() { _ = deaf.Close() }()
	for _, tt := range []struct {
		name    string
		servers []string
		want    []string
		says    string
	}{
		{"one", []string{stunServer(t, here(4000))}, []string{"203.0.113.9:4000"}, "seen from outside"},
		{
			"a NAT that differs",
			[]string{stunServer(t, here(4000)), stunServer(t, here(4001))},
			[]string{"203.0.113.9:4000", "203.0.113.9:4001"},
			"gives every peer another port",
		},
		{"nobody", []string{"stun:" + deaf.LocalAddr().String()}, nil, "no STUN server"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var logs lockedBuffer
			s := newSFU(t, func(c *Config) {
				c.UDPAddr, c.STUNServers, c.Logger = ":0", tt.servers, slog.New(slog.NewTextHandler(&logs, nil))
			})
			eventually(t, tt.says, func() bool { return strings.Contains(logs.String(), tt.says) })
			eventually(t, "the addresses", func() bool { return len(s.socket.mapped.addrs()) == len(tt.want) })
			pc := newPC(t, vp8)
			if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo); err != nil {
				t.Fatal(err)
			}
			a, err := s.Publish(t.Context(), "m", makeOffer(t, pc))
			if err != nil {
				t.Fatal(err)
			}
			for _, addr := range tt.want {
				if want := strings.ReplaceAll(addr, ":", " ") + " typ srflx"; !strings.Contains(string(a.SDP), want) {
					t.Errorf("no %q in\n%s", want, a.SDP)
				}
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestParseSTUN(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"stun:stun.example.org": "stun.example.org:3478", "stun:192.0.2.1:5": "192.0.2.1:5", "stun:[2001:db8::1]": "[2001:db8::1]:3478",
		"turn:turn.example.org": "", "stun.example.org": "", "": "", "stuns:x": "",
	} {
		got, err := ParseSTUN(url)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", url, got, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		name      string
		host      []hostAddr
		public    []netip.Addr
		container bool
		want      string
	}{
		{"loopback", []hostAddr{{addr("127.0.0.1"), "lo"}, {addr("::1"), "lo"}}, nil, false, "this machine alone"},
		{"bridges", []hostAddr{{addr("127.0.0.1"), "lo"}, {addr("172.17.0.1"), "docker0"}}, nil, false, "this machine alone"},
		{"nothing", nil, nil, false, "this machine alone"},
		{"container", []hostAddr{{addr("172.17.0.2"), "eth0"}}, nil, true, "172.17.0.2, which is inside a container"},
		{"container on the host's network", []hostAddr{{addr("172.17.0.1"), "docker0"}, {addr("8.8.4.4"), "eth0"}}, nil, true, ""},
		{"container with an address announced", []hostAddr{{addr("172.17.0.2"), "eth0"}}, []netip.Addr{addr("192.168.1.5")}, true, ""},
		{"loopback announced", []hostAddr{{addr("127.0.0.1"), "lo"}}, []netip.Addr{addr("127.0.0.1")}, false, "this machine alone"},
		{"behind NAT", []hostAddr{{addr("10.0.0.5"), "eth0"}}, nil, false, ""}, // see TestLocal
		{"home", []hostAddr{{addr("127.0.0.1"), "lo"}, {addr("192.168.1.5"), "eth0"}}, nil, false, ""},
		{"Internet", []hostAddr{{addr("8.8.4.4"), "eth0"}}, nil, false, ""},
	} {
		if got := unreachable(tt.host, tt.public, tt.container); !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestLocal tells a machine that the Internet reaches from one that it does not.
func TestLocal(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	cloud := []hostAddr{{addr("127.0.0.1"), "lo"}, {addr("10.0.0.5"), "eth0"}, {addr("fe80::1"), "eth0"}, {addr("fd00::5"), "eth0"}}
	for _, tt := range []struct {
		name   string
		host   []hostAddr
		public []netip.Addr
		local  bool
	}{
		{"behind NAT", cloud, nil, true},
		{"behind a carrier's NAT", []hostAddr{{addr("100.64.3.2"), "wwan0"}}, nil, true},
		{"with a private address announced", cloud, []netip.Addr{addr("192.168.1.5")}, true},
		{"with the public one announced, or found", cloud, []netip.Addr{addr("8.8.4.4")}, false},
		{"on the Internet", append([]hostAddr{{addr("8.8.4.4"), "eth0"}}, cloud...), nil, false},
		{"on the Internet by IPv6", append([]hostAddr{{addr("2600::1"), "eth0"}}, cloud...), nil, false},
	} {
		if got := local(tt.host, tt.public); (got != "") != tt.local {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// TestMovedOffUDP has ICE choose a pair for a viewer that the socket cannot send to, as when UDP stops and TCP works: its
// media goes through ICE, on the shard where it is, and that is where it stays when the pair is UDP's again. A connection
// that takes nothing loses packets then, and holds nobody up: only a lane's may wait (transport.TestTCPDeaf).
func TestMovedOffUDP(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	c.run()
	w := watch(t, s, "m", "v")
	w.await(video, 20)
	s.mu.Lock()
	sess := s.sessions[w.answer.SessionID]
	s.mu.Unlock()
	if sess.lane != nil {
		t.Fatal("a viewer by UDP has a lane")
	}
	for _, at := range []netip.AddrPort{{}, sess.link.RemoteAddr(), {}} {
		sess.egress.aim(at)
		w.await(video, len(w.packets(video))+60)
	}
	continuous(t, w.packets(video))
	if st, _ := s.Status("m"); st.WriteErrors != 0 {
		t.Errorf("%d packets were refused", st.WriteErrors)
	}
}
