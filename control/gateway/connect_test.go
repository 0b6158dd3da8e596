package gateway_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/control/gateway"
)

func TestAuthenticates(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	tests := map[string]struct {
		header http.Header
		first  string
		id     string
	}{
		"header":               {header: http.Header{"Authorization": {"Bearer token-1"}}},
		"lower-case scheme":    {header: http.Header{"Authorization": {"bearer token-1"}}},
		"first message":        {first: `{"event":"authenticate","data":{"token":"token-1"}}`},
		"first message and id": {first: `{"event":"authenticate","id":"a","data":{"token":"token-1"}}`, id: "a"},
		"from any page":        {header: http.Header{"Origin": {"https://evil.example"}, "Authorization": {"Bearer token-1"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.dial(t, tt.header)
			if tt.first != "" {
				c.say(tt.first)
			}
			m := c.expect("ready")
			if m.ID != tt.id || string(m.Data) != `{"deviceId":"1","role":"camera","cursor":"0"}` {
				t.Errorf("got %s for id %q", m.Data, m.ID)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	bearer := func(v string) http.Header { return http.Header{"Authorization": {v}} }
	tests := map[string]struct {
		header http.Header
		first  string
		id     string
	}{
		"wrong token in header": {header: bearer("Bearer wrong")},
		"other scheme":          {header: bearer("Basic token-1")},
		"empty token":           {header: bearer("Bearer")},
		// A header that is wrong does not fall back to the message.
		"wrong header, right message": {header: bearer("Bearer wrong"), first: `{"event":"authenticate","data":{"token":"token-1"}}`},
		"wrong token in message":      {first: `{"event":"authenticate","id":"x","data":{"token":"wrong"}}`, id: "x"},
		"no token":                    {first: `{"event":"authenticate","id":"x","data":{}}`, id: "x"},
		"no data":                     {first: `{"event":"authenticate"}`},
		"token is no string":          {first: `{"event":"authenticate","data":{"token":1}}`},
		"more than a token":           {first: `{"event":"authenticate","data":{"token":"token-1","admin":true}}`},
		"another event first":         {first: `{"event":"ping","id":"p"}`, id: "p"},
		"not an envelope":             {first: `hello`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := n.dial(t, tt.header)
			if tt.first != "" {
				c.say(tt.first)
			}
			if code := c.expectError(tt.id); code != "unauthenticated" {
				t.Errorf("code %s, want unauthenticated", code)
			}
			c.expectClose(gateway.CloseUnauthenticated)
		})
	}
}

func TestRefusesWithoutAuthenticationInTime(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{AuthTimeout: 50 * time.Millisecond}, nil)
	c := n.dial(t, nil)
	// Pings are no authentication.
	if err := c.WriteControl(websocket.PingMessage, nil, time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if code := c.expectError(""); code != "unauthenticated" {
		t.Errorf("code %s, want unauthenticated", code)
	}
	c.expectClose(gateway.CloseUnauthenticated)
	eventually(t, "nothing is held", func() bool { return n.Stats().Connections == 0 && n.Stats().Unauthenticated == 0 })
}

func TestDatabaseOutage(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	n.auth.down = true
	c := n.dial(t, http.Header{"Authorization": {"Bearer token-1"}})
	if code := c.expectError(""); code != "internal" {
		t.Errorf("code %s, want internal", code)
	}
	c.expectClose(gateway.CloseTryAgain)
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	upgrade := http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}
	old := upgrade.Clone()
	old.Set("Sec-Websocket-Version", "8")
	tests := map[string]struct {
		path   string
		header http.Header
		status int
		code   string
	}{
		"no upgrade":         {path: "/realtime", status: 426, code: "upgrade_required"},
		"old version":        {path: "/realtime", header: old, status: 426, code: "upgrade_required"},
		"token in URL":       {path: "/realtime?token=token-1", header: upgrade, status: 400, code: "token_in_url"},
		"oauth token in URL": {path: "/realtime?x=1&access_token=token-1", header: upgrade, status: 400, code: "token_in_url"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.url+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Close = true
			if tt.header != nil {
				r.Header = tt.header
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, _ := io.ReadAll(response.Body)
			var p struct{ Code string }
			if err := json.Unmarshal(body, &p); err != nil || response.StatusCode != tt.status || p.Code != tt.code {
				t.Errorf("got %d %s, want %d %s", response.StatusCode, body, tt.status, tt.code)
			}
			if tt.status == 426 && !strings.EqualFold(response.Header.Get("Upgrade"), "websocket") {
				t.Errorf("a 426 without Upgrade: %v", response.Header)
			}
		})
	}
}

func TestTotalCap(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{MaxConns: 2}, nil)
	n.connect(t, "1")
	c := n.connect(t, "2")
	_, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/realtime", nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("got %v, want 503 with Retry-After", response)
	}
	_ = c.Close()
	eventually(t, "there is room again", func() bool { return n.Stats().Connections == 1 })
	n.connect(t, "3")
	if s := n.Stats(); s.Refused != 1 || s.Accepted != 3 {
		t.Errorf("got %+v, want 1 refused and 3 accepted", s)
	}
}

func TestUnauthenticatedCap(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{MaxUnauthenticated: 1}, nil)
	idle := n.dial(t, nil)
	eventually(t, "the idle one is counted", func() bool { return n.Stats().Unauthenticated == 1 })
	_, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/realtime", nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, want 503", response)
	}
	idle.say(`{"event":"authenticate","data":{"token":"token-1"}}`)
	idle.expect("ready")
	n.connect(t, "2")
}

