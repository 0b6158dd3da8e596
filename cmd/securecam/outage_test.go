//go:build unix

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// backend is a server of the test's own that can be stopped and started again.
type backend struct {
	t     *testing.T
	make  func() *exec.Cmd
	ready func() error
	cmd   *exec.Cmd
}

func (b *backend) start() {
	b.t.Helper()
	b.cmd = b.make()
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	eventually(b.t, patience, func() string {
		if err := b.ready(); err != nil {
			return err.Error()
		}
		return ""
	})
}

// stop ends the server at once, as a crash does.
func (b *backend) stop() {
	if b.cmd != nil {
		_ = b.cmd.Process.Signal(syscall.SIGQUIT) // PostgreSQL: immediate shutdown
		_ = b.cmd.Wait()                          // how it ends does not matter
		b.cmd = nil
	}
}

func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: run the tests by make test", variable)
	}
	return path
}

// ownPostgres starts a PostgreSQL server and returns its URL.
func ownPostgres(t *testing.T) (*backend, string) {
	t.Helper()
	bin, port := program(t, "TEST_POSTGRES_BIN"), freePort(t)
	dir, err := os.MkdirTemp("", "securecam-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() == 0 { // which PostgreSQL refuses to run as
		u, err := user.Lookup("postgres")
		if err != nil {
			t.Fatal(err)
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
			t.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.CommandContext(t.Context(), filepath.Join(bin, "initdb"), "-D", data, "-U", "securecam", "-A", "trust", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	b := &backend{t: t}
	b.make = func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port,
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+dir, "-c", "fsync=off")
		cmd.SysProcAttr, cmd.Dir = attr, dir
		return cmd
	}
	b.ready = func() error {
		return exec.CommandContext(t.Context(), filepath.Join(bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port).Run()
	}
	t.Cleanup(b.stop)
	b.start()
	return b, "postgres://securecam@127.0.0.1:" + port + "/postgres?sslmode=disable"
}

// ownMinIO starts a MinIO server and returns its port.
func ownMinIO(t *testing.T) (*backend, string) {
	t.Helper()
	bin, port, dir := program(t, "TEST_MINIO_BIN"), freePort(t), t.TempDir()
	b := &backend{t: t}
	b.make = func() *exec.Cmd {
		cmd := exec.Command(bin, "server", "--address", "127.0.0.1:"+port, dir)
		cmd.Env = append(os.Environ(), "MINIO_ROOT_USER=minioadmin", "MINIO_ROOT_PASSWORD=minioadmin", "MINIO_BROWSER=off")
		return cmd
	}
	b.ready = func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/minio/health/ready", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	}
	t.Cleanup(func() {
		b.stop()
		http.DefaultClient.CloseIdleConnections()
	})
	b.start()
	return b, port
}

// outageLength is how long each server is gone: as long as what is looked at
// takes, or what OUTAGE_SECONDS says.
func outageLength(t *testing.T) time.Duration {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("OUTAGE_SECONDS"))
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// TestOutages stops PostgreSQL and MinIO, each in turn, and then has PostgreSQL
// hang, under a live stream that is being recorded. What was queued before and
// meanwhile arrives in the end.
func TestOutages(t *testing.T) {
	t.Parallel()
	postgres, databaseURL := ownPostgres(t)
	minio, port := ownMinIO(t)
	app := startApp(t, "--database-url="+databaseURL, "--minio-endpoint=127.0.0.1", "--minio-port="+port, "--minio-bucket=test",
		"--minio-access-key=minioadmin", "--minio-secret-key=minioadmin", "--outgoing-networks=127.0.0.0/8")
	user := signUp(t, app.url, "outage@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	cameraSocket, clientSocket := camera.connect(), client.connect()
	stream := startStream(t, camera, cameraSocket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	viewer := play(t, client, stream)
	awaitGrowth(t, viewer)
	work := queueWork(t, user, camera, client)

	for name, down := range map[string]*backend{"database": postgres, "objects": minio} {
		down.stop()
		began := time.Now()
		for again := true; again; again = time.Since(began) < outageLength(t) {
			awaitGrowth(t, viewer) // and so does the recording: see below
			unavailable(t, user, http.MethodGet, "/ops/ready")
			if name == "database" {
				unavailable(t, user, http.MethodGet, "/devices")
				unavailable(t, client, http.MethodPost, "/streams/"+stream+"/end")
			}
		}
		uploaded := func() {}
		if name == "objects" {
			uploaded = work.withoutObjects()
		}
		t.Logf("%s was gone for %v", name, time.Since(began).Round(time.Second))
		down.start()
		awaitReady(t, user)
		uploaded()
		awaitGrowth(t, viewer)
		if s := client.stream(stream); s.Status != "streaming" || viewer.Ended() {
			t.Fatalf("after the outage of %s the stream is %+v", name, s)
		}
	}

	// A database that hangs is worse than one that is gone: nothing says so.
	thaw := postgres.freeze()
	awaitGrowth(t, viewer)
	for _, path := range []string{"/devices", "/ops/ready"} {
		unavailable(t, user, http.MethodGet, path)
	}
	unavailable(t, client, http.MethodPost, "/streams/"+stream+"/end")
	awaitGrowth(t, viewer)
	thaw()
	awaitReady(t, user)
	work.delivered()

	// What is queued now comes at once: the sockets are still there.
	var command struct{ ID string }
	client.must(http.StatusCreated, "POST", "/commands", map[string]any{"targetDeviceId": info.Device.ID, "commandType": "zoom"}, &command)
	decode(t, cameraSocket.await("command:received"), &command)
	client.must(http.StatusOK, "POST", "/streams/"+stream+"/end", map[string]string{}, nil)
	clientSocket.await("stream:ended")
	if err := publisher.Vanish(); err != nil {
		t.Error(err)
	}
	checkRecording(t, user, awaitRecording(t, user))
}

func awaitReady(t *testing.T, c *apiClient) {
	t.Helper()
	eventually(t, patience, func() string {
		if status, body := c.raw("GET", "/ops/ready", nil); status != http.StatusOK {
			return string(body)
		}
		return ""
	})
}

// unavailable waits until the answer is 503 with a code and Retry-After: the
// pool notices a dead server by its next query.
func unavailable(t *testing.T, c *apiClient, method, path string) {
	t.Helper()
	eventually(t, patience, func() string {
		req, err := http.NewRequestWithContext(t.Context(), method, c.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", c.base)
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		res, err := c.http.Do(req)
		if err != nil {
			return err.Error()
		}
		body := readAll(t, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || path != "/ops/ready" && res.Header.Get("Retry-After") == "" {
			return fmt.Sprintf("%s %s: %s, Retry-After %q, %s", method, path, res.Status, res.Header.Get("Retry-After"), body)
		}
		return ""
	})
}
