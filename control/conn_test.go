package control_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/control"
)

func dial(t *testing.T, s *server, request string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestSlowRequestsAreCut holds connections open as a slow loris does.
func TestSlowRequestsAreCut(t *testing.T) {
	t.Parallel()
	s := startHurried(t)
	for name, request := range map[string]string{
		"nothing":        "",
		"half a line":    "GET /si",
		"half a header":  "GET /sim HTTP/1.1\r\nHost: a\r\nX-A: b",
		"half a body":    "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"half a chunk":   "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
		"after a answer": "GET /sim HTTP/1.1\r\nHost: a\r\n\r\nGET /si",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, s, request)
			answer, err := io.ReadAll(conn) // ends when the server hangs up
			if err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
				t.Errorf("after %q: %v", answer, err)
			}
		})
	}
}

// TestSlowDownloadsLive reads an answer for longer than a request may take.
func TestSlowDownloadsLive(t *testing.T) {
	t.Parallel()
	s := startHurried(t)
	conn := dial(t, s, "GET /objects/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	br := bufio.NewReader(conn)
	var got int64
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < hurried+hurried/2; <-tick.C {
		n, err := io.CopyN(io.Discard, br, 64<<10)
		if got += n; err != nil {
			t.Fatalf("after %d bytes: %v", got, err)
		}
	}
	n, err := io.Copy(io.Discard, br)
	if got += n; err != nil || got < bigSize {
		t.Errorf("got %d bytes, %v", got, err)
	}
}

func TestShutdownWaits(t *testing.T) {
	t.Parallel()
	s := startHurried(t)
	conn := dial(t, s, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	idle := dial(t, s, "")
	<-s.entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	untilRefused(t, s)
	select {
	case err := <-down:
		t.Fatalf("shut down during a request: %v", err)
	case err := <-s.served:
		t.Fatalf("Serve returned during a request: %v", err)
	default:
	}
	close(s.release)
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "done") {
		t.Errorf("got %q, %v", answer, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	err = <-s.served
	s.served <- err
	if _, err := io.ReadAll(idle); err != nil {
		t.Errorf("the idle connection: %v", err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	t.Parallel()
	s := startWith(t, func(c *control.Config) { c.CutGrace = time.Minute })
	conn := dial(t, s, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	<-s.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := <-s.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request's context ended with %v", err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 503") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// TestShutdownCuts holds that clients that neither read nor finish what they
// say do not keep the server, once its patience has ended.
func TestShutdownCuts(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]string{
		"stalled download":  "GET /objects/big HTTP/1.1\r\nHost: a\r\n\r\n",
		"stalled pipeline":  strings.Repeat("GET /objects/big HTTP/1.1\r\nHost: a\r\n\r\n", 20),
		"half-sent request": "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
		"deaf request":      "GET /deaf HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &probe{entered: make(chan struct{}), release: make(chan struct{})}
			cfg := newConfig(p, io.Discard)
			cfg.ReadTimeout = time.Hour
			srv, err := control.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ln) }()
			conn := dial(t, &server{addr: ln.Addr().String()}, request)
			if name == "deaf request" {
				<-p.entered
				defer close(p.release)
			}
			if strings.HasPrefix(name, "stalled") {
				if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			// Whoever comes later is answered: by then, the first is known.
			(&server{url: "http://" + ln.Addr().String()}).do(t, "GET", "/sim", "")
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if n, err := io.Copy(io.Discard, conn); err == nil && n >= bigSize {
				t.Errorf("%d bytes came after the cut", n)
			}
		})
	}
}

// TestDrain holds that nobody new is let in while a request is answered yet.
func TestDrain(t *testing.T) {
	t.Parallel()
	s := start(t)
	conn := dial(t, s, "GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	<-s.entered
	if err := s.Drain(); err != nil {
		t.Fatal(err)
	}
	untilRefused(t, s)
	close(s.release)
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "done") {
		t.Errorf("got %q, %v", answer, err)
	}
}

func untilRefused(t *testing.T, s *server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
		if err != nil {
			break
		}
		_ = conn.Close()
	}
	if ctx.Err() != nil {
		t.Fatal("the listener stays open")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := tls.NewListener(plain, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	s := serve(t, ln, "https", func(c *control.Config) { c.ReadTimeout = hurried })
	roots := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(cert)
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots}}).DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /origin HTTP/1.1\r\nHost: cam.example\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "https://cam.example") {
		t.Errorf("got %q, %v", answer, err)
	}
	// A client that never shakes hands is cut, too.
	if _, err := io.ReadAll(dial(t, s, "")); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
}

func TestMalformedHTTP(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, request := range []string{
		"GARBAGE\r\n\r\n",
		"GET /x HTTP/1.1\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
	} {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 4") {
			t.Errorf("%q: got %q, %v", request, line, err)
		}
		_ = conn.Close()
	}
}
