package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// TestSocketIOClient has the unmodified socket.io-client talk to the product.
func TestSocketIOClient(t *testing.T) {
	t.Parallel()
	app := startApp(t)
	user := signUp(t, app.url, "socketio@example.org")
	camera, info := user.register("camera")
	client, _ := user.register("client")
	script, err := filepath.Abs("../../web/e2e/socketio.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script, app.url, camera.token, client.token, info.Device.ID)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("socket.io-client: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}
