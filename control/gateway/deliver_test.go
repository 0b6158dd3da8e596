package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

func TestSendReachesEveryConnectionOfTheDevice(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	a, b, other := n.connect(t, "1"), n.connect(t, "1"), n.connect(t, "2")
	for i := range 3 {
		if !mustSend(t, n, "1", "command:received", map[string]int{"n": i}) {
			t.Error("not delivered")
		}
	}
	for _, c := range []*client{a, b} {
		for i := range 3 {
			if m := c.expect("command:received"); string(m.Data) != fmt.Sprintf(`{"n":%d}`, i) {
				t.Errorf("message %d is %s", i, m.Data)
			}
		}
	}
	mustSend(t, n, "2", "fence", nil)
	other.expect("fence")
}

func TestSendToNobody(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	if mustSend(t, n, "nobody", "x", nil) {
		t.Error("delivered to nobody")
	}
	c := n.connect(t, "1")
	_ = c.Close()
	eventually(t, "the connection's end is seen", func() bool { return n.Stats().Connections == 0 })
	if mustSend(t, n, "1", "x", nil) {
		t.Error("delivered to a device that has gone")
	}
	if _, err := n.Send(t.Context(), "a device", "x", nil); !errors.Is(err, bus.ErrBadSubject) {
		t.Errorf("got %v, want ErrBadSubject", err)
	}
	for name, data := range map[string]any{"unwritable": func() {}, "too long": strings.Repeat("x", 70_000)} {
		if _, err := n.Send(t.Context(), "1", "x", data); err == nil {
			t.Errorf("%s data was sent", name)
		}
	}
}

func TestTwoNodesDeliverToEachOther(t *testing.T) {
	t.Parallel()
	states := &presence{}
	cfg := gateway.Config{Bus: newBus(t), Presence: states, Events: &events{}, OfflineDelay: 10 * time.Millisecond}
	a, b := start(t, cfg, nil), start(t, cfg, nil)
	onA, onB, both := a.connect(t, "on-a"), b.connect(t, "on-b"), a.connect(t, "both")
	bothB := b.connect(t, "both")
	if !mustSend(t, b, "on-a", "x", nil) || !mustSend(t, a, "on-b", "x", nil) || !mustSend(t, a, "both", "x", nil) {
		t.Error("not delivered across nodes")
	}
	for _, c := range []*client{onA, onB, both, bothB} {
		c.expect("x")
	}
	// A device that leaves one of two nodes stays online.
	_ = both.Close()
	eventually(t, "node a has let go", func() bool { return a.Stats().Devices == 1 })
	if got := states.last("both"); got != store.DeviceOnline || states.count("both", store.DeviceOffline) != 0 {
		t.Errorf("presence %s after leaving one node, want online throughout", got)
	}
	if !mustSend(t, a, "both", "y", nil) {
		t.Error("not delivered to the remaining node")
	}
	bothB.expect("y")
	for _, node := range []*node{a, b} { // every node hears of a revocation
		node.Revoked(store.Revocation{Kind: store.RevokedDevice, TargetID: "both"})
	}
	bothB.expectClose(gateway.CloseRevoked)
	eventually(t, "it is offline", func() bool { return states.last("both") == store.DeviceOffline })
}

// lateBus is a node's bus by which it hears nothing before the gate is open.
type lateBus struct {
	gateway.Bus
	open <-chan struct{}
}

func (b lateBus) Subscribe(subject string, handle func(bus.Msg)) (bus.Subscription, error) {
	return b.Bus.Subscribe(subject, func(m bus.Msg) {
		<-b.open
		handle(m)
	})
}

