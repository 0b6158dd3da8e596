package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestGStreamer has a third stack, GStreamer's webrtcbin, be a camera and a viewer: for Chromium, and for itself.
func TestGStreamer(t *testing.T) {
	app := startForBrowsers(t)
	user := signUp(t, app.url, "gstreamer@example.org")
	client, _ := user.register("client")
	chromium := startBrowsers(t, "stacks.mjs", app.url)
	for _, codec := range []string{"vp8", "vp9", "h264"} {
		t.Run(codec, func(t *testing.T) {
			mime := map[string]string{"vp8": "video/VP8", "vp9": "video/VP9", "h264": "video/H264"}[codec]
			gst := &gstCamera{t: t, user: user, codec: codec}
			stop := gst.publish()
			defer stop()
			stream, whep := request[json.RawMessage](client, gst.device)
			t.Logf("GStreamer to GStreamer: %s", gst.play(whep))
			var seen struct {
				Codec, Size string
				Decoded     int
			}
			chromium.ask("see", map[string]any{"credentials": whep}, &seen)
			if seen.Codec != mime || seen.Size != "640x360" {
				t.Errorf("Chromium sees %+v", seen)
			}
			t.Logf("GStreamer to Chromium: %+v", seen)
			client.must(http.StatusOK, "POST", "/streams/"+stream+"/end", nil, nil)

			device, whip := gst.goLive()
			chromium.ask("publish", map[string]any{"credentials": whip, "codec": codec}, nil)
			_, whep = request[json.RawMessage](client, device)
			t.Logf("Chromium to GStreamer: %s", gst.play(whep))
		})
	}
}

// gstCamera is a camera that is a GStreamer pipeline.
type gstCamera struct {
	t      *testing.T
	user   *apiClient
	codec  string
	device string
}

// goLive registers a camera and returns its id and where it publishes.
func (g *gstCamera) goLive() (device string, whip json.RawMessage) {
	g.t.Helper()
	var info registered
	g.user.must(http.StatusCreated, "POST", "/devices/register",
		map[string]string{"name": "camera " + g.codec, "role": "camera", "recordingPolicy": "off"}, &info)
	camera := &apiClient{t: g.t, base: g.user.base, http: g.user.http, token: info.Token}
	var live struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	return info.Device.ID, live.Credentials
}

// publish starts the pipeline and waits until it is connected.
func (g *gstCamera) publish() (stop func()) {
	g.t.Helper()
	device, whip := g.goLive()
	g.device = device
	ctx, cancel := context.WithTimeout(g.t.Context(), 3*time.Minute)
	cmd := g.command(ctx, "publish", whip)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	stop = func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); strings.TrimSpace(line) != "live" {
		stop()
		g.t.Fatalf("the camera says %q (%v)", line, err)
	}
	return stop
}

// play decodes pictures and sound, and returns what it saw.
func (g *gstCamera) play(whep json.RawMessage) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	out, err := g.command(ctx, "play", whep).Output()
	if err != nil {
		g.t.Fatalf("GStreamer does not play %s: %v", g.codec, err)
	}
	return strings.TrimSpace(string(out))
}

func (g *gstCamera) command(ctx context.Context, mode string, credentials json.RawMessage) *exec.Cmd {
	g.t.Helper()
	script, err := filepath.Abs("../../web/e2e/gstreamer.py")
	if err != nil {
		g.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", script, mode, g.codec) // Debian's, which has its bindings
	cmd.Stdin, cmd.Stderr = bytes.NewReader(credentials), g.t.Output()
	return cmd
}