// TestStrangersOfOneAddress holds that one address cannot take every place of
// those that are not authenticated yet.
func TestStrangersOfOneAddress(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{MaxStrangers: 2}, nil)
	idle := n.dial(t, nil)
	n.dial(t, nil)
	eventually(t, "the idle ones are counted", func() bool { return n.Stats().Unauthenticated == 2 })
	_, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/realtime", nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, want 503", response)
	}
	elsewhere := &websocket.Dialer{NetDial: func(network, address string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial(network, address)
	}}
	socket, _, err := elsewhere.Dial("ws://"+n.url+"/realtime", nil)
	if err != nil {
		t.Fatalf("from another address: %v", err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	idle.say(`{"event":"authenticate","data":{"token":"token-1"}}`)
	idle.expect("ready")
	n.connect(t, "2") // who is known takes no such place
	if s := n.Stats(); s.Crowded != 1 || s.Refused != 1 {
		t.Errorf("got %+v, want 1 refused for its address", s)
	}
}

func TestDeviceCapDropsTheOldest(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{MaxDeviceConns: 2}, nil)
	first, second, other := n.connect(t, "1"), n.connect(t, "1"), n.connect(t, "2")
	third := n.connect(t, "1")
	first.expectClose(gateway.CloseReplaced)
	for device, clients := range map[string][]*client{"1": {second, third}, "2": {other}} {
		if !mustSend(t, n, device, "x", nil) {
			t.Errorf("device %s is not reached", device)
		}
		for _, c := range clients {
			c.expect("x")
		}
	}
	if s := n.Stats(); s.Replaced != 1 || s.Devices != 2 {
		t.Errorf("got %+v, want 1 replaced and 2 devices", s)
	}
}

// TestFirstMessageWithHandshake sends the first message before it has seen the
// server's answer to the handshake.
func TestFirstMessageWithHandshake(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	socket, err := net.Dial("tcp", n.url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	text := `{"event":"authenticate","data":{"token":"token-1"}}`
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeroes
	request := "GET /realtime HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if _, err := fmt.Fprintf(socket, "%s%s", request, frame); err != nil {
		t.Fatal(err)
	}
	_ = socket.SetReadDeadline(time.Now().Add(wait))
	r := bufio.NewReader(socket)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v", response, err)
	}
	header := make([]byte, 2)
	if _, err := io.ReadFull(r, header); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, header[1])
	if _, err := io.ReadFull(r, payload); err != nil || !strings.Contains(string(payload), `"ready"`) {
		t.Fatalf("got %s, %v; want ready", payload, err)
	}
}
