package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/bench/peer"
)

// backends are the places that state and objects can live in; the story runs
// on every pair.
var backends = []struct {
	name     string
	settings func(t *testing.T) []string
}{
	{"sqlite-disk", func(*testing.T) []string { return nil }},
	{"sqlite-minio", minioSettings},
	{"postgres-disk", postgresSettings},
	{"postgres-minio", func(t *testing.T) []string { return append(postgresSettings(t), publicMinIOSettings(t)...) }},
}

func TestStory(t *testing.T) {
	t.Parallel()
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			app := startApp(t, b.settings(t)...)
			story(t, app.url)
		})
	}
}

// story is the product's main job from sign-up to the recording.
func story(t *testing.T, base string) {
	t.Helper()
	user := signUp(t, base, uuid.NewString()+"@example.org")
	camera, cameraInfo := user.register("camera")
	first, firstInfo := user.register("client")
	if len(firstInfo.Links) != 1 {
		t.Fatalf("the client was linked to %d cameras, want 1", len(firstInfo.Links))
	}
	cameraSocket, firstSocket := camera.connect(), first.connect()

	// The first viewer wakes the camera.
	var stream streamJSON
	first.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": cameraInfo.Device.ID}, &stream)
	if stream.Status != "requested" {
		t.Fatalf("a stream whose camera sleeps is %q, want requested", stream.Status)
	}
	command := awaitCommand(t, cameraSocket)
	cameraSocket.send("command:ack", "1", map[string]string{"commandId": command, "status": "acknowledged"})
	camera.must(http.StatusOK, "POST", "/streams/"+stream.ID+"/accept", nil, &stream)
	firstSocket.await("stream:started")
	publisher := publish(t, camera, stream.ID)
	awaitRecordingBegun(t, first)
	viewer := play(t, first, stream.ID)
	awaitGrowth(t, viewer)

	// The second one joins the running media session at once.
	second, _ := user.register("client")
	var joined streamJSON
	second.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": cameraInfo.Device.ID}, &joined)
	if joined.Status != "streaming" || joined.MediaSessionID != first.stream(stream.ID).MediaSessionID {
		t.Fatalf("the second stream is %+v, want it to join the media session", joined)
	}
	secondViewer := play(t, second, joined.ID)
	awaitGrowth(t, secondViewer)

	// The end of one stream leaves the other; the end of both ends the camera's session.
	first.must(http.StatusOK, "POST", "/streams/"+stream.ID+"/end", map[string]string{}, &stream)
	eventually(t, patience, func() string {
		if viewer.Ended() {
			return ""
		}
		return "the viewer of an ended stream is still connected"
	})
	awaitGrowth(t, secondViewer)
	second.must(http.StatusOK, "POST", "/streams/"+joined.ID+"/end", map[string]string{}, &joined)
	cameraSocket.await("stream:ended")
	if stream.Status != "completed" || joined.Status != "completed" {
		t.Errorf("the streams ended %q and %q, want completed", stream.Status, joined.Status)
	}
	if err := publisher.Vanish(); err != nil {
		t.Error(err)
	}
	checkRecording(t, second, awaitRecording(t, second))
}

func awaitCommand(t *testing.T, camera *socket) string {
	t.Helper()
	var command struct {
		ID          string `json:"id"`
		CommandType string `json:"commandType"`
	}
	decode(t, camera.await("command:received"), &command)
	if command.CommandType != "start_stream" {
		t.Fatalf("the camera was told %q, want start_stream", command.CommandType)
	}
	return command.ID
}

// publish connects a camera with a file of its own to a stream that it has
// accepted.
func publish(t *testing.T, camera *apiClient, stream string) *peer.Camera {
	t.Helper()
	var c credentialsJSON
	camera.must(http.StatusOK, "GET", "/streams/"+stream+"/publish-credentials", nil, &c)
	if c.Protocol != "whip" || len(c.ICEServers) == 0 {
		t.Fatalf("publish credentials are %+v, want WHIP and ICE servers", c)
	}
	p, err := peer.Publish(t.Context(), c.endpoint(), testMedia(t))
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return p
}

