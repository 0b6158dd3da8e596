package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 10 * time.Second
)

// withServers starts PostgreSQL and MinIO, calls f with the environment that
// tells where they are, and stops them.
func withServers(ctx context.Context, p programs, f func(env []string) error) error {
	dir, err := os.MkdirTemp("", "securecam-test-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	// PostgreSQL runs as another user below this folder.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // holds only throw-away test data
		return err
	}

	postgres, databaseURL, err := startPostgres(ctx, p, filepath.Join(dir, "postgres"))
	if err != nil {
		return err
	}
	defer postgres.stop()
	minio, endpoint, err := startMinIO(ctx, p, filepath.Join(dir, "minio"))
	if err != nil {
		return err
	}
	defer minio.stop()
	return f([]string{
		"TEST_DATABASE_URL=" + databaseURL,
		"TEST_MINIO_ENDPOINT=" + endpoint,
		"TEST_MINIO_ACCESS_KEY=minioadmin",
		"TEST_MINIO_SECRET_KEY=minioadmin",
		// For tests that stop and start servers of their own.
		"TEST_POSTGRES_BIN=" + filepath.Dir(p.postgres),
		"TEST_MINIO_BIN=" + p.minio,
	})
}

// server is a running process with its output kept for a failed start.
type server struct {
	cmd  *exec.Cmd
	log  *bytes.Buffer
	done chan struct{} // closed when the process has ended
}

func start(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd, log: new(bytes.Buffer), done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		_ = cmd.Wait() // an early end shows in ready, a late one in the tests
	}()
	return s, nil
}

// ready waits until check succeeds; it fails when the process ends first.
func (s *server) ready(ctx context.Context, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s ended at start:\n%s", filepath.Base(s.cmd.Path), s.log)
		case <-ctx.Done():
			s.stop()
			return fmt.Errorf("%s did not start: %w\n%s", filepath.Base(s.cmd.Path), err, s.log)
		case <-tick.C:
		}
	}
}

// stop interrupts the process, kills it when it does not end, and waits.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.done
	}
}

func startPostgres(ctx context.Context, p programs, dir string) (*server, string, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, "", err
	}
	attr, err := unprivileged(dir)
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(ctx, p.initdb, "-D", data, "-U", "securecam", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	// Durability is not what the tests look at: a killed server is not restarted.
	cmd := exec.Command(p.postgres, "-D", data, "-p", strconv.Itoa(port), //nolint:noctx // stop ends it, after the tests
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "max_connections=300",
		"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	cmd.SysProcAttr, cmd.Dir = attr, dir
	s, err := start(cmd)
	if err != nil {
		return nil, "", fmt.Errorf("postgres: %w", err)
	}
	url := fmt.Sprintf("postgres://securecam@127.0.0.1:%d/postgres?sslmode=disable", port)
	pgIsReady := filepath.Join(filepath.Dir(p.postgres), "pg_isready")
	return s, url, s.ready(ctx, func(ctx context.Context) error {
		return exec.CommandContext(ctx, pgIsReady, "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(port)).Run()
	})
}

func startMinIO(ctx context.Context, p programs, dir string) (*server, string, error) {
	port, err := freePort(ctx)
	if err != nil {
		return nil, "", err
	}
	endpoint := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	cmd := exec.Command(p.minio, "server", "--address", endpoint, dir) //nolint:noctx // stop ends it, after the tests
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER=minioadmin", "MINIO_ROOT_PASSWORD=minioadmin", "MINIO_BROWSER=off")
	s, err := start(cmd)
	if err != nil {
		return nil, "", fmt.Errorf("minio: %w", err)
	}
	return s, endpoint, s.ready(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+endpoint+"/minio/health/ready", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}
