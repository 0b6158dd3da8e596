package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runToEnd runs a command of securecam that ends by itself, and returns its
// exit code and what it said on stderr.
func runToEnd(t *testing.T, dir string, args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asSecurecam+"=1", "DATA_DIR="+filepath.Join(dir, "data"))
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), said.String()
}

// TestMigrateByHand starts a server that may not migrate on an empty database:
// it says what to do in one line and ends; then that is done, and it serves.
func TestMigrateByHand(t *testing.T) {
	t.Parallel()
	for name, database := range map[string][]string{"sqlite": nil, "postgres": postgresSettings(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			settings := append([]string{"--no-auto-migrate"}, database...)
			code, said := runToEnd(t, dir, append(append([]string{"serve"}, freePorts...), settings...)...)
			lines := strings.Split(strings.TrimSpace(said), "\n")
			helps := strings.Contains(said, `"securecam migrate"`) && strings.Contains(said, "AUTO_MIGRATE=true")
			if code != 1 || len(lines) != 1 || !helps {
				t.Fatalf("exit code %d, and said %q; want 1, and one line that says what to do", code, said)
			}
			if code, said := runToEnd(t, dir, append([]string{"migrate"}, database...)...); code != 0 {
				t.Fatalf("migrate: exit code %d: %s", code, said)
			}
			p := startProcess(t, dir, settings...)
			newBrowser(t, p.url).must(http.StatusOK, "GET", "/ops/ready", nil, nil)
		})
	}
}
