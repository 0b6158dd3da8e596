package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asSecurecam makes the test binary behave as the product itself, so that
// tests can kill it.
const asSecurecam = "TEST_AS_SECURECAM"

func TestMain(m *testing.M) {
	if os.Getenv(asSecurecam) != "" {
		main()
		os.Exit(0)
	}
	code := m.Run()
	if err := removeMedia(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if code == 0 {
		if err := goleak.Find(
			// fasthttp keeps one clock for the whole process, and the sweeper
			// of a stopped server's workers ends after its nap of 10 s.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
		); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// process is a securecam of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when it has ended
	err  error         // how, once it has
}

var addressLine = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)

// startProcess runs securecam on free ports with its data in dir.
func startProcess(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(append([]string{"serve"}, freePorts...), settings...)...)
	cmd.Env = append(os.Environ(), asSecurecam+"=1", "DATA_DIR="+filepath.Join(dir, "data"))
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var logs strings.Builder
	cmd.Stderr = &logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	lines := bufio.NewScanner(out)
	for p.url == "" && lines.Scan() {
		p.url = addressLine.FindString(lines.Text())
	}
	if p.url == "" {
		err := cmd.Wait()
		t.Fatalf("securecam printed no address: %v\n%s", err, logs.String())
	}
	go func() {
		defer close(p.done)
		for lines.Scan() { // drain, so that it never blocks
		}
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-p.done               // it writes neither logs nor data any more
		if t.Failed() {
			t.Logf("securecam's log:\n%s", logs.String())
		}
	})
	return p
}

// wait returns how the process ended.
func (p *process) wait(within time.Duration) error {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), within)
	defer cancel()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.t.Fatalf("securecam runs on %v after its signal", within)
		return nil
	}
}

// recordFor runs the story up to a live, recorded stream.
func recordFor(t *testing.T, p *process) *apiClient {
	t.Helper()
	user := signUp(t, p.url, "process@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	stream := startStream(t, camera, camera.connect(), client, info.Device.ID)
	publisher := publish(t, camera, stream)
	t.Cleanup(func() {
		if err := publisher.Vanish(); err != nil {
			t.Error(err)
		}
	})
	awaitGrowth(t, play(t, client, stream))
	awaitRecorded(t, client)
	return client
}

// TestTerminatedWithStalledClients holds that clients that do not read what
// they asked for, or do not finish what they say, cost no recording.
func TestTerminatedWithStalledClients(t *testing.T) {
	t.Parallel()
	for name, stall := range map[string]func(*testing.T, net.Conn){
		"pipelined reader": func(t *testing.T, conn net.Conn) {
			requests := []byte(strings.Repeat("GET /sim HTTP/1.1\r\nHost: a\r\n\r\n", 100))
			for err := error(nil); err == nil; { // until the server can neither write nor take more
				if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
					t.Fatal(err)
				}
				_, err = conn.Write(requests)
			}
		},
		"half-sent request": func(t *testing.T, conn net.Conn) {
			const half = "POST /devices/register HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n{"
			if _, err := io.WriteString(conn, half); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			p := startProcess(t, dir)
			client := recordFor(t, p)
			stalled, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(p.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stalled.Close() }()
			stall(t, stalled)
			client.must(http.StatusOK, "GET", "/streams", nil, nil) // whoever came before has been let in
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := p.wait(patience); err != nil {
				t.Fatalf("securecam ended with %v after SIGTERM, want exit code 0", err)
			}
			client = client.elsewhere(startProcess(t, dir).url)
			checkRecording(t, client, awaitRecording(t, client))
		})
	}
}

// elsewhere is the same client at a restarted server.
func (c *apiClient) elsewhere(base string) *apiClient {
	moved := *c
	moved.base = base
	return &moved
}

func TestTerminatedWhileRecording(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dir, settings := t.TempDir(), b.settings(t)
			p := startProcess(t, dir, settings...)
			client := recordFor(t, p)
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := p.wait(patience); err != nil {
				t.Fatalf("securecam ended with %v after SIGTERM, want exit code 0", err)
			}
			client = client.elsewhere(startProcess(t, dir, settings...).url)
			checkRecording(t, client, awaitRecording(t, client))
		})
	}
}

func TestKilledWhileRecording(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			dir, settings := t.TempDir(), b.settings(t)
			p := startProcess(t, dir, settings...)
			client := recordFor(t, p)
			if err := p.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = p.wait(patience) // it was killed
			client = client.elsewhere(startProcess(t, dir, settings...).url)
			r := awaitRecording(t, client)
			if r.DurationMS < 1000 {
				t.Errorf("the recording of a killed server lasts %d ms, want what was recorded but the last second", r.DurationMS)
			}
			checkRecording(t, client, r)
		})
	}
}

// TestUnreachable holds that a server without its database or bucket says so
// in one line and ends with exit code 1.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		settings []string
		want     string
	}{
		{"database", []string{"--database-url=postgres://nobody:hush@127.0.0.1:1/none?connect_timeout=2"}, "database"},
		{"bucket", []string{
			"--minio-endpoint=127.0.0.1", "--minio-port=1", "--minio-access-key=a", "--minio-secret-key=hushhush",
		}, "object store"},
		{"bus", []string{"--nats-url=nats://127.0.0.1:1"}, "NATS"},
		{"setting", []string{"--database-url=mysql://x"}, "DATABASE_URL"},
		{"port", []string{"--port=70000"}, "PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := append(append([]string{"serve", "--data-dir=" + t.TempDir()}, freePorts...), test.settings...)
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), asSecurecam+"=1")
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			out := stdout.String() + stderr.String()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Fatalf("exit code %d (%v), want 1:\n%s", cmd.ProcessState.ExitCode(), err, out)
			}
			line, rest, _ := strings.Cut(stderr.String(), "\n")
			if !strings.HasPrefix(line, "securecam: ") || !strings.Contains(line, test.want) || rest != "" {
				t.Errorf("standard error has %q, want one line that names the %s", stderr.String(), test.want)
			}
			if strings.Contains(out, "hush") {
				t.Errorf("the output shows a password:\n%s", out)
			}
		})
	}
}

func TestSecondStartKeepsSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, dir)
	user := signUp(t, p.url, "again@example.org")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.wait(patience); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "data", secretsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secrets' file is %v (%v), want mode 0600", info, err)
	}
	user = user.elsewhere(startProcess(t, dir).url)
	user.must(http.StatusOK, "GET", "/devices", nil, nil)
}

// TestOneProcessPerFolder holds that a second server on the same folder is
// refused: it would take over recordings that the first still writes.
func TestOneProcessPerFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startProcess(t, dir)
	args := append([]string{"serve", "--data-dir=" + filepath.Join(dir, "data")}, freePorts...)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asSecurecam+"=1")
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "in use by another securecam") {
		t.Errorf("the second server ended with %v:\n%s", err, out)
	}
}
