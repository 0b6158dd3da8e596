package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fasthttp/websocket"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/gateway"
)

type ready struct {
	Cursor  string
	Resumed *bool
}

// comeBack connects a device that has seen events up to a cursor.
func (n *node) comeBack(t *testing.T, device, after string) (*client, ready) {
	t.Helper()
	header := http.Header{"Authorization": {"Bearer token-" + device}}
	ws, response, err := websocket.DefaultDialer.Dial("ws://"+n.url+"/realtime?after="+url.QueryEscape(after), header)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	t.Cleanup(func() { _ = ws.Close() })
	c := &client{Conn: ws, t: t}
	return c, c.expectReady()
}

func (c *client) expectReady() (r ready) {
	c.t.Helper()
	if err := json.Unmarshal(c.expect("ready").Data, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// expectRun hears the events first to last, each with its number for cursor.
func (c *client) expectRun(first, last int) {
	c.t.Helper()
	for i := first; i <= last; i++ {
		if m := c.expect("x"); m.Cursor != fmt.Sprint(i) || string(m.Data) != fmt.Sprintf(`{"n":%d}`, i) {
			c.t.Fatalf("heard %s with cursor %s, want %d", m.Data, m.Cursor, i)
		}
	}
}

func (n *node) sendRun(t *testing.T, device string, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		mustSend(t, n, device, "x", map[string]int{"n": i})
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{QueueSize: 8}, nil)
	c := n.connect(t, "1")
	n.sendRun(t, "1", 1, 3)
	c.expectRun(1, 3)
	_ = c.Close()
	eventually(t, "it is gone", func() bool { return n.Stats().Connections == 0 })
	// More than the queue and a page hold.
	n.sendRun(t, "1", 4, 100)
	c, r := n.comeBack(t, "1", "3")
	if r.Cursor != "3" || r.Resumed == nil || !*r.Resumed {
		t.Errorf("ready says %+v", r)
	}
	c.expectRun(4, 100)
	n.sendRun(t, "1", 101, 102)
	c.expectRun(101, 102)

	// Up to date, in the first message, and without a cursor.
	other := n.dial(t, nil)
	other.say(`{"event":"authenticate","data":{"token":"token-1","after":"102"}}`)
	if r := other.expectReady(); r.Cursor != "102" || r.Resumed == nil || !*r.Resumed {
		t.Errorf("ready says %+v", r)
	}
	fresh := n.dial(t, http.Header{"Authorization": {"Bearer token-1"}})
	if r := fresh.expectReady(); r.Cursor != "102" || r.Resumed != nil {
		t.Errorf("ready says %+v", r)
	}
	n.sendRun(t, "1", 103, 103)
	for _, c := range []*client{c, other, fresh} {
		c.expectRun(103, 103)
	}
	if s := n.Stats(); s.Resumed != 2 || s.Forgotten != 0 {
		t.Errorf("%d resumed, %d forgotten", s.Resumed, s.Forgotten)
	}
}

// TestResumeTooLate has cursors whose followers are forgotten, or that this
// server never gave.
func TestResumeTooLate(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{KeepEvents: 3}, nil)
	n.sendRun(t, "1", 1, 10) // 8 to 10 are kept
	for _, after := range []string{"6", "0", "11", "-1", "x", "10 ", "9999999999999999999", strings.Repeat("1", 900)} {
		c, r := n.comeBack(t, "1", after)
		if r.Cursor != "10" || r.Resumed == nil || *r.Resumed {
			t.Errorf("after %.20q ready says %+v", after, r)
		}
		_ = c.Close()
	}
	c, r := n.comeBack(t, "1", "7")
	if r.Resumed == nil || !*r.Resumed {
		t.Errorf("after 7 ready says %+v", r)
	}
	c.expectRun(8, 10)
	if _, r := n.comeBack(t, "new", "0"); r.Cursor != "0" || r.Resumed == nil || !*r.Resumed {
		t.Errorf("a device that was told nothing yet: %+v", r)
	}
}

