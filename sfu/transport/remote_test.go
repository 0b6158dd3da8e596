package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
)

const (
	ufrag = "FbqF"
	pwd   = "6BUz95panFMTQ3rvu9RZxo0C"
)

func sum(n int) string { return strings.TrimSuffix(strings.Repeat("AB:", n), ":") }

// TestRemote holds that what a peer must not ask for is refused before anything is made for it.
func TestRemote(t *testing.T) {
	t.Parallel()
	good := func() Remote {
		return Remote{Ufrag: ufrag, Pwd: pwd, Setup: "actpass", Fingerprints: []Fingerprint{{"sha-256", sum(32)}}}
	}
	tests := []struct {
		name   string
		change func(*Remote)
		ok     bool
	}{
		{"good", func(*Remote) {}, true},
		{"active", func(r *Remote) { r.Setup = "active" }, true},
		{"passive", func(r *Remote) { r.Setup = "passive" }, false},
		{"holdconn", func(r *Remote) { r.Setup = "holdconn" }, false},
		{"no setup", func(r *Remote) { r.Setup = "" }, false},
		{"short ufrag", func(r *Remote) { r.Ufrag = "abc" }, false},
		{"hostile ufrag", func(r *Remote) { r.Ufrag = "ab:cd" }, false},
		{"long ufrag", func(r *Remote) { r.Ufrag = strings.Repeat("a", 257) }, false},
		{"short pwd", func(r *Remote) { r.Pwd = pwd[:21] }, false},
		{"no fingerprint", func(r *Remote) { r.Fingerprints = nil }, false},
		{"only broken hashes", func(r *Remote) { r.Fingerprints = []Fingerprint{{"sha-1", sum(20)}, {"md5", sum(16)}} }, false},
		{"only unknown hashes", func(r *Remote) { r.Fingerprints[0].Hash = "sha3-256" }, false},
		{"unknown hash beside", func(r *Remote) { r.Fingerprints = append(r.Fingerprints, Fingerprint{"sha3", "?"}) }, true},
		{"upper case hash", func(r *Remote) { r.Fingerprints[0].Hash = "SHA-256" }, true},
		{"sha-512", func(r *Remote) { r.Fingerprints[0] = Fingerprint{"sha-512", sum(64)} }, true},
		{"wrong length", func(r *Remote) { r.Fingerprints[0].Value = sum(31) }, false},
		{"not hex", func(r *Remote) { r.Fingerprints[0].Value = strings.Repeat("XY:", 31) + "XY" }, false},
		{"too many", func(r *Remote) { r.Fingerprints = slices.Repeat(r.Fingerprints, maxFingerprints+1) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := good()
			tt.change(&r)
			if _, err := r.verify(); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrRemote) {
				t.Fatalf("err %v", err)
			}
		})
	}
}

// TestFingerprints holds that any of a peer's fingerprints may fit, by the hash that it names.
func TestFingerprints(t *testing.T) {
	t.Parallel()
	c := certificate(t)
	f, err := fingerprintOf(c)
	if err != nil {
		t.Fatal(err)
	}
	r := Remote{Ufrag: ufrag, Pwd: pwd, Setup: "active", Fingerprints: []Fingerprint{
		{"sha-256", sum(32)}, {"sha-384", sum(48)}, {f.Hash, strings.ToLower(f.Value)},
	}}
	check, err := r.verify()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(c.Certificate, nil); err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][][]byte{nil, certificate(t).Certificate} {
		if err := check(raw, nil); !errors.Is(err, errFingerprint) {
			t.Fatalf("err %v", err)
		}
	}
}

