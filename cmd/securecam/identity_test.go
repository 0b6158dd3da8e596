package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// mailbox is a mail server that keeps each letter as a file of its folder.
type mailbox struct {
	t       *testing.T
	dir     string
	serving sync.WaitGroup
	mu      sync.Mutex // guards count
	count   int
}

// newMailbox returns where to send letters and where they are then.
func newMailbox(t *testing.T) (url, dir string) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{t: t, dir: t.TempDir()}
	m.serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.serving.Go(func() { m.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		m.serving.Wait()
	})
	return "smtp://" + l.Addr().String() + "?tls=off", m.dir
}

func (m *mailbox) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	say := func(line string) { _, _ = fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mailbox")
	var letter []string
	inLetter := false
	for in := bufio.NewScanner(conn); in.Scan(); {
		line := strings.TrimSuffix(in.Text(), "\r")
		switch {
		case inLetter && line == ".":
			inLetter = false
			m.keep(strings.Join(letter, "\n"))
			say("250 ok")
		case inLetter:
			letter = append(letter, line)
		case strings.HasPrefix(line, "DATA"):
			inLetter, letter = true, nil
			say("354 go on")
		case strings.HasPrefix(line, "QUIT"):
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// keep writes a letter whole before it has its name.
func (m *mailbox) keep(letter string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count++
	half, whole := filepath.Join(m.t.TempDir(), "letter"), filepath.Join(m.dir, strconv.Itoa(m.count))
	if err := os.WriteFile(half, []byte(letter), 0o600); err != nil {
		m.t.Error(err)
	}
	if err := os.Rename(half, whole); err != nil {
		m.t.Error(err)
	}
}

// startPublic starts the product under a name, with a mailbox.
func startPublic(t *testing.T, settings ...string) (base, letters string) {
	t.Helper()
	smtp, letters := newMailbox(t)
	port := freePort(t)
	base = "http://localhost:" + port
	startApp(t, append(settings, "--port="+port, "--better-auth-base-url="+base, "--smtp-url="+smtp,
		"--mail-from=SecureCam <cam@example.org>", "--rate-limits=off")...)
	return base, letters
}

// script runs a script of web/e2e.
func script(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := filepath.Abs("../../web/e2e/" + name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "node", append([]string{path}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestAccountPage has Chromium, with a security key that is not real, live
// through everything that the pages offer for accounts.
func TestAccountPage(t *testing.T) {
	t.Parallel()
	base, letters := startPublic(t)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script(t, "account.mjs", base, letters, shots)
}

// TestBetterAuthClient runs the npm package better-auth, as it is, against the
// server on both databases.
func TestBetterAuthClient(t *testing.T) {
	t.Parallel()
	for _, b := range backends[1:3] {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			base, letters := startPublic(t, b.settings(t)...)
			script(t, "identity.mjs", base, letters)
		})
	}
}
