package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestBrowser has Chromium, with a camera that is not real, live through the
// whole story on the product's own pages. The pictures it takes stay in
// SCREENSHOTS when that names a folder.
func TestBrowser(t *testing.T) {
	app := startApp(t)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script, err := filepath.Abs("../../web/e2e/story.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script, app.url, shots)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the story failed: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// TestAlerts has Chromium's test pattern move, and looks at what reaches a
// push service, a webhook and an ntfy server.
func TestAlerts(t *testing.T) {
	app := startApp(t, "--outgoing-networks=127.0.0.0/8")
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script, err := filepath.Abs("../../web/e2e/alerts.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "node", script, app.url, shots).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestBrowserPeerToPeer has a camera and two viewers in Chromium where the
// server forwards no media.
func TestBrowserPeerToPeer(t *testing.T) {
	app := startApp(t, "--media-mode=p2p")
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script, err := filepath.Abs("../../web/e2e/p2p.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "node", script, app.url, shots).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
