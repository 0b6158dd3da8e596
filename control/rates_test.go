package control_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/limit"
)

// sums is a bus that counts.
type sums struct {
	mu   sync.Mutex
	sums map[string]int64
}

func (s *sums) Add(_ context.Context, key string, period int64, n int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key += strconv.FormatInt(period, 10)
	s.sums[key] += int64(n)
	return s.sums[key], nil
}

func TestRates(t *testing.T) {
	t.Parallel()
	limiter := limit.New(limit.Config{Counter: &sums{sums: map[string]int64{}}, Window: 24 * time.Hour})
	s := startWith(t, func(c *control.Config) {
		c.Limiter, c.Rates = limiter, map[string]int{"global": 12, "auth": 2}
	})
	client := &http.Client{}
	defer client.CloseIdleConnections()
	call := func(method, path string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Origin", "https://app.example")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusTooManyRequests && !strings.Contains(string(body), `"code":"rate_limited"`) {
			t.Errorf("got %s", body)
		}
		return res
	}
	const signUp = "/api/auth/sign-up/email"
	for i, want := range []int{204, 204, 429} {
		res := call("POST", signUp)
		if res.StatusCode != want {
			t.Fatalf("sign-up %d: got %d, want %d", i, res.StatusCode, want)
		}
		if policy := res.Header.Get("RateLimit-Policy"); policy != `"auth";q=2;w=86400` {
			t.Errorf("got policy %q", policy)
		}
		if state := res.Header.Get("RateLimit"); !strings.HasPrefix(state, `"auth";r=`+strconv.Itoa(max(0, 1-i))+";t=") {
			t.Errorf("got state %q", state)
		}
		retry, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		if (retry > 1) != (want == 429) {
			t.Errorf("sign-up %d: got Retry-After %d", i, retry)
		}
		// A page of another origin can tell a limit from an outage.
		if res.Header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Errorf("sign-up %d: got no CORS header", i)
		}
	}
	for i := range 9 {
		res, want := call("GET", "/sim"), `"global";r=`+strconv.Itoa(8-i)+";"
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("RateLimit"), want) {
			t.Errorf("read %d: got %d and %q", i, res.StatusCode, res.Header.Get("RateLimit"))
		}
	}
	if res := call("GET", "/sim"); res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one too many: got %d", res.StatusCode)
	}
	if res := call("GET", "/ops/live"); res.StatusCode != http.StatusNotFound { // there is no such feature here
		t.Errorf("whoever watches the server gets %d", res.StatusCode)
	}
	if !strings.Contains(s.log.String(), "status=429") {
		t.Error("what was refused is not in the log")
	}
}
