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

// gstTries is how often a pipeline is started that does not connect: beside other tests, webrtcbin now and then does not.
const gstTries = 3

// publish starts the pipeline and waits until it is connected.
func (g *gstCamera) publish() (stop func()) {
	g.t.Helper()
	for try := 1; ; try++ {
		stop, said := g.start()
		if said == "live" {
			return stop
		}
		stop()
		if try == gstTries {
			g.t.Fatalf("the camera says %q", said)
		}
		g.t.Logf("the camera says %q at try %d", said, try)
	}
}

// start starts the pipeline of a new camera, and returns what it says first.
func (g *gstCamera) start() (stop func(), said string) {
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
		cancel()
		g.t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n') // nothing if it does not connect: why is on its other output
	return func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}, strings.TrimSpace(line)
}

// play decodes pictures and sound, and returns what it saw.
func (g *gstCamera) play(whep json.RawMessage) string {
	g.t.Helper()
	for try := 1; ; try++ {
		ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
		out, err := g.command(ctx, "play", whep).Output()
		cancel()
		if err == nil {
			return strings.TrimSpace(string(out))
		}
		if try == gstTries {
			g.t.Fatalf("GStreamer does not play %s: %v", g.codec, err)
		}
		g.t.Logf("GStreamer does not play %s at try %d: %v", g.codec, try, err)
	}
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
