package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/bus"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A clustered server that is shut down while its cluster still elects a
		// leader leaves the file of that election open, and the clock that all
		// such files share.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"),
	)
}

const patience = 30 * time.Second // for what must happen soon

// open returns two buses that reach each other. With the embedded server that
// is the same bus twice.
type open func(t *testing.T) (*bus.Bus, *bus.Bus)

func TestConformance(t *testing.T) {
	t.Parallel()
	kinds := map[string]open{
		"embedded": func(t *testing.T) (*bus.Bus, *bus.Bus) {
			t.Helper()
			b := openBus(t, bus.Config{StoreDir: t.TempDir()})
			return b, b
		},
		"url": func(t *testing.T) (*bus.Bus, *bus.Bus) {
			t.Helper()
			url := runServer(t).ClientURL()
			return openBus(t, bus.Config{URL: url}), openBus(t, bus.Config{URL: url})
		},
	}
	rules := map[string]func(*testing.T, *bus.Bus, *bus.Bus){
		"request gets the response":         requestGetsResponse,
		"gather gets all responses":         gatherGetsAll,
		"nobody listens":                    nobodyListens,
		"silent responder times out":        silentResponder,
		"messages arrive in order":          messagesInOrder,
		"wildcards":                         wildcards,
		"unsubscribe ends delivery":         unsubscribeEndsDelivery,
		"unsubscribe answers what arrived":  unsubscribeAnswers,
		"bad subjects":                      badSubjects,
		"slow subscriber loses and counts":  slowSubscriber,
		"a panic is recovered":              panicRecovered,
		"close drains and then all is over": closeDrains,
		"counters are exact":                countTogether,
	}
	for kind, open := range kinds {
		for name, rule := range rules {
			t.Run(kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				a, b := open(t)
				rule(t, a, b)
			})
		}
	}
}

func requestGetsResponse(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	mustSubscribe(t, b, "echo", func(m bus.Msg) {
		if err := m.Respond(append([]byte("re:"), m.Data...)); err != nil {
			t.Error(err)
		}
	})
	got, err := a.Request(t.Context(), "echo", []byte("hello"))
	if err != nil || string(got) != "re:hello" {
		t.Fatalf("got %q, %v; want re:hello", got, err)
	}
	if err := a.Publish(t.Context(), "echo", nil); err != nil {
		t.Errorf("publish to a responder: %v", err)
	}
}

func gatherGetsAll(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	for _, who := range []string{"1", "2", "3"} {
		mustSubscribe(t, b, "all", func(m bus.Msg) { _ = m.Respond(append([]byte(who), m.Data...)) })
	}
	got := map[string]bool{}
	take := func(response []byte) bool {
		got[string(response)] = true
		return len(got) == 3
	}
	if err := a.Gather(t.Context(), "all", []byte("!"), take); err != nil || !got["1!"] || !got["2!"] || !got["3!"] {
		t.Errorf("got %v, %v", got, err)
	}
	never := func([]byte) bool { return false }
	for subject, want := range map[string]error{
		"all": context.DeadlineExceeded, "nobody.here": bus.ErrNoResponders, "a.*": bus.ErrBadSubject,
	} {
		ctx := t.Context()
		if subject == "all" {
			bounded, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			ctx = bounded
		}
		if err := a.Gather(ctx, subject, nil, never); !errors.Is(err, want) {
			t.Errorf("gather %s: got %v, want %v", subject, err, want)
		}
	}
}

func nobodyListens(t *testing.T, a, _ *bus.Bus) {
	t.Helper()
	if _, err := a.Request(t.Context(), "nobody.here", nil); !errors.Is(err, bus.ErrNoResponders) {
		t.Errorf("got %v, want ErrNoResponders", err)
	}
	if err := a.Publish(t.Context(), "nobody.here", nil); err != nil {
		t.Errorf("publish without subscribers: %v", err)
	}
}

func silentResponder(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	mustSubscribe(t, b, "silent", func(bus.Msg) {})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := a.Request(ctx, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if err := a.Publish(ctx, "silent", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publish with a dead context: got %v, want DeadlineExceeded", err)
	}
}

func messagesInOrder(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	const n = 500
	got := make(chan string, n)
	mustSubscribe(t, b, "seq", func(m bus.Msg) { got <- string(m.Data) })
	for i := range n {
		if err := a.Publish(t.Context(), "seq", fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if s := receive(t, got); s != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, s)
		}
	}
}

func wildcards(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	got := make(chan string, 4)
	mustSubscribe(t, b, bus.DeviceTopic("1")+".*", func(m bus.Msg) { got <- m.Subject })
	for _, s := range []string{bus.DeviceTopic("2") + ".x", bus.DeviceTopic("1"), bus.DeviceTopic("1") + ".x"} {
		if err := a.Publish(t.Context(), s, nil); err != nil {
			t.Fatal(err)
		}
	}
	if s := receive(t, got); s != bus.DeviceTopic("1")+".x" {
		t.Errorf("got %s, want the device's own subject only", s)
	}
}