func chromeOffer(tb testing.TB) *sdp.SessionDescription {
	tb.Helper()
	raw, err := os.ReadFile("testdata/chrome-whep.sdp")
	if err != nil {
		tb.Fatal(err)
	}
	d := &sdp.SessionDescription{}
	if err := d.Unmarshal(raw); err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestRemoteOf(t *testing.T) {
	t.Parallel()
	d := chromeOffer(t)
	r := RemoteOf(d, d.MediaDescriptions[1])
	if r.Ufrag != ufrag || r.Pwd != pwd || r.Setup != "actpass" || len(r.Fingerprints) != 1 || len(r.Candidates) != 2 {
		t.Fatalf("%+v", r)
	}
	if _, err := r.verify(); err != nil {
		t.Fatal(err)
	}
	// Firefox names fingerprint and credentials in the session.
	d.Attributes, d.MediaDescriptions[0].Attributes = d.MediaDescriptions[0].Attributes, nil
	r = RemoteOf(d, d.MediaDescriptions[0])
	if r.Ufrag != ufrag || r.Pwd != pwd || r.Setup != "actpass" || len(r.Fingerprints) != 1 {
		t.Fatalf("%+v", r)
	}
}

func TestParseCandidate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		line string
		want string // address, "" for one passed over
		err  error
	}{
		{"candidate:1 1 udp 2113937151 192.0.2.2 44475 typ host generation 0 network-cost 999", "192.0.2.2:44475", nil},
		{"a=candidate:1 1 UDP 1 198.51.100.7 1 typ srflx raddr 10.0.0.1 rport 5", "198.51.100.7:1", nil},
		{"1 1 udp 1 fd00::2 7 typ relay", "[fd00::2]:7", nil},
		{"1 1 udp 1 ::ffff:192.0.2.1 7 typ prflx", "192.0.2.1:7", nil},
		{"1 1 udp 1 1f4712db-ea17-4bcf-a596-105139dfd8bf.local 7 typ host", "", nil},
		{"1 1 udp 1 intranet.example 7 typ host", "", nil},
		{"1 1 tcp 1 192.0.2.2 9 typ host tcptype active", "", nil},
		{"1 2 udp 1 192.0.2.2 9 typ host", "", nil},
		{"1 1 udp 1 192.0.2.2 0 typ host", "", nil},
		{"1 1 udp 1 192.0.2.2 9 typ future", "", nil},
		{"1 1 udp 1 0.0.0.0 9 typ host", "", nil},
		{"1 1 udp 1 224.0.0.1 9 typ host", "", nil},
		{"1 1 udp 1 255.255.255.255 9 typ host", "", nil},
		{"1 1 udp 1 169.254.169.254 80 typ host", "", nil},
		{"1 1 udp 1 ::ffff:169.254.169.254 80 typ host", "", nil},
		{"1 1 udp 1 fd00:ec2::254 80 typ host", "", nil},
		{"1 1 udp 1 fe80::1%eth0 80 typ host", "", nil},
		{"", "", ErrCandidate},
		{"1 1 udp 1 192.0.2.2 9 host typ", "", ErrCandidate},
		{"1 x udp 1 192.0.2.2 9 typ host", "", ErrCandidate},
		{"1 1 udp -1 192.0.2.2 9 typ host", "", ErrCandidate},
		{"1 1 udp 1 192.0.2.2 65536 typ host", "", ErrCandidate},
		{"1;2 1 udp 1 192.0.2.2 9 typ host", "", ErrCandidate},
		{strings.Repeat("1", 33) + " 1 udp 1 192.0.2.2 9 typ host", "", ErrCandidate},
		{"1 1 udp 1 192.0.2.2 9 typ host " + strings.Repeat("x", maxCandidateLine), "", ErrCandidate},
	}
	for _, tt := range tests {
		c, err := parseCandidate(tt.line)
		got := ""
		if c != nil {
			got = net.JoinHostPort(c.Address(), fmt.Sprint(c.Port()))
		}
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v", tt.line, got, err)
		}
	}
}

// TestCandidateLimit holds that a peer names at most so many addresses in an ICE session.
func TestCandidateLimit(t *testing.T) {
	t.Parallel()
	cfg, _ := server(t)
	r := Remote{Ufrag: ufrag, Pwd: pwd, Setup: "active", Fingerprints: []Fingerprint{{"sha-256", sum(32)}}}
	for i := range 2 * maxCandidates {
		r.Candidates = append(r.Candidates, fmt.Sprintf("candidate:1 1 udp 1 192.0.2.1 %d typ host", i+1))
	}
	tr, err := New(cfg, r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tr.Close("") }()
	if len(tr.ice.waiting) != maxCandidates {
		t.Fatalf("%d candidates", len(tr.ice.waiting))
	}
}

