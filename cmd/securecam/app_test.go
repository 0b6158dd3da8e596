package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/store/storetest"
)

// freePorts makes securecam listen on loopback only, on ports that the system
// picks.
var freePorts = []string{"--listen-host=127.0.0.1", "--port=0", "--media-udp-port=0", "--media-tcp-port=0", "--turn-port=0"}

// startApp starts the product inside the test, with its data in a folder of
// its own, and stops it at the end: the stop must succeed.
func startApp(t *testing.T, settings ...string) *app {
	t.Helper()
	testMedia(t) // takes seconds once, which must not count for the timeouts under test
	// A viewer that is killed is missed after 10 s, not 30.
	args := append([]string{"serve", "--data-dir=" + t.TempDir(), "--consent-timeout-seconds=10"}, freePorts...)
	args = append(args, settings...)
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
		if err := a.stop(); err != nil {
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

// publicMinIOSettings let browsers fetch from the bucket itself.
func publicMinIOSettings(t *testing.T) []string {
	t.Helper()
	return append(minioSettings(t), "--minio-public-url=http://"+os.Getenv("TEST_MINIO_ENDPOINT"))
}

// postgresSettings point at a schema of the test's own.
func postgresSettings(t *testing.T) []string {
	t.Helper()
	return []string{"--database-url=" + storetest.PostgresURL(t)}
}

// TestStopGivesEachPartItsTime holds that a part that does not end takes
// nothing from those that stop after it.
func TestStopGivesEachPartItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &app{log: slog.New(slog.DiscardHandler)}
		forever := make(chan struct{})
		defer close(forever)
		stopped := []string{}
		a.onStop("store", time.Second, func(ctx context.Context) error {
			stopped = append(stopped, "store")
			return ctx.Err()
		})
		a.onStop("slow", time.Second, func(ctx context.Context) error {
			<-ctx.Done()
			stopped = append(stopped, "slow")
			return ctx.Err()
		})
		a.onStop("deaf", time.Second, func(context.Context) error {
			<-forever
			return nil
		})
		err := a.stop()
		if !slices.Equal(stopped, []string{"slow", "store"}) || err == nil {
			t.Errorf("stopped %v, %v", stopped, err)
		}
		for part, named := range map[string]bool{"slow": true, "deaf": true, "store": false} {
			if strings.Contains(err.Error(), "stop "+part) != named {
				t.Errorf("the error is %q, names %s: want %v", err, part, named)
			}
		}
	})
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
	const within = time.Minute // far more than a busy machine needs
	for i := range a.closers {
		a.closers[i].within = within
	}
	began := time.Now()
	err = a.stop()
	if took := time.Since(began); err != nil || took >= within {
		t.Errorf("stop took %v with %v for each part: %v", took, within, err)
	}
}
