package ops_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/ops"
	"github.com/securecam/securecam/control/rest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps one clock for the whole process.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

func ok(context.Context) error { return nil }

func get(t *testing.T, s *ops.Service, path string) (int, string) {
	t.Helper()
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler})
	s.Mount(app, rest.New(app, rest.Config{}))
	res, err := app.Test(httptest.NewRequest(http.MethodGet, path, nil), -1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestReady(t *testing.T) {
	t.Parallel()
	broken := func(context.Context) error { return errors.New("dial tcp 10.0.0.7: refused") }
	tests := []struct {
		name   string
		checks []ops.Check
		status int
		want   string // of the checks, in order
	}{
		{"nothing to check", nil, 200, ""},
		{"all well", []ops.Check{{Name: "store", Ping: ok}, {Name: "objects", Ping: ok}}, 200, "store=ok objects=ok"},
		{"one fails", []ops.Check{{Name: "store", Ping: broken}, {Name: "objects", Ping: ok}}, 503, "store=failed objects=ok"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			s := ops.New(ops.Config{Checks: test.checks, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			status, body := get(t, s, "/ops/ready")
			var got struct {
				Status string
				Checks []struct {
					Name, Status string
					LatencyMs    *float64
				}
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Checks == nil {
				t.Fatalf("got %q: %v", body, err)
			}
			var checks []string
			for _, c := range got.Checks {
				checks = append(checks, c.Name+"="+c.Status)
				if c.LatencyMs == nil {
					t.Errorf("%s has no latency", c.Name)
				}
			}
			if status != test.status || strings.Join(checks, " ") != test.want || (got.Status == "ok") != (status == 200) {
				t.Errorf("got %d %s, want %d %s", status, body, test.status, test.want)
			}
			if strings.Contains(body, "10.0.0.7") {
				t.Errorf("the cause leaks: %s", body)
			}
			if failed := test.status == 503; strings.Contains(log.String(), "10.0.0.7") != failed {
				t.Errorf("got log %q", &log)
			}
		})
	}
}

func TestLive(t *testing.T) {
	t.Parallel()
	if status, body := get(t, ops.New(ops.Config{}), "/ops/live"); status != 200 || !strings.Contains(body, `"ok"`) {
		t.Errorf("got %d %s", status, body)
	}
}

func TestReadyIsBoundedByItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		release := make(chan struct{})
		stuck := func(context.Context) error { // as a driver that ignores its context
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			<-release
			return nil
		}
		s := ops.New(ops.Config{Timeout: 2 * time.Second, Checks: []ops.Check{{Name: "stuck", Ping: stuck}, {Name: "ok", Ping: ok}}})
		for range 3 {
			start := time.Now()
			results := s.Ready(t.Context())
			if took := time.Since(start); took != 2*time.Second {
				t.Errorf("took %v", took)
			}
			if !errors.Is(results[0].Err, context.DeadlineExceeded) || results[1].Err != nil || results[1].Latency != 0 {
				t.Errorf("got %+v", results)
			}
		}
		if most.Load() != 1 {
			t.Errorf("%d goroutines hang, want 1", most.Load())
		}
		close(release)
		synctest.Wait()
		if results := s.Ready(t.Context()); results[0].Err != nil {
			t.Errorf("got %v once it answers again", results[0].Err)
		}
	})
}

// TestWarnings: what does not work for everybody is named, and does not make the server unready.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for want, warnings := range map[string]func() []string{
		`"warnings":[]`:                    nil,
		`"warnings":["media_unreachable"]`: func() []string { return []string{"media_unreachable"} },
	} {
		if status, body := get(t, ops.New(ops.Config{Warnings: warnings}), "/ops/ready"); status != 200 || !strings.Contains(body, want) {
			t.Errorf("got %d %s, want %s", status, body, want)
		}
	}
}
