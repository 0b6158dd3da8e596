package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/store/storetest"
)

// freePort returns a TCP port of loopback that nobody listens on, and that the
// system gives to nobody who does not ask for it: it stays free while a server
// on it is started again.
func freePort(t *testing.T) string {
	t.Helper()
	for {
		port := strconv.Itoa(20_000 + rand.IntN(10_000))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = l.Close()
			return port
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// startNodes runs two processes on one PostgreSQL and one bucket, whose embedded
// NATS servers form a cluster.
func startNodes(t *testing.T) (one, two *process) {
	t.Helper()
	testMedia(t)
	shared, first := append(minioSettings(t), "--database-url="+storetest.PostgresURL(t)), freePort(t)
	start := func(clusterPort string) *process {
		port := freePort(t)
		for port == clusterPort { // which nobody listens on yet
			port = freePort(t)
		}
		return startProcess(t, t.TempDir(), append([]string{
			"--port=" + port, "--node-url=http://127.0.0.1:" + port,
			"--better-auth-secret=" + strings.Repeat("shared", 8),
			"--cluster-routes=127.0.0.1:" + first, "--cluster-port=" + clusterPort,
		}, shared...)...)
	}
	one = start(first)
	return one, start(freePort(t))
}

// comeBack opens the gateway with the cursor of the last event seen.
func (c *apiClient) comeBack(after string) *socket {
	c.t.Helper()
	back := *c
	back.after = after
	return back.connect()
}

type commandJSON struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	RetryCount int    `json:"retryCount"`
}

func (c *apiClient) command(camera string) (sent commandJSON) {
	c.t.Helper()
	c.must(http.StatusCreated, "POST", "/commands", map[string]string{"targetDeviceId": camera, "commandType": "blink"}, &sent)
	return sent
}

// TestTwoNodes has a camera at one node and its client at the other, all the
// way from presence to media, and then kills a node.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	one, two := startNodes(t)
	user := signUp(t, one.url, uuid.NewString()+"@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	camera = camera.elsewhere(two.url)
	cameraSocket, clientSocket := camera.connect(), client.connect()
	awaitOnline(t, user, info.Device.ID)
	awaitNeighbours(t, client, cameraSocket, info.Device.ID)

	commandAcross(t, client, clientSocket, cameraSocket, info.Device.ID)
	clientSocket = eventsMissed(t, client.elsewhere(two.url), client, clientSocket, cameraSocket, info.Device.ID)
	stream := streamAcross(t, one, camera, client, cameraSocket, clientSocket, info.Device.ID)
	signalAcross(t, stream, clientSocket, cameraSocket)
	filesAcross(t, user, two.url, info.Device.ID)

	// What a killed node had begun, the other finishes: here, to have the
	// camera answer. It takes AckTimeout and a round of the worker.
	there := camera.elsewhere(one.url).connect()
	begun := client.elsewhere(two.url).command(info.Device.ID)
	awaitCommandID(t, there, begun.ID)
	if err := two.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = two.wait(patience) // it was killed
	again := awaitCommandID(t, there, begun.ID)
	for again.RetryCount == 0 { // what the camera got as it connected is no second attempt
		again = awaitCommandID(t, there, begun.ID)
	}
	if again.Status != "sent" {
		t.Errorf("delivered again as %+v", again)
	}
	there.send("command:ack", "9", map[string]string{"commandId": begun.ID, "status": "acknowledged"})
	eventually(t, patience, func() string {
		var c commandJSON
		client.must(http.StatusOK, "GET", "/commands/"+begun.ID, nil, &c)
		if c.Status != "acknowledged" || c.RetryCount == 0 {
			return fmt.Sprintf("the command is %+v", c)
		}
		return ""
	})
}

func awaitOnline(t *testing.T, user *apiClient, device string) {
	t.Helper()
	eventually(t, patience, func() string {
		var d deviceJSON
		user.must(http.StatusOK, "GET", "/devices/"+device, nil, &d)
		if d.Status != "online" {
			return "the camera is " + d.Status
		}
		return ""
	})
}

// awaitNeighbours waits until the nodes have found each other.
func awaitNeighbours(t *testing.T, client *apiClient, camera *socket, cameraID string) {
	t.Helper()
	eventually(t, patience, func() string {
		if sent := client.command(cameraID); sent.Status != "sent" {
			return "a command to the other node is " + sent.Status
		}
		camera.await("command:received")
		return ""
	})
}

// awaitCommandID skips what else the camera is told.
func awaitCommandID(t *testing.T, camera *socket, id string) (c commandJSON) {
	t.Helper()
	for c.ID != id {
		decode(t, awaitLong(t, camera, "command:received", patience), &c)
	}
	return c
}

// commandAcross sends commands to the other node and answers them there.
func commandAcross(t *testing.T, client *apiClient, clientSocket, cameraSocket *socket, camera string) {
	t.Helper()
	var took []time.Duration
	for range 21 {
		began := time.Now()
		sent := client.command(camera)
		awaitCommandID(t, cameraSocket, sent.ID)
		took = append(took, time.Since(began))
		cameraSocket.send("command:ack", sent.ID, map[string]string{"commandId": sent.ID, "status": "acknowledged"})
		for status := (commandJSON{}); status.ID != sent.ID || status.Status != "acknowledged"; {
			decode(t, clientSocket.await("command:status"), &status)
		}
	}
	slices.Sort(took)
	t.Logf("a command reaches a camera at the other node in %v at the median, %v at most", took[len(took)/2], took[len(took)-1])
}

// eventsMissed has the client away from the first node while its command is
// answered, and come back to the second one.
func eventsMissed(t *testing.T, there, here *apiClient, clientSocket, cameraSocket *socket, camera string) *socket {
	t.Helper()
	seen := clientSocket.cursor()
	if err := clientSocket.conn.Close(); err != nil {
		t.Fatal(err)
	}
	sent := here.command(camera)
	awaitCommandID(t, cameraSocket, sent.ID)
	cameraSocket.send("command:ack", "", map[string]string{"commandId": sent.ID, "status": "rejected"})
	cameraSocket.send("ping", "after it", map[string]string{})
	cameraSocket.await("reply")
	back := there.comeBack(seen)
	var status commandJSON
	for status.ID != sent.ID {
		decode(t, back.await("command:status"), &status)
	}
	if status.Status != "rejected" {
		t.Errorf("missed %+v", status)
	}
	return back
}

// streamAcross asks at one node for a stream that the camera accepts at the
// other, and watches it from there, by credentials and by redirect.
func streamAcross(t *testing.T, one *process, camera, client *apiClient, cameraSocket, clientSocket *socket, cameraID string) string {
	t.Helper()
	stream := startStream(t, camera, cameraSocket, client, cameraID)
	var started streamJSON
	decode(t, clientSocket.await("stream:started"), &started)
	if started.ID != stream {
		t.Errorf("started %+v, want %s", started, stream)
	}
	publisher := publish(t, camera, stream)
	t.Cleanup(func() { _ = publisher.Vanish() })
	awaitRecordingBegun(t, client)
	viewer := play(t, client, stream)
	awaitGrowth(t, viewer)
	var c credentialsJSON
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	if !strings.HasPrefix(c.URL, camera.base) {
		t.Errorf("credentials for %s, want the camera's node %s", c.URL, camera.base)
	}
	wrong := one.url + strings.TrimPrefix(c.URL, camera.base)
	redirected, err := peer.Play(t.Context(), peer.Endpoint{URL: wrong, Token: c.Token})
	if err != nil {
		t.Fatalf("play by redirect: %v", err)
	}
	t.Cleanup(func() { _ = redirected.Vanish() })
	awaitGrowth(t, redirected)
	return stream
}

// filesAcross downloads at the user's node what the other one has recorded, and
// uploads there what this one has signed.
func filesAcross(t *testing.T, user *apiClient, there, camera string) {
	t.Helper()
	user.must(http.StatusOK, "PATCH", "/devices/"+camera, map[string]string{"recordingPolicy": "off"}, nil)
	checkRecording(t, user, awaitRecording(t, user))

	const file = "a picture"
	var created struct {
		Video  struct{ ID string }
		Upload struct {
			URL     string
			Headers map[string]string
		}
	}
	user.must(http.StatusCreated, "POST", "/videos/upload-url",
		map[string]any{"name": "a.png", "contentType": "image/png", "size": len(file)}, &created)
	if !strings.HasPrefix(created.Upload.URL, user.base) {
		t.Fatalf("upload to %s, want %s", created.Upload.URL, user.base)
	}
	url := there + strings.TrimPrefix(created.Upload.URL, user.base)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range created.Upload.Headers {
		req.Header.Set(name, value)
	}
	res, err := user.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body := readAll(t, res.Body)
	_ = res.Body.Close()
	if res.StatusCode/100 != 2 {
		t.Fatalf("PUT %s: %s %s", url, res.Status, body)
	}
	user.elsewhere(there).must(http.StatusOK, "POST", "/videos/"+created.Video.ID+"/complete", nil, nil)
	var download struct{ URL string }
	user.must(http.StatusOK, "GET", "/videos/"+created.Video.ID+"/download-url", nil, &download)
	if got := fetch(t, user, download.URL, ""); string(got) != file {
		t.Errorf("downloaded %q, want %q", got, file)
	}
}

// TestNodesThatShareTooLittle holds that a process ends with one line when it
// comes to others on the same PostgreSQL and NATS with a secret of its own, or
// with objects on its own disk, and that one that is alone needs neither.
func TestNodesThatShareTooLittle(t *testing.T) {
	t.Parallel()
	nats, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	go nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(patience) {
		t.Fatal("the NATS server did not start")
	}
	secret := "--better-auth-secret=" + strings.Repeat("shared", 8)
	shared := []string{"--nats-url=" + nats.ClientURL(), "--database-url=" + storetest.PostgresURL(t)}
	startProcess(t, t.TempDir(), append([]string{secret}, shared...)...)
	// Another installation on the same NATS has nothing to do with it.
	startProcess(t, t.TempDir(), shared[0], "--database-url="+storetest.PostgresURL(t))
	for setting, own := range map[string][]string{"BETTER_AUTH_SECRET": minioSettings(t), "MINIO_ENDPOINT": {secret}} {
		args := append(append([]string{"serve", "--data-dir=" + t.TempDir()}, freePorts...), append(own, shared...)...)
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), asSecurecam+"=1")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		err := cmd.Run()
		line, rest, _ := strings.Cut(stderr.String(), "\n")
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(line, setting) || rest != "" {
			t.Errorf("ended with %v and %q, want one line that names %s", err, stderr.String(), setting)
		}
	}
}

func signalAcross(t *testing.T, stream string, clientSocket, cameraSocket *socket) {
	t.Helper()
	clientSocket.send("webrtc:signal", "s", map[string]any{"streamSessionId": stream, "signal": map[string]string{"type": "offer"}})
	var signal map[string]json.RawMessage
	decode(t, cameraSocket.await("webrtc:signal"), &signal)
	if string(signal["signal"]) != `{"type":"offer"}` || len(signal["fromDeviceId"]) == 0 {
		t.Errorf("heard %s", signal)
	}
}
