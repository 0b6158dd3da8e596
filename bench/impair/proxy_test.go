package impair

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func loopback(t *testing.T) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func addrOf(conn *net.UDPConn) netip.AddrPort {
	a, _ := conn.LocalAddr().(*net.UDPAddr)
	return a.AddrPort()
}

func start(t *testing.T, cfg Config) *Proxy {
	t.Helper()
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// receive reads one datagram.
func receive(t *testing.T, conn *net.UDPConn) (text string, from netip.AddrPort) {
	t.Helper()
	buf := make([]byte, maxDatagram)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n]), from
}

func send(t *testing.T, conn *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}

// TestBothWays: two clients, each with its own port at the server, and answers to the right one.
func TestBothWays(t *testing.T) {
	t.Parallel()
	server, one, two := loopback(t), loopback(t), loopback(t)
	p := start(t, Config{Server: addrOf(server)})
	seen := map[netip.AddrPort]bool{}
	for i, client := range []*net.UDPConn{one, two, one} {
		send(t, client, p.Addr(), fmt.Sprint("up ", i))
		text, from := receive(t, server)
		if text != fmt.Sprint("up ", i) || from == addrOf(client) {
			t.Fatalf("the server got %q from %v", text, from)
		}
		seen[from] = true
		send(t, server, from, fmt.Sprint("down ", i))
		if text, from := receive(t, client); text != fmt.Sprint("down ", i) || from != p.Addr() {
			t.Fatalf("client got %q from %v", text, from)
		}
	}
	if up, down := p.Counts(); len(seen) != 2 || up.Out != 3 || down.Out != 3 {
		t.Errorf("%d ports, %+v up, %+v down", len(seen), up, down)
	}
}

func TestRebind(t *testing.T) {
	t.Parallel()
	server, client := loopback(t), loopback(t)
	p := start(t, Config{Server: addrOf(server)})
	send(t, client, p.Addr(), "a")
	_, before := receive(t, server)
	if err := p.Rebind(); err != nil {
		t.Fatal(err)
	}
	send(t, server, before, "lost")
	send(t, client, p.Addr(), "b")
	_, after := receive(t, server)
	if before == after {
		t.Fatal("the port is the same")
	}
	send(t, server, after, "found")
	if text, _ := receive(t, client); text != "found" {
		t.Errorf("the client got %q", text)
	}
}

// TestDelivery: over sockets, too, what is delayed comes late, what is lost does not come, and Set takes effect.
func TestDelivery(t *testing.T) {
	t.Parallel()
	const n, delay = 120, 30 * time.Millisecond
	server, client := loopback(t), loopback(t)
	p := start(t, Config{Server: addrOf(server), Up: Link{Loss: 0.25, Delay: delay}, Seed: 9})
	began := time.Now()
	for i := range n {
		send(t, client, p.Addr(), fmt.Sprint(i))
	}
	send(t, client, p.Addr(), "more") // may be lost
	if _, _ = receive(t, server); time.Since(began) < delay {
		t.Errorf("the first came after %v", time.Since(began))
	}
	if err := p.Set(Link{}, Link{}); err != nil {
		t.Fatal(err)
	}
	send(t, client, p.Addr(), "end")
	got := 1
	for text := ""; text != "end"; got++ {
		text, _ = receive(t, server)
	}
	up, _ := p.Counts()
	if up.In != n+2 || up.Out != uint64(got) || up.Lost < n/6 || up.Lost > n/3 {
		t.Errorf("%d of %d came, counted %+v", got, n+2, up)
	}
	if err := p.Set(Link{Loss: 2}, Link{}); err == nil {
		t.Error("took a loss of 2")
	}
}

// TestManyClients: the proxy stays bounded, and a datagram without a server is counted.
func TestManyClients(t *testing.T) {
	t.Parallel()
	server := loopback(t)
	p := start(t, Config{})
	first := loopback(t)
	send(t, first, p.Addr(), "nowhere")
	deadline := time.Now().Add(patience)
	for up, _ := p.Counts(); up.Failed == 0; up, _ = p.Counts() {
		if time.Now().After(deadline) {
			t.Fatal("not counted")
		}
	}
	p.Aim(addrOf(server))
	for range maxFlows + 5 {
		send(t, loopback(t), p.Addr(), "hello")
		receive(t, server)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flows) != maxFlows {
		t.Errorf("%d flows", len(p.flows))
	}
}

const answer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=candidate:1 1 tcp 9 10.0.0.1 9 typ host tcptype passive\r\n" +
	"a=candidate:2 1 udp 9 fd00::1 7000 typ host\r\na=candidate:3 1 udp 9 %s %d typ host\r\na=end-of-candidates\r\n"

// TestSignalling makes a session through the relay: the peer only knows the proxy, and the server not the peer.
func TestSignalling(t *testing.T) {
	t.Parallel()
	media, client := loopback(t), loopback(t)
	var bodies []string
	var origin string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if r.Method == http.MethodPost {
			w.Header().Set("Content-Type", "application/sdp")
			w.Header().Set("Location", origin+"/session/1")
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, answer, addrOf(media).Addr(), addrOf(media).Port())
		}
	}))
	t.Cleanup(server.Close)
	origin = server.URL
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, Config{})
	relay := httptest.NewServer(Signalling(target, p))
	t.Cleanup(relay.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections) // it is one

	do := func(method, path, kind, body string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, relay.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := relay.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		return resp, string(raw)
	}
	const offer = "v=0\r\na=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\na=end-of-candidates\r\n"
	resp, got := do(http.MethodPost, "/whep/1", "application/sdp", offer)
	want := fmt.Sprintf("udp 2130706431 %s %d typ host", p.Addr().Addr(), p.Addr().Port())
	if resp.StatusCode != http.StatusCreated || strings.Count(got, "a=candidate") != 1 || !strings.Contains(got, want) ||
		resp.Header.Get("Location") != "/session/1" {
		t.Errorf("%d, %v, answer %q", resp.StatusCode, resp.Header, got)
	}
	do(http.MethodPatch, "/session/1", "application/trickle-ice-sdpfrag; charset=x", offer)
	do(http.MethodDelete, "/session/1", "text/plain", "a=candidate:left alone")
	if len(bodies) != 3 || strings.Contains(bodies[0]+bodies[1], "candidate:") || bodies[2] != "a=candidate:left alone" {
		t.Errorf("the server got %q", bodies)
	}
	send(t, client, p.Addr(), "media")
	if text, _ := receive(t, media); text != "media" {
		t.Errorf("the media port got %q", text)
	}

	if resp, got := do(http.MethodPut, ControlPath, "application/json",
		`{"up":"clean","down":"rate=1M loss=5%"}`); resp.StatusCode != http.StatusOK ||
		!strings.Contains(got, `"down":"rate=1000000 loss=5%"`) {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	if _, down := p.Links(); down != (Link{Rate: 1e6, Loss: 0.05}) {
		t.Errorf("the link is %v", down)
	}
	if resp, _ := do(http.MethodPut, ControlPath, "application/json", `{"up":"loss=7"}`); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("took a wrong link with %d", resp.StatusCode)
	}
	if resp, _ := do(http.MethodPost, ControlPath+"/rebind", "", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("rebind: %d", resp.StatusCode)
	}
	if resp, got := do(http.MethodGet, ControlPath, "", ""); resp.StatusCode != http.StatusOK ||
		!strings.Contains(got, `"countsUp":{"in":1,"out":1`) {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
}