// TestYesWinsOverAnEarlierNo has a node whose last connection is on its way out
// answer before the one that still has the device.
func TestYesWinsOverAnEarlierNo(t *testing.T) {
	t.Parallel()
	common, answered := newBus(t), make(chan struct{})
	leaving, err := common.Subscribe(bus.DeviceTopic("1")+".*", func(m bus.Msg) {
		defer close(answered)
		if err := m.Respond([]byte("no")); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	asking := start(t, gateway.Config{Bus: common, SendTimeout: wait}, nil)
	holding := start(t, gateway.Config{Bus: lateBus{common, answered}}, nil)
	c := holding.connect(t, "1")
	if !mustSend(t, asking, "1", "x", nil) {
		t.Error("the node that has the device was not waited for")
	}
	c.expect("x")
	if err := leaving.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
}

// naysayer is a bus on which one node answers, at once, that it has nobody.
type naysayer struct{ gateway.Bus }

func (naysayer) Gather(ctx context.Context, _ string, _ []byte, take func([]byte) bool) error {
	take([]byte("no"))
	<-ctx.Done()
	return ctx.Err()
}

// TestNoIsTheAnswerInTheEnd has nobody contradict.
func TestNoIsTheAnswerInTheEnd(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{Bus: naysayer{}, SendTimeout: 40 * time.Millisecond}, nil)
	if mustSend(t, n, "1", "x", nil) {
		t.Error("delivered to nobody")
	}
	if held, err := n.Connected(t.Context(), "1"); !held || err != nil {
		t.Errorf("connected: %v, %v", held, err)
	}
}

func TestSlowReaderIsDroppedAlone(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{CloseGrace: 100 * time.Millisecond}, nil)
	slow, good := n.connect(t, "1"), n.connect(t, "1")
	other := n.connect(t, "2")
	// 400 messages of 60 kB are more than the socket buffers of one that does
	// not read hold.
	big := strings.Repeat("x", 60_000)
	for range 400 {
		if !mustSend(t, n, "1", "big", big) {
			t.Fatal("not delivered to the good one")
		}
		good.expect("big")
		if !mustSend(t, n, "2", "small", nil) {
			t.Fatal("the other device is affected")
		}
		other.expect("small")
	}
	eventually(t, "the slow one is closed", func() bool { return n.Stats().SlowReaders == 1 && n.Stats().Connections == 2 })
	_ = slow.Close()
}

func TestSlowReaderThatWakesHearsWhy(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{CloseGrace: 2 * wait, WriteTimeout: 2 * wait}, nil)
	slow := n.connect(t, "1")
	big := strings.Repeat("x", 60_000)
	for mustSend(t, n, "1", "big", big) {
	}
	slow.expectClose(gateway.CloseSlow)
}

// TestSlowReaderWithFewMessages has fewer messages than the queue takes, and one
// that the client does not read.
func TestSlowReaderWithFewMessages(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{WriteTimeout: 50 * time.Millisecond, QueueSize: 1000}, nil)
	n.connect(t, "1")
	big := strings.Repeat("x", 60_000)
	for n.Stats().Connections > 0 {
		mustSend(t, n, "1", "big", big)
	}
	if s := n.Stats(); s.SlowReaders != 1 {
		t.Errorf("%d slow readers, want the one", s.SlowReaders)
	}
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	a, b, other := n.connect(t, "1"), n.connect(t, "1"), n.connect(t, "2")
	n.Revoked(store.Revocation{Kind: store.RevokedDevice, TargetID: "nobody"})
	n.Revoked(store.Revocation{Kind: store.RevokedUser, OwnerUserID: "nobody", TargetID: "nobody"})
	n.Revoked(store.Revocation{Kind: store.RevokedSession, TargetID: "1"})
	n.Revoked(store.Revocation{Kind: store.RevokedLink, TargetID: "1", CameraDeviceID: "1", ClientDeviceID: "2"})
	n.Revoked(store.Revocation{Kind: store.RevokedDevice, TargetID: "1"})
	a.expectClose(gateway.CloseRevoked)
	b.expectClose(gateway.CloseRevoked)
	other.say(`{"event":"ping","id":"1"}`)
	other.expect("reply")
	if s := n.Stats(); s.Revoked != 2 {
		t.Errorf("%d revocations counted, want 2", s.Revoked)
	}
}

