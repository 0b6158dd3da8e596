package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, timeout time.Duration, networks ...string) *Client {
	t.Helper()
	var c Config
	c.Timeout = timeout
	for _, n := range networks {
		c.Networks = append(c.Networks, netip.MustParsePrefix(n))
	}
	client := New(c)
	t.Cleanup(client.Close)
	return client
}

func TestCheck(t *testing.T) {
	t.Parallel()
	closed, open := newClient(t, 0), newClient(t, 0, "192.168.1.0/24", "fd00:1::/64")
	for _, test := range []struct {
		url          string
		closed, open error
	}{
		{"https://push.example.org/a?b=c", nil, nil},
		{"https://93.184.216.34/", nil, nil},
		{"https://[2606:2800:220:1:248:1893:25c8:1946]/", nil, nil},
		{"http://push.example.org/", ErrURL, nil}, // where it leads is known when it is dialled
		{"http://192.168.1.9/topic", ErrURL, nil},
		{"http://93.184.216.34/", ErrURL, ErrAddress},
		{"https://192.168.1.9/topic", ErrAddress, nil},
		{"https://[fd00:1::2]/", ErrAddress, nil},
		{"https://192.168.2.9/", ErrAddress, ErrAddress},
		{"https://127.0.0.1/", ErrAddress, ErrAddress},
		{"https://[::1]/", ErrAddress, ErrAddress},
		{"https://[::ffff:127.0.0.1]/", ErrAddress, ErrAddress},
		{"https://[::ffff:192.168.1.9]/", ErrAddress, nil},
		{"https://169.254.169.254/latest/meta-data", ErrAddress, ErrAddress},
		{"https://[fd00:ec2::254]/", ErrAddress, ErrAddress},
		{"https://[fe80::1%25eth0]/", ErrAddress, ErrAddress},
		{"https://100.64.0.1/", ErrAddress, ErrAddress},
		{"https://0.0.0.0/", ErrAddress, ErrAddress},
		{"https://[::]/", ErrAddress, ErrAddress},
		{"https://224.0.0.1/", ErrAddress, ErrAddress},
		{"https://255.255.255.255/", ErrAddress, ErrAddress},
		{"https://[64:ff9b::a00:1]/", ErrAddress, ErrAddress},
		{"https://[2002:7f00:1::]/", ErrAddress, ErrAddress},
		{"https://user:secret@push.example.org/", ErrURL, ErrURL},
		{"https://push.example.org/#x", ErrURL, ErrURL},
		{"ftp://push.example.org/", ErrURL, ErrURL},
		{"file:///etc/passwd", ErrURL, ErrURL},
		{"https:///path", ErrURL, ErrURL},
		{"https://:443/", ErrURL, ErrURL},
		{"//push.example.org/", ErrURL, ErrURL},
		{"", ErrURL, ErrURL},
		{"https://push.example.org/" + strings.Repeat("a", maxURL), ErrURL, ErrURL},
	} {
		if err := closed.Check(test.url); !errors.Is(err, test.closed) {
			t.Errorf("%s: %v, want %v", test.url, err, test.closed)
		}
		if err := open.Check(test.url); !errors.Is(err, test.open) {
			t.Errorf("%s with networks: %v, want %v", test.url, err, test.open)
		}
	}
}

func post(t *testing.T, c *Client, url string) (Response, error) {
	t.Helper()
	return c.Post(t.Context(), url, http.Header{"X-A": {"b"}}, strings.NewReader("body"))
}

// TestDial has a name that leads to this machine: it passes Check, and must not
// pass the dialler.
func TestDial(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != "body" || r.Header.Get("X-A") != "b" {
			t.Errorf("got %q, %v, %v", body, err, r.Header)
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	url := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	other := newClient(t, 0, "192.168.1.0/24")
	for _, u := range []string{url, strings.Replace(url, "http:", "https:", 1)} {
		if _, err := post(t, other, u); !errors.Is(err, ErrAddress) || served.Load() != 0 {
			t.Errorf("%s: %v, %d served", u, err, served.Load())
		}
	}
	r, err := post(t, newClient(t, 0, "127.0.0.0/8", "::1/128"), url)
	if err != nil || r.Status != http.StatusCreated || served.Load() != 1 {
		t.Errorf("allowed: %+v, %v", r, err)
	}
}

func TestResponse(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
		case "/large":
			for range 1000 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/slow":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	defer close(stop)
	c := newClient(t, 0, "127.0.0.0/8")
	if r, err := post(t, c, server.URL+"/redirect"); err != nil || r.Status != http.StatusTemporaryRedirect {
		t.Errorf("redirect: %+v, %v", r, err)
	}
	if r, err := post(t, c, server.URL+"/large"); err != nil || len(r.Body) != maxResponse {
		t.Errorf("large: %d bytes, %v", len(r.Body), err)
	}
	_, err := post(t, newClient(t, 50*time.Millisecond, "127.0.0.0/8"), server.URL+"/slow")
	if err == nil {
		t.Error("a server that does not answer is waited for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Post(ctx, server.URL, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