func unsubscribeEndsDelivery(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	sub := mustSubscribe(t, b, "gone", func(m bus.Msg) { _ = m.Respond(nil) })
	for range 2 {
		if err := sub.Unsubscribe(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Request(t.Context(), "gone", nil); !errors.Is(err, bus.ErrNoResponders) {
		t.Errorf("got %v, want ErrNoResponders", err)
	}
	if n := b.Stats().Subscriptions; n != 0 {
		t.Errorf("%d subscriptions left, want 0", n)
	}
}

// unsubscribeAnswers asks while the only subscriber leaves: each request is
// answered or finds nobody, none waits in vain.
func unsubscribeAnswers(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	for range 20 {
		sub := mustSubscribe(t, b, "leaving", func(m bus.Msg) { _ = m.Respond(nil) })
		errs := make(chan error, 1)
		go func() {
			for {
				if _, err := a.Request(t.Context(), "leaving", nil); err != nil {
					errs <- err
					return
				}
			}
		}()
		if err := sub.Unsubscribe(); err != nil {
			t.Error(err)
		}
		if err := <-errs; !errors.Is(err, bus.ErrNoResponders) {
			t.Fatalf("got %v, want ErrNoResponders", err)
		}
	}
}

func badSubjects(t *testing.T, a, _ *bus.Bus) {
	t.Helper()
	for _, s := range []string{"", ".", "a..b", "a.", "a b", "a\nb", "a\x7f", "a.*", "a.>", "*", "a*"} {
		if err := a.Publish(t.Context(), s, nil); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("publish %q: got %v, want ErrBadSubject", s, err)
		}
		if _, err := a.Request(t.Context(), s, nil); !errors.Is(err, bus.ErrBadSubject) {
			t.Errorf("request %q: got %v, want ErrBadSubject", s, err)
		}
	}
	if _, err := a.Subscribe("a..b", func(bus.Msg) {}); !errors.Is(err, bus.ErrBadSubject) {
		t.Errorf("subscribe: got %v, want ErrBadSubject", err)
	}
}

func slowSubscriber(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	release := make(chan struct{})
	var handled atomic.Int64
	sub := mustSubscribe(t, b, "slow", func(bus.Msg) { <-release; handled.Add(1) })
	const n = 6000
	for range n {
		if err := a.Publish(t.Context(), "slow", nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "messages are dropped", func() bool { return b.Stats().Dropped >= 1000 })
	// Others are unaffected.
	requestGetsResponse(t, a, b)
	close(release)
	eventually(t, "the rest is handled", func() bool { return handled.Load() >= 4096 })
	if err := sub.Unsubscribe(); err != nil {
		t.Fatal(err)
	}
	if d := b.Stats().Dropped; d < 1000 || d+uint64(handled.Load()) > n {
		t.Errorf("dropped %d after unsubscribe with %d handled of %d", d, handled.Load(), n)
	}
}

func panicRecovered(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	mustSubscribe(t, b, "panics", func(m bus.Msg) {
		if len(m.Data) > 0 {
			panic("planned") //nolint:forbidigo // what the test is about
		}
		_ = m.Respond([]byte("alive"))
	})
	if err := a.Publish(t.Context(), "panics", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Request(t.Context(), "panics", nil); err != nil || string(got) != "alive" {
		t.Fatalf("got %q, %v after a panic", got, err)
	}
	if n := b.Stats().Panics; n != 1 {
		t.Errorf("%d panics counted, want 1", n)
	}
}

func closeDrains(t *testing.T, a, b *bus.Bus) {
	t.Helper()
	var handled atomic.Int64
	first := make(chan struct{}, 1)
	mustSubscribe(t, b, "drain", func(bus.Msg) {
		select {
		case first <- struct{}{}:
		default:
		}
		handled.Add(1)
	})
	for range 100 {
		if err := a.Publish(t.Context(), "drain", nil); err != nil {
			t.Fatal(err)
		}
	}
	// A round trip behind them: all hundred have reached the other side.
	mustSubscribe(t, b, "fence", func(m bus.Msg) { _ = m.Respond(nil) })
	if _, err := a.Request(t.Context(), "fence", nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := handled.Load(); n != 100 {
		t.Errorf("%d messages handled before Close returned, want 100", n)
	}
	if err := b.Publish(t.Context(), "drain", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("publish: got %v, want ErrClosed", err)
	}
	if _, err := b.Request(t.Context(), "drain", nil); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("request: got %v, want ErrClosed", err)
	}
	if _, err := b.Subscribe("drain", func(bus.Msg) {}); !errors.Is(err, bus.ErrClosed) {
		t.Errorf("subscribe: got %v, want ErrClosed", err)
	}
}

func openBus(t *testing.T, cfg bus.Config) *bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func mustSubscribe(t *testing.T, b *bus.Bus, subject string, handle func(bus.Msg)) bus.Subscription {
	t.Helper()
	s, err := b.Subscribe(subject, handle)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func receive(t *testing.T, c <-chan string) string {
	t.Helper()
	select {
	case s := <-c:
		return s
	case <-time.After(patience):
		t.Fatal("nothing arrived")
		return ""
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}
