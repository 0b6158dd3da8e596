package mail

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server speaks as much SMTP as it takes to get a letter.
type server struct {
	t        *testing.T
	listener net.Listener
	serving  sync.WaitGroup
	letters  chan string
	refuse   string // the answer to RCPT, if not accepted
}

func newServer(t *testing.T, refuse string) *server {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, listener: l, letters: make(chan string, 10), refuse: refuse}
	s.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.serving.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.serving.Wait()
	})
	return s
}

func (s *server) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	in := bufio.NewScanner(conn)
	say("220 test")
	var letter strings.Builder
	for data := false; in.Scan(); {
		line := in.Text()
		switch verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0]); {
		case data && line == ".":
			data = false
			s.letters <- letter.String()
			say("250 ok")
		case data:
			letter.WriteString(line + "\n")
		case verb == "EHLO":
			say("250-test")
			say("250 AUTH PLAIN")
		case verb == "AUTH":
			say("235 ok")
		case verb == "RCPT" && s.refuse != "":
			say(s.refuse)
		case verb == "DATA":
			data = true
			say("354 go on")
		case verb == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *server) url() string { return "smtp://user:secret@" + s.listener.Addr().String() + "?tls=off" }

// running returns a sender whose Run runs.
func running(t *testing.T, cfg Config) *SMTP {
	t.Helper()
	cfg.From = "SecureCam <cam@example.org>"
	s, err := NewSMTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// await waits until something is true.
func await(t *testing.T, is func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it does not become true")
		}
	}
}

func TestSend(t *testing.T) {
	t.Parallel()
	server := newServer(t, "")
	s := running(t, Config{Server: server.url()})
	if err := s.Send("ada@example.org", "Bücher", "See\nhttps://cam.example/x?a=1&b=2\n"); err != nil {
		t.Fatal(err)
	}
	letter := <-server.letters
	for _, want := range []string{
		"To: <ada@example.org>", `From: "SecureCam" <cam@example.org>`, "Subject: =?UTF-8?q?B=C3=BCcher?=",
		"Auto-Submitted: auto-generated", "https://cam.example/x?a",
	} {
		if !strings.Contains(letter, want) {
			t.Errorf("%q is not in\n%s", want, letter)
		}
	}
	await(t, func() bool { return s.Stats().Sent == 1 })
}

func TestRefusedForGoodIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	s := running(t, Config{Server: newServer(t, "550 nobody here").url()})
	if err := s.Send("nobody@example.org", "x", "y"); err != nil {
		t.Fatal(err)
	}
	await(t, func() bool { return s.Stats().Failed == 1 })
}

// TestServerGone has a server that is away for longer than letters wait.
func TestServerGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := NewSMTP(Config{Server: "smtp://gone.example", From: "cam@example.org"})
		if err != nil {
			t.Fatal(err)
		}
		tried := 0
		s.deliver = func(context.Context, letter) error { tried++; return errors.New("gone") }
		for i := range queueLength + 2 {
			err := s.Send("ada@example.org", "x", "y")
			if full := i >= queueLength; errors.Is(err, ErrFull) != full {
				t.Fatalf("letter %d: got %v", i, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
		// Each letter takes six seconds; what is left at the end is counted.
		if got := s.Stats(); tried < 20 || got.Failed < queueLength || got.Full != 2 || got.Sent != 0 {
			t.Errorf("tried %d times, got %+v", tried, got)
		}
	})
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{
		"smtp://mail.example.org": true, "smtps://u:p@mail.example.org:465": true, "smtp://[::1]:25?tls=off": true,
		"": false, "mail.example.org": false, "http://mail.example.org": false, "smtp://": false,
		"smtp://u:hunter2@mail.example.org:x": false, "smtp://u:hunter2@mail.example.org:99999": false,
	} {
		if _, _, err := ParseServer(server); (err == nil) != ok {
			t.Errorf("%q: got %v", server, err)
		} else if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in %v", err)
		}
	}
	if _, err := NewSMTP(Config{Server: "smtp://mail.example.org", From: "nobody"}); err == nil {
		t.Error("a sender without an address passes")
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	if err := (Log{slog.New(slog.NewTextHandler(&log, nil))}).Send("ada@example.org", "x", "https://cam.example/y"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "https://cam.example/y") {
		t.Errorf("got %s", log.String())
	}
}