// TestRevokedWhileConnecting revokes the token between its first verification
// and the moment from which Revoked reaches the connection.
func TestRevokedWhileConnecting(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{}, nil)
	n.auth.onCheck = n.auth.revoke
	c := n.dial(t, http.Header{"Authorization": {"Bearer token-1"}})
	if code := c.expectError(""); code != "unauthenticated" {
		t.Errorf("code %s, want unauthenticated", code)
	}
	c.expectClose(gateway.CloseUnauthenticated)
}

// TestRecheck ends a token without telling the gateway, as its expiry does.
func TestRecheck(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{PingEvery: 5 * time.Millisecond, RecheckEvery: time.Millisecond}, nil)
	c, other := n.connect(t, "1"), n.connect(t, "2")
	read := make(chan struct{})
	go func() { // answers pings
		defer close(read)
		_, _, _ = other.ReadMessage()
	}()
	n.auth.revoke("token-1")
	c.expectClose(gateway.CloseRevoked)
	_ = other.Close()
	<-read
}

func TestOnConnect(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	told := make(chan struct{})
	n := start(t, gateway.Config{}, func(g *gateway.Gateway) {
		g.OnConnect(func(context.Context, string) func(context.Context) {
			panic("planned") //nolint:forbidigo // what the test is about
		})
		g.OnConnect(func(_ context.Context, id string) func(context.Context) {
			asked.Add(1)
			return func(ctx context.Context) {
				<-told
				if _, err := g.Send(ctx, id, "hello", map[string]string{"device": id}); err != nil {
					t.Error(err)
				}
			}
		})
	})
	for i := range int64(2) {
		c := n.connect(t, "1")
		if asked.Load() != i+1 {
			t.Error("the device was told that it is connected before the hook had run")
		}
		told <- struct{}{} // and what the hook returned waits for that
		if m := c.expect("hello"); string(m.Data) != `{"device":"1"}` {
			t.Errorf("got %s", m.Data)
		}
		_ = c.Close()
	}
	if s := n.Stats(); s.Panics != 2 {
		t.Errorf("%d panics counted, want 2", s.Panics)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	n := start(t, gateway.Config{OfflineDelay: time.Hour}, nil)
	clients := []*client{n.connect(t, "1"), n.connect(t, "1"), n.connect(t, "2"), n.dial(t, nil)}
	gone := n.connect(t, "3")
	_ = gone.Close()
	eventually(t, "all are there", func() bool { return n.Stats().Connections == 4 })
	closed := make(chan error, 1)
	go func() { closed <- n.Close(t.Context()) }()
	for _, c := range clients {
		c.expectClose(gateway.CloseGoingAway)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	// The hour's delay does not hold up the shutdown.
	for _, id := range []string{"1", "2", "3"} {
		if got := n.presence.last(id); got != store.DeviceOffline {
			t.Errorf("device %s is %s after Close, want offline", id, got)
		}
	}
	if s := n.Stats(); s.Connections+s.Devices+s.Unauthenticated != 0 {
		t.Errorf("left over: %+v", s)
	}
	response, err := http.Get("http://" + n.url + "/realtime")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
}

func TestCloseDoesNotWaitForever(t *testing.T) {
	t.Parallel()
	var handled atomic.Bool
	n := start(t, gateway.Config{CloseGrace: time.Hour}, func(g *gateway.Gateway) {
		g.OnConnect(func(_ context.Context, id string) func(context.Context) {
			return func(ctx context.Context) {
				if id == "stuck" {
					<-ctx.Done()
					handled.Store(true)
				}
			}
		})
	})
	n.connect(t, "deaf") // never answers the close frame
	n.connect(t, "stuck")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if !handled.Load() || n.Stats().Connections != 0 {
		t.Errorf("Close returned before everything had ended: %+v", n.Stats())
	}
}
