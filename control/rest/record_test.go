package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/securecam/securecam/control/rest"
)

func TestRequestLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		req   *http.Request
		level string
		want  map[string]any
	}{
		{
			"ok", put("/books/7?color=red", "application/json", `{"title":"a"}`), "INFO",
			map[string]any{"method": "PUT", "route": "/books/:id", "status": 200.0, "book": "7", "bytes": 14.0},
		},
		{
			"internal", put("/books/7", "application/json", `{"title":"unknown"}`), "ERROR",
			map[string]any{"status": 500.0, "err": secret},
		},
		{
			"fault", put("/books/7", "application/json", `{"title":"fault"}`), "INFO",
			map[string]any{"status": 409.0, "err": "The shelf is full.: " + secret},
		},
		{
			"fault without a cause", put("/books/7", "application/json", `{"title":"wrapped"}`), "INFO",
			map[string]any{"status": 409.0, "err": nil},
		},
		{
			"degraded", put("/books/7", "application/json", `{"title":"late"}`), "WARN",
			map[string]any{"status": 503.0, "err": secret + ": context deadline exceeded"},
		},
		{
			"panic", httptest.NewRequest(http.MethodGet, "/panic", nil), "ERROR",
			map[string]any{"err": "panic: " + secret},
		},
		{
			"unmatched", httptest.NewRequest(http.MethodGet, "/nowhere/x?token=x", nil), "INFO",
			map[string]any{"route": "", "status": 404.0},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app, log := newApp(t, rest.RecordConfig{})
			test.req.Header.Set("X-Request-Id", "abc-1.2_3")
			if got := do(t, app, test.req); got.header.Get("X-Request-Id") != "abc-1.2_3" {
				t.Errorf("got x-request-id %q", got.header.Get("X-Request-Id"))
			}
			var line map[string]any
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("want one line, got %q", log)
			}
			test.want["level"], test.want["msg"], test.want["request"] = test.level, "request", "abc-1.2_3"
			for key, want := range test.want {
				if line[key] != want {
					t.Errorf("got %s=%v, want %v", key, line[key], want)
				}
			}
			if _, ok := line["stack"]; ok != (test.name == "panic") {
				t.Errorf("got a stack: %v", ok)
			}
			if strings.Contains(log.String(), "token") {
				t.Errorf("the query is logged: %s", log)
			}
		})
	}
}

func TestRequestIDIsReplacedUnlessSane(t *testing.T) {
	t.Parallel()
	app, _ := newApp(t, rest.RecordConfig{})
	for _, id := range []string{"", "a b", "a\"b", "ä", strings.Repeat("a", 65)} {
		req := httptest.NewRequest(http.MethodGet, "/whoami", nil)
		req.Header.Set("X-Request-Id", id)
		got := do(t, app, req).header.Get("X-Request-Id")
		if got == id || len(got) != 36 {
			t.Errorf("%q: got %q, want a new id", id, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]string{
		"203.0.113.9": "203.0.113.9", "::ffff:203.0.113.9": "203.0.113.9", "": "", "x": "x",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := (rest.Request{IP: ip}).Network(); got != want {
			t.Errorf("%s: got %s, want %s", ip, got, want)
		}
	}
}

// TestForwarded asks over app.Test, whose connections come from 0.0.0.0.
func TestForwarded(t *testing.T) {
	t.Parallel()
	proxy := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("10.0.0.0/8")}
	tests := []struct {
		name       string
		trusted    []netip.Prefix
		forwarded  string
		ip, origin string
	}{
		{"nobody is trusted", nil, "203.0.113.9", "0.0.0.0", "http://cam.example:8080"},
		{"trusted", proxy, "203.0.113.9", "203.0.113.9", "https://public.example"},
		{"invented by the client", proxy, "1.1.1.1, 203.0.113.9, 10.1.2.3", "203.0.113.9", "https://public.example"},
		{"only proxies", proxy, "10.1.2.3", "10.1.2.3", "https://public.example"},
		{"garbage", proxy, "x, 10.1.2.3", "10.1.2.3", "https://public.example"},
		{"nothing", proxy, "", "0.0.0.0", "https://public.example"},
		{"mapped", proxy, "::ffff:203.0.113.9", "203.0.113.9", "https://public.example"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			app, _ := newApp(t, rest.RecordConfig{TrustedProxies: test.trusted})
			req := httptest.NewRequest(http.MethodGet, "/whoami", nil)
			req.Host = "cam.example:8080"
			req.Header.Set("X-Forwarded-For", test.forwarded)
			req.Header.Set("X-Forwarded-Proto", "https, http")
			req.Header.Set("X-Forwarded-Host", "Public.example")
			var got rest.Request
			if err := json.Unmarshal([]byte(do(t, app, req).body), &got); err != nil {
				t.Fatal(err)
			}
			if got.IP != test.ip || got.Origin != test.origin {
				t.Errorf("got %s %s, want %s %s", got.IP, got.Origin, test.ip, test.origin)
			}
		})
	}
}
