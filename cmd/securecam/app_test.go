package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/store/storetest"
)

// freePorts makes securecam listen on loopback only, on ports that the system
// picks.
var freePorts = []string{"--listen-host=127.0.0.1", "--port=0", "--media-udp-port=0", "--turn-port=0"}

// startApp starts the product inside the test, with its data in a folder of
// its own, and stops it at the end: the stop must succeed.
func startApp(t *testing.T, settings ...string) *app {
	t.Helper()
	testMedia(t) // takes seconds once, which must not count for the timeouts under test
	args := append(append([]string{"serve", "--data-dir=" + t.TempDir()}, freePorts...), settings...)
	c, _, err := parse(args, t.Output(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var logs syncBuffer
	a, err := start(t.Context(), &c.Config, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatalf("start: %v\n%s", err, logs.String())
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := a.stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		select {
		case err := <-a.failed:
			t.Errorf("a part failed: %v", err)
		default:
		}
		if t.Failed() {
			t.Logf("securecam's log:\n%s", logs.String())
		}
	})
	return a
}

// syncBuffer is a buffer that many goroutines may write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// minioSettings point at a bucket of the test's own, which the server makes.
func minioSettings(t *testing.T) []string {
	t.Helper()
	endpoint := os.Getenv("TEST_MINIO_ENDPOINT")
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		t.Fatalf("TEST_MINIO_ENDPOINT is %q (%v): run the tests by make test", endpoint, err)
	}
	return []string{
		"--minio-endpoint=" + host, "--minio-port=" + port, "--minio-bucket=test-" + uuid.NewString(),
		"--minio-access-key=" + os.Getenv("TEST_MINIO_ACCESS_KEY"), "--minio-secret-key=" + os.Getenv("TEST_MINIO_SECRET_KEY"),
	}
}

// postgresSettings point at a schema of the test's own.
func postgresSettings(t *testing.T) []string {
	t.Helper()
	return []string{"--database-url=" + storetest.PostgresURL(t)}
}

// TestStopsQuickly holds that a server with nothing to finish does not sit
// out its deadline.
func TestStopsQuickly(t *testing.T) {
	t.Parallel()
	c, _, err := parse(append([]string{"serve", "--data-dir=" + t.TempDir()}, freePorts...), t.Output(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	a, err := start(t.Context(), &c.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.stop(ctx); err != nil {
		t.Errorf("stop within a third of the deadline: %v", err)
	}
}
