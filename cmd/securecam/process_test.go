package main

import (
	"bufio"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asSecurecam makes the test binary behave as the product itself, so that
// tests can kill it.
const asSecurecam = "TEST_AS_SECURECAM"

func TestMain(m *testing.M) {
	if os.Getenv(asSecurecam) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a securecam of its own.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan error
}

var addressLine = regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)

// startProcess runs securecam on free ports with its data in dir.
func startProcess(t *testing.T, dir string, settings ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(append([]string{"serve"}, freePorts...), settings...)...) //nolint:noctx // killed by the test
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
	p := &process{t: t, cmd: cmd, done: make(chan error, 1)}
	lines := bufio.NewScanner(out)
	for p.url == "" && lines.Scan() {
		p.url = addressLine.FindString(lines.Text())
	}
	if p.url == "" {
		err := cmd.Wait()
		t.Fatalf("securecam printed no address: %v\n%s", err, logs.String())
	}
	go func() {
		for lines.Scan() { // drain, so that it never blocks
		}
		p.done <- cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
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
	case err := <-p.done:
		return err
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
	viewer := play(t, client, stream)
	awaitGrowth(t, viewer)
	awaitGrowth(t, viewer)
	return client
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
			if err := p.wait(40 * time.Second); err != nil {
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
			_ = p.wait(10 * time.Second) //nolint:errcheck // it was killed
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
		{"bucket", []string{"--minio-endpoint=127.0.0.1", "--minio-port=1", "--minio-access-key=a", "--minio-secret-key=hushhush"}, "object store"},
		{"bus", []string{"--nats-url=nats://127.0.0.1:1"}, "NATS"},
		{"setting", []string{"--database-url=mysql://x"}, "DATABASE_URL"},
		{"port", []string{"--port=70000"}, "PORT"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			args := append(append([]string{"serve", "--data-dir=" + t.TempDir()}, freePorts...), test.settings...)
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			cmd.Env = append(os.Environ(), asSecurecam+"=1")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != 1 {
				t.Fatalf("exit code %d (%v), want 1:\n%s", cmd.ProcessState.ExitCode(), err, out)
			}
			lines := strings.Split(strings.TrimSpace(string(out)), "\n")
			last := lines[len(lines)-1]
			if !strings.HasPrefix(last, "securecam: ") || !strings.Contains(last, test.want) {
				t.Errorf("the last line is %q, want it to name the %s", last, test.want)
			}
			if strings.Contains(string(out), "hush") {
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
	if err := p.wait(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "data", secretsFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secrets' file is %v (%v), want mode 0600", info, err)
	}
	user = user.elsewhere(startProcess(t, dir).url)
	user.must(http.StatusOK, "GET", "/devices", nil, nil)
}
