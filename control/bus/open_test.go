package bus_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/securecam/securecam/control/bus"
)

func TestCloseGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	b := openBus(t, bus.Config{StoreDir: t.TempDir()})
	release, entered := make(chan struct{}), make(chan struct{})
	mustSubscribe(t, b, "stuck", func(bus.Msg) { close(entered); <-release })
	if err := b.Publish(t.Context(), "stuck", nil); err != nil {
		t.Fatal(err)
	}
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	close(release)
}

func TestServerComesBack(t *testing.T) {
	t.Parallel()
	s := runServerOn(t, freePort(t)) // which it comes back on
	b := openBus(t, bus.Config{URL: s.ClientURL()})
	mustSubscribe(t, b, "echo", func(m bus.Msg) { _ = m.Respond(m.Data) })
	port := s.Addr().(*net.TCPAddr).Port
	s.Shutdown()
	s.WaitForShutdown()
	eventually(t, "the loss is noticed", func() bool { return !b.Stats().Connected })
	if err := b.Publish(t.Context(), "echo", nil); err == nil {
		t.Error("publish succeeded without a server")
	}
	// Subscriptions made meanwhile count after the reconnect.
	mustSubscribe(t, b, "later", func(m bus.Msg) { _ = m.Respond(m.Data) })
	runServerOn(t, port)
	eventually(t, "both subscriptions answer again", func() bool {
		_, err1 := b.Request(t.Context(), "echo", nil)
		_, err2 := b.Request(t.Context(), "later", nil)
		return err1 == nil && err2 == nil
	})
	if n := b.Stats().Reconnects; n != 1 {
		t.Errorf("%d reconnects, want 1", n)
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	tests := map[string]bus.Config{
		"unreachable url":    {URL: "nats://user:secret@127.0.0.1:1"},
		"two of them":        {URL: "nats://user:secret@127.0.0.1:1, nats://127.0.0.1:2"},
		"mute server":        {URL: "nats://" + mute.Addr().String()},
		"malformed url":      {URL: "nats://user:secret@[::1"},
		"host alone":         {URL: "127.0.0.1:1"},
		"no store directory": {},
		"store is a file":    {StoreDir: blocked},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			b, err := bus.Open(ctx, cfg)
			if err == nil {
				_ = b.Close(t.Context())
				t.Fatal("opened")
			}
			if text := err.Error(); strings.Contains(text, "secret") || strings.Contains(text, "\n") {
				t.Errorf("the error should be one line without the password: %q", text)
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	bs, err := bus.Open(b.Context(), bus.Config{StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = bs.Close(context.Background()) }()
	if _, err := bs.Subscribe("echo", func(m bus.Msg) { _ = m.Respond(m.Data) }); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bs.Request(b.Context(), "echo", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func runServer(t *testing.T) *server.Server {
	t.Helper()
	return runServerOn(t, server.RANDOM_PORT)
}

func runServerOn(t *testing.T, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server did not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}
