package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBrowserLayers has a Chromium viewer go up and down the layers that a Chromium camera sends: simulcast of VP8 and
// H.264, scalable VP9 and AV1.
func TestBrowserLayers(t *testing.T) { runLayers(t, "layers.mjs") }

// TestBrowserWays has Firefox be a camera with layers, restarts ICE of Firefox on both sides, and has Chromium watch over TCP alone.
func TestBrowserWays(t *testing.T) { runLayers(t, "ways.mjs") }

// TestBrowserCodecs has Firefox go through the layers that Chromium sends of VP8, VP9 and AV1, and be a camera of VP9 and AV1
// for both.
func TestBrowserCodecs(t *testing.T) { runLayers(t, "codecs.mjs") }

// TestBrowserChannels has Chromium and Firefox send each other messages on data channels, each as the camera once.
func TestBrowserChannels(t *testing.T) { runLayers(t, "channels.mjs") }

// runLayers runs a script that publishes and plays by itself.
func runLayers(t *testing.T, name string) {
	t.Helper()
	app := startForBrowsers(t)
	user := signUp(t, app.url, "layers@example.org")
	var info registered
	user.must(http.StatusCreated, "POST", "/devices/register",
		map[string]string{"name": "camera", "role": "camera", "recordingPolicy": "off"}, &info)
	camera := &apiClient{t: t, base: app.url, http: user.http, token: info.Token}
	var live struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)
	client, _ := user.register("client")
	_, whep := request[json.RawMessage](client, info.Device.ID)
	input, err := json.Marshal(map[string]json.RawMessage{"whip": live.Credentials, "whep": whep})
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../web/e2e/" + name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script, app.url)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
