package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/bench/peer"
	"github.com/securecam/securecam/store/storetest"
)

// freePort returns a TCP port of loopback that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// startNodes runs two processes on one PostgreSQL, whose embedded NATS servers
// form a cluster.
func startNodes(t *testing.T) (one, two *process) {
	t.Helper()
	testMedia(t)
	database, first := storetest.PostgresURL(t), freePort(t)
	start := func(clusterPort int) *process {
		port := freePort(t)
		return startProcess(t, t.TempDir(), "--port="+strconv.Itoa(port), "--node-url=http://127.0.0.1:"+strconv.Itoa(port),
			"--database-url="+database, "--better-auth-secret="+strings.Repeat("shared", 8),
			"--cluster-routes=127.0.0.1:"+strconv.Itoa(first), "--cluster-port="+strconv.Itoa(clusterPort))
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

	// What a killed node had begun, the other finishes: here, to have the
	// camera answer. It takes AckTimeout and a round of the worker.
	there := camera.elsewhere(one.url).connect()
	begun := client.elsewhere(two.url).command(info.Device.ID)
	awaitCommandID(t, there, begun.ID)
	if err := two.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = two.wait(10 * time.Second) // it was killed
	again := awaitCommandID(t, there, begun.ID)
	for again.RetryCount == 0 { // what the camera got as it connected is no second attempt
		again = awaitCommandID(t, there, begun.ID)
	}
	if again.Status != "sent" {
		t.Errorf("delivered again as %+v", again)
	}
	there.send("command:ack", "9", map[string]string{"commandId": begun.ID, "status": "acknowledged"})
	eventually(t, 20*time.Second, func() string {
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
	eventually(t, 20*time.Second, func() string {
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
	eventually(t, 30*time.Second, func() string {
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
		decode(t, awaitLong(t, camera, "command:received", time.Minute), &c)
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

func signalAcross(t *testing.T, stream string, clientSocket, cameraSocket *socket) {
	t.Helper()
	clientSocket.send("webrtc:signal", "s", map[string]any{"streamSessionId": stream, "signal": map[string]string{"type": "offer"}})
	var signal map[string]json.RawMessage
	decode(t, cameraSocket.await("webrtc:signal"), &signal)
	if string(signal["signal"]) != `{"type":"offer"}` || len(signal["fromDeviceId"]) == 0 {
		t.Errorf("heard %s", signal)
	}
}