func TestRelayIsNotKept(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	relay := func(want bool) {
		t.Helper()
		if got, err := n.Relay(t.Context(), "1", "now", nil); err != nil || got != want {
			t.Errorf("relayed: %v, %v; want %v", got, err, want)
		}
	}
	relay(false)
	c := n.connect(t, "1")
	relay(true)
	if m := c.expect("now"); m.Cursor != "" {
		t.Errorf("cursor %s on an event that is not kept", m.Cursor)
	}
	if _, r := n.comeBack(t, "1", "0"); r.Cursor != "0" {
		t.Errorf("ready says %+v", r)
	}
}

func TestLogIsAway(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	c := n.connect(t, "1")
	n.events.mu.Lock()
	n.events.err = errDatabase
	n.events.mu.Unlock()
	if _, err := n.Send(t.Context(), "1", "x", nil); !errors.Is(err, errDatabase) {
		t.Errorf("sent with %v, want what the log says", err)
	}
	other := n.dial(t, http.Header{"Authorization": {"Bearer token-2"}})
	other.expectClose(gateway.CloseTryAgain)
	c.say(`{"event":"ping","id":"1"}`) // who is there stays
	c.expect("reply")
}

// lossyBus loses what a test asks it to.
type lossyBus struct {
	gateway.Bus
	lose atomic.Bool
}

func (b *lossyBus) Gather(ctx context.Context, subject string, data []byte, take func([]byte) bool) error {
	if b.lose.Load() && strings.HasSuffix(subject, ".send") {
		return bus.ErrNoResponders
	}
	return b.Bus.Gather(ctx, subject, data, take)
}

// TestBusLosesEvents holds that the next event brings those before it, and that
// without one the device's refresh does.
func TestBusLosesEvents(t *testing.T) {
	t.Parallel()
	b := &lossyBus{Bus: newBus(t)}
	n := start(t, gateway.Config{Bus: b, PresenceRefresh: 50 * time.Millisecond}, nil)
	quiet := start(t, gateway.Config{Bus: b, Events: n.events, PresenceRefresh: time.Hour}, nil)
	c, d := n.connect(t, "1"), quiet.connect(t, "2")
	b.lose.Store(true)
	n.sendRun(t, "1", 1, 40)
	n.sendRun(t, "2", 1, 40)
	b.lose.Store(false)
	c.expectRun(1, 40)
	n.sendRun(t, "2", 41, 42)
	d.expectRun(1, 42)
}

// TestNothingIsLostOrTwice sends from two nodes to a device whose connection
// breaks again and again and comes back to either node with its last cursor.
func TestNothingIsLostOrTwice(t *testing.T) {
	t.Parallel()
	cfg := gateway.Config{
		Bus: newBus(t), Events: &events{}, Presence: &presence{}, KeepEvents: 1000, OfflineDelay: time.Millisecond,
		PresenceRefresh: 20 * time.Millisecond,
	}
	nodes := []*node{start(t, cfg, nil), start(t, cfg, nil)}
	const each, rounds = 60, 12
	var wg sync.WaitGroup
	for i, n := range nodes {
		for range 2 {
			wg.Go(func() {
				for range each {
					if _, err := n.Send(t.Context(), "1", "x", map[string]int{"node": i}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	last := 0
	for round := range rounds {
		c, r := nodes[round%2].comeBack(t, "1", fmt.Sprint(last))
		if r.Resumed == nil || !*r.Resumed {
			t.Fatalf("not resumed after %d: %+v", last, r)
		}
		until := (round + 1) * 4 * each / rounds
		for last < until {
			if m := c.expect("x"); m.Cursor != fmt.Sprint(last+1) {
				t.Fatalf("%s follows %d", m.Cursor, last)
			}
			last++
		}
		_ = c.Close()
	}
	wg.Wait()
}