func play(t *testing.T, client *apiClient, stream string) *peer.Viewer {
	t.Helper()
	var c credentialsJSON
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	v, err := peer.Play(t.Context(), c.endpoint())
	if err != nil {
		t.Fatalf("play: %v", err)
	}
	t.Cleanup(func() {
		if err := v.Vanish(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// awaitGrowth waits until both tracks have brought more than a second of
// media from now on, without a hole.
func awaitGrowth(t *testing.T, v *peer.Viewer) {
	t.Helper()
	before, beforeAudio := v.Video(), v.Audio()
	eventually(t, patience, func() string {
		video, audio := v.Video(), v.Audio()
		if video.Frames < before.Frames+30 || audio.Packets < beforeAudio.Packets+50 {
			return fmt.Sprintf("video %+v, audio %+v", video, audio)
		}
		return ""
	})
}

// awaitRecordingBegun waits until the user's only recording has begun: a viewer
// may see pictures before.
func awaitRecordingBegun(t *testing.T, c *apiClient) {
	t.Helper()
	eventually(t, patience, func() string {
		var list struct {
			Items []recordingJSON `json:"items"`
		}
		c.must(http.StatusOK, "GET", "/recordings", nil, &list)
		if len(list.Items) != 1 {
			return fmt.Sprintf("%d recordings, want the one that has begun", len(list.Items))
		}
		return ""
	})
}

// metric is a number that the server counts.
func metric(t *testing.T, c *apiClient, name string) int64 {
	t.Helper()
	_, text := c.raw(http.MethodGet, "/ops/metrics", nil)
	found := regexp.MustCompile(`(?m)^securecam_` + name + ` (\S+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in\n%s", name, text)
	}
	n, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return int64(n)
}

// awaitRecorded waits until the server has recorded three seconds of testMedia:
// a busy one is behind what its viewers see.
func awaitRecorded(t *testing.T, c *apiClient) {
	t.Helper()
	const enough = 3 * (30 + 50) // of both tracks
	eventually(t, patience, func() string {
		if n := metric(t, c, "recorder_frames_total"); n < enough {
			return fmt.Sprintf("%d frames are recorded, want %d", n, enough)
		}
		return ""
	})
}

// awaitRecording waits until the user's only recording is ready.
func awaitRecording(t *testing.T, c *apiClient) recordingJSON {
	t.Helper()
	var list struct {
		Items []recordingJSON `json:"items"`
	}
	eventually(t, patience, func() string {
		c.must(http.StatusOK, "GET", "/recordings", nil, &list)
		if len(list.Items) == 1 && list.Items[0].Status == "ready" {
			return ""
		}
		return fmt.Sprintf("the recordings are %+v, want one that is ready", list.Items)
	})
	return list.Items[0]
}

// checkRecording downloads a recording and has independent programs read it.
func checkRecording(t *testing.T, c *apiClient, r recordingJSON) {
	t.Helper()
	file, url := downloaded(t, c, r)
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if part := fetch(t, c, url, "bytes=100-199"); string(part) != string(body[100:200]) {
		t.Error("a range of the recording differs from the file")
	}
	inspectRecording(t, file, time.Duration(r.DurationMS)*time.Millisecond)
}

// downloaded downloads a recording into a file, and returns from where.
func downloaded(t *testing.T, c *apiClient, r recordingJSON) (file, url string) {
	t.Helper()
	var download struct {
		URL string `json:"url"`
	}
	c.must(http.StatusOK, "GET", "/recordings/"+r.ID+"/download-url", nil, &download)
	if strings.HasPrefix(download.URL, "/") {
		download.URL = c.base + download.URL
	}
	file = filepath.Join(t.TempDir(), "recording.webm")
	body := fetch(t, c, download.URL, "")
	if int64(len(body)) != r.Size {
		t.Errorf("the recording has %d bytes, its row says %d", len(body), r.Size)
	}
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	return file, download.URL
}

func fetch(t *testing.T, c *apiClient, url, byteRange string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := http.StatusOK
	if byteRange != "" {
		req.Header.Set("Range", byteRange)
		want = http.StatusPartialContent
	}
	res, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != want {
		t.Fatalf("GET %s: got %s, want %d", url, res.Status, want)
	}
	return readAll(t, res.Body)
}

func TestCameraKilled(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--publisher-timeout-seconds=5")
	user := signUp(t, app.url, "killed@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	cameraSocket, clientSocket := camera.connect(), client.connect()
	stream := startStream(t, camera, cameraSocket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	awaitGrowth(t, play(t, client, stream))
	awaitRecorded(t, client)

	if err := publisher.Vanish(); err != nil {
		t.Fatal(err)
	}
	var ended streamJSON
	decode(t, awaitLong(t, clientSocket, "stream:ended", patience), &ended)
	if ended.Status != "failed" || ended.Reason != "camera_lost" {
		t.Errorf("the stream of a killed camera ended %+v, want failed with camera_lost", ended)
	}
	checkRecording(t, client, awaitRecording(t, client))
}

func TestViewerKilled(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--viewer-timeout-seconds=5")
	user := signUp(t, app.url, "viewer@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	other, _ := user.register("client")
	cameraSocket := camera.connect()
	stream := startStream(t, camera, cameraSocket, client, info.Device.ID)
	publisher := publish(t, camera, stream)
	var joined streamJSON
	other.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": info.Device.ID}, &joined)
	survivor := play(t, other, joined.ID)

	var c credentialsJSON
	client.must(http.StatusOK, "GET", "/streams/"+stream+"/subscribe-credentials", nil, &c)
	victim, err := peer.Play(t.Context(), c.endpoint())
	if err != nil {
		t.Fatal(err)
	}
	awaitGrowth(t, victim)
	if err := victim.Vanish(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, func() string {
		if s := client.stream(stream); s.Status != "completed" || s.Reason != "viewer_left" {
			return fmt.Sprintf("the stream of a killed viewer is %+v", s)
		}
		return ""
	})
	awaitGrowth(t, survivor)
	if err := publisher.Leave(t.Context()); err != nil {
		t.Error(err)
	}
}

// startStream requests a stream and accepts it as the camera.
func startStream(t *testing.T, camera *apiClient, cameraSocket *socket, client *apiClient, cameraID string) string {
	t.Helper()
	var stream streamJSON
	client.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": cameraID}, &stream)
	command := awaitCommand(t, cameraSocket)
	// Without an answer it comes again after a while.
	cameraSocket.send("command:ack", command, map[string]string{"commandId": command, "status": "acknowledged"})
	camera.must(http.StatusOK, "POST", "/streams/"+stream.ID+"/accept", nil, &stream)
	return stream.ID
}

func awaitLong(t *testing.T, s *socket, event string, within time.Duration) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	for {
		select {
		case e := <-s.events:
			if e.Event == event {
				return e.Data
			}
		case <-ctx.Done():
			t.Fatalf("no %s event in %v", event, within)
		}
	}
}
