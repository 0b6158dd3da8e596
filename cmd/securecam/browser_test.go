package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/securecam/securecam/store"
)

// TestBrowser has Chromium, with a camera that is not real, live through the
// whole story on the product's own pages. The pictures it takes stay in
// SCREENSHOTS when that names a folder.
func TestBrowser(t *testing.T) {
	app := startForBrowsers(t)
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

// TestBrowserSlowAnswers has a server answer late, and Chromium look at what the
// pages show and offer meanwhile.
func TestBrowserSlowAnswers(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script(t, "slow.mjs", app.url, shots)
}

// TestBrowserAdmin has Chromium try dead letters again on the administrator's
// page, all at once.
func TestBrowserAdmin(t *testing.T) {
	t.Parallel()
	app := startApp(t, adminSettings("--push-max-attempts=1", "--outgoing-networks=127.0.0.0/8")...)
	user := signUp(t, app.url, "letters@example.org")
	var open atomic.Bool
	var taken atomic.Int32
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		taken.Add(1)
	}))
	t.Cleanup(hook.Close)
	var made struct{ ID string }
	user.must(http.StatusCreated, "POST", "/webhooks", map[string]string{"name": "hook", "url": hook.URL}, &made)
	const letters = 5
	for range letters {
		user.must(http.StatusAccepted, "POST", "/webhooks/"+made.ID+"/ping", nil, nil)
	}
	eventually(t, patience, func() string {
		if n := len(adminJobs(t, app.url, store.QueueDeliveries, "failed")); n != letters {
			return fmt.Sprintf("%d of %d deliveries have failed", n, letters)
		}
		return ""
	})
	open.Store(true)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	script(t, "admin.mjs", app.url, "root", adminPassword, shots)
	if n := taken.Load(); n != letters-1 { // one is deleted meanwhile
		t.Errorf("the webhook took %d messages, want %d", n, letters-1)
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
