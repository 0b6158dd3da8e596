package gateway_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// sio is a client that speaks Socket.IO by hand.
type sio struct{ *client }

func (n *node) dialSocketIO(t *testing.T, header http.Header) sio {
	t.Helper()
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/socket.io/?EIO=4&transport=websocket", header)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	s := sio{&client{Conn: ws, t: t}}
	s.expectFrame(`^0\{"sid":"\w+","upgrades":\[\],"pingInterval":\d+,"pingTimeout":\d+,"maxPayload":65536\}$`)
	return s
}

func (n *node) connectSocketIO(t *testing.T, device string) sio {
	t.Helper()
	s := n.dialSocketIO(t, nil)
	s.say(`40{"token":"token-` + device + `"}`)
	s.expectFrame(`^40\{"sid":"\w+"\}$`)
	s.expectFrame(`^42\["ready",\{"deviceId":"` + device + `","role":"camera","cursor":"\d+"\}\]$`)
	return s
}

func (s sio) expectFrame(pattern string) string {
	s.t.Helper()
	_ = s.SetReadDeadline(time.Now().Add(wait))
	_, frame, err := s.ReadMessage()
	if err != nil {
		s.t.Fatalf("waiting for %s: %v", pattern, err)
	}
	if !regexp.MustCompile(pattern).Match(frame) {
		s.t.Fatalf("heard %s, want %s", frame, pattern)
	}
	return string(frame)
}

// expectLeave reads on to the packet that takes the client out.
func (s sio) expectLeave(before string) {
	s.t.Helper()
	for frame := ""; frame != "41"; {
		frame = s.expectFrame(before)
	}
}

func TestSocketIO(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, handlers)
	s := n.connectSocketIO(t, "1")
	plain := n.connect(t, "1")
	n.sendRun(t, "1", 1, 1)
	s.expectFrame(`^42\["x",\{"n":1\},\{"cursor":"1"\}\]$`)
	plain.expectRun(1, 1)
	if _, err := n.Relay(t.Context(), "1", "now", nil); err != nil {
		t.Fatal(err)
	}
	s.expectFrame(`^42\["now",\{\}\]$`)
	for say, hear := range map[string]string{
		`427["echo",{"text":"hi"}]`:     `^437\[\{"device":"1","ip":"127.0.0.1","text":"hi"\}\]$`,
		`420["ping"]`:                   `^430\[\{\}\]$`,
		`421["ping",null]`:              `^431\[\{\}\]$`,
		`428["rude"]`:                   `^438\[\{"error":\{"code":"rude","message":"Not like that."\}\}\]$`,
		`42["rude"]`:                    `^42\["error",\{"code":"rude","message":"Not like that."\}\]$`,
		`429["nothing"]`:                `^439\[\{"error":\{"code":"unknown_event",`,
		`422["echo",{"a":1},2]`:         `^432\[\{"error":\{"code":"invalid_message",`,
		`423["echo",[1]]`:               `^433\[\{"error":\{"code":"invalid_message",`,
		`424["Bad Name"]`:               `^434\[\{"error":\{"code":"invalid_message",`,
		`42/admin,5["ping"]`:            `^435\[\{"error":\{"code":"invalid_message",`,
		`451-["echo",{"_x":0}]`:         `^42\["error",\{"code":"binary_not_supported",`,
		`40{"token":"token-2"}`:         `^42\["error",\{"code":"invalid_message",`,
		`rubbish`:                       `^42\["error",\{"code":"invalid_message",`,
		`426["echo",{"text":"\u0000"}]`: `^42\["error",\{"code":"invalid_message",`,
	} {
		s.say(say)
		s.expectFrame(hear)
	}
	s.say("3")
	s.say(`43700["acknowledged what nobody sent"]`)
	s.say("41")
	s.expectClose(gateway.CloseNormal)
}

func TestSocketIOComesBack(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{PingEvery: 20 * time.Millisecond, DeadAfter: time.Hour}, nil)
	n.sendRun(t, "1", 1, 5)
	s := n.dialSocketIO(t, http.Header{"Authorization": {"Bearer token-1"}})
	s.say(`40{"after":"3","device":"what old clients put there"}`)
	heard := ""
	for !strings.Contains(heard, `"cursor":"5"}]`) || !strings.HasSuffix(heard, "|2") {
		heard += "|" + s.expectFrame("")
	}
	for _, want := range []string{
		`|42["ready",{"deviceId":"1","role":"camera","cursor":"3","resumed":true}]|`, `|42["x",{"n":4},{"cursor":"4"}]|`, "|2",
	} {
		if !strings.Contains(heard+"|", want) {
			t.Errorf("heard %s without %s", heard, want)
		}
	}
	// Whose access has ended is taken out, so that it does not come back.
	n.Revoked(store.Revocation{Kind: store.RevokedDevice, TargetID: "1"})
	s.expectLeave("^(2|41)$")
	s.expectClose(gateway.CloseRevoked)
}

func TestSocketIORefuses(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{AuthTimeout: wait}, nil)
	for _, say := range []string{
		"40", `40{"token":"wrong"}`, `40{"token":1}`, `40/admin,{"token":"token-1"}`, `42["authenticate",{"token":"token-1"}]`,
		"rubbish", "41", "",
	} {
		s := n.dialSocketIO(t, nil)
		s.say(say)
		frame := s.expectFrame(`^44(/admin,)?\{"message":".*","data":\{"code":"unauthenticated","message":".*"\}\}$`)
		if !json.Valid([]byte(strings.TrimPrefix(frame[2:], "/admin,"))) {
			t.Errorf("heard %s", frame)
		}
		s.expectLeave("")
		s.expectClose(gateway.CloseUnauthenticated)
	}
	for query, want := range map[string]string{
		"EIO=4&transport=polling":   `{"code":0,"message":"Transport unknown`,
		"EIO=3&transport=websocket": `{"code":5,"message":"Unsupported protocol version`,
		"":                          `{"code":0,"message":"Transport unknown`,
	} {
		for _, path := range []string{"/socket.io", "/socket.io/"} {
			response, err := http.Get("http://" + n.url + path + "?" + query)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusBadRequest || !strings.HasPrefix(string(body), want) {
				t.Errorf("%s?%s: %s %s", path, query, response.Status, body)
			}
		}
	}
	for query, status := range map[string]int{"": http.StatusUpgradeRequired, "&token=t": http.StatusBadRequest} {
		response, err := http.Get(fmt.Sprintf("http://%s/socket.io/?EIO=4&transport=websocket%s", n.url, query))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("a plain request with %q: %s, want %d", query, response.Status, status)
		}
	}
}