// listenOnly is a mux of which only the addresses count.
type listenOnly struct {
	ice.UDPMux
	addrs []net.Addr
}

func (m listenOnly) GetListenAddresses() []net.Addr { return m.addrs }

// TestAdvertised holds what is told to peers of a socket with many addresses, and that the agent knows one a family.
func TestAdvertised(t *testing.T) {
	t.Parallel()
	var addrs []net.Addr
	for _, a := range []string{"127.0.0.1:7", "[::1]:7", "192.0.2.1:7", "[fd00::1]:7", "198.51.100.1:7", "[fe80::1%eth0]:7"} {
		addrs = append(addrs, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(a)))
	}
	tests := []struct {
		name     string
		cfg      Config
		want     []string
		families int
	}{
		{"host", Config{}, []string{"192.0.2.1", "fd00::1", "198.51.100.1"}, 2},
		{"loopback", Config{Loopback: true}, []string{"192.0.2.1", "fd00::1", "198.51.100.1", "127.0.0.1", "::1"}, 2},
		{
			"public",
			Config{PublicIPs: []netip.Addr{netip.MustParseAddr("203.0.113.9")}},
			[]string{"192.0.2.1", "fd00::1", "198.51.100.1", "203.0.113.9"},
			2,
		},
		{"mapped", Config{Mapped: func() []netip.AddrPort {
			return []netip.AddrPort{netip.MustParseAddrPort("203.0.113.9:8"), netip.MustParseAddrPort("[2001:db8::9]:7")}
		}}, []string{"192.0.2.1", "fd00::1", "198.51.100.1", "203.0.113.9 8", "203.0.113.9", "2001:db8::9"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.cfg.Mux = listenOnly{addrs: addrs}
			all, err := (&Transport{cfg: tt.cfg}).reachable()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			a := tt.cfg.advertise(all)
			for _, at := range append(a.host, a.mapped...) {
				text := at.Addr().String()
				if at.Port() != 7 {
					text += " 8"
				}
				got = append(got, text)
			}
			for _, line := range a.describe() {
				if _, err := parseCandidate(line); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
			if !slices.Equal(got, tt.want) || len(oneAFamily(all)) != tt.families {
				t.Fatalf("%v, %d families", got, len(oneAFamily(all)))
			}
		})
	}
	if _, err := New(Config{Mux: listenOnly{}, Certificate: certificate(t)}, Remote{
		Ufrag: ufrag, Pwd: pwd, Setup: "active", Fingerprints: []Fingerprint{{"sha-256", sum(32)}},
	}); !errors.Is(err, ErrNoAddress) {
		t.Fatalf("err %v", err)
	}
}

// FuzzCandidate: a candidate that is taken can be sent to.
func FuzzCandidate(f *testing.F) {
	f.Add("candidate:1 1 udp 2113937151 192.0.2.2 44475 typ host generation 0")
	f.Add("a=candidate:1 1 udp 1 fd00::2 7 typ srflx raddr 0.0.0.0 rport 0")
	f.Fuzz(func(t *testing.T, line string) {
		c, err := parseCandidate(line)
		if c == nil {
			return
		}
		if err != nil {
			t.Fatal("both a candidate and an error")
		}
		a, err := netip.ParseAddr(c.Address())
		if err != nil || !sendable(a) || c.Port() == 0 || c.Component() != 1 || !c.NetworkType().IsUDP() {
			t.Fatalf("%q: %v", line, c)
		}
	})
}

// FuzzRemote: nothing in an offer's transport makes New panic or accept what cannot be used.
func FuzzRemote(f *testing.F) {
	raw, err := os.ReadFile("testdata/chrome-whep.sdp")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := &sdp.SessionDescription{}
		if len(raw) > 64<<10 || d.Unmarshal(raw) != nil {
			return
		}
		for _, m := range d.MediaDescriptions {
			r := RemoteOf(d, m)
			check, err := r.verify()
			if err != nil {
				continue
			}
			if len(r.Ufrag) < 4 || len(r.Pwd) < 22 || check([][]byte{{1}}, nil) == nil {
				t.Fatalf("%+v", r)
			}
		}
	})
}
