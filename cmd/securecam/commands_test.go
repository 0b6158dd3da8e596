package main

import (
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"testing"
)

func TestCreateUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user := func(stdin string, settings ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"user", "create", "ada@example.org"}, settings...)...)
		cmd.Env, cmd.Dir = append(os.Environ(), asSecurecam+"=1"), dir
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := user("secret7\n"); err == nil || strings.Contains(out, "secret7") {
		t.Errorf("a short password: %v\n%s", err, out)
	}
	out, err := user("correct horse battery\r\n")
	if err != nil || !strings.Contains(out, "Created ada@example.org") || strings.Contains(out, "Password:") {
		t.Errorf("got %v\n%s", err, out)
	}
	if out, err := user("correct horse battery"); err == nil {
		t.Errorf("the same address again: %s", out)
	}
}

// TestSignUpClosed holds that the setting reaches the server, and that the
// command line still makes accounts.
func TestSignUpClosed(t *testing.T) {
	t.Parallel()
	app := startApp(t, "--no-sign-up")
	status, body := newBrowser(t, app.url).raw("POST", "/api/auth/sign-up/email",
		map[string]string{"name": "Ada", "email": "ada@example.org", "password": "correct horse battery"})
	if status != 403 || !strings.Contains(string(body), "sign_up_closed") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestVersionOf(t *testing.T) {
	t.Parallel()
	const revision = "0123456789abcdef0123456789abcdef01234567"
	vcs := []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: "true"}}
	for _, test := range []struct {
		version  string
		settings []debug.BuildSetting
		want     string
	}{
		{"", nil, "securecam (devel) go1"},
		{"(devel)", vcs, "securecam (devel) 0123456789ab+dirty go1"},
		{"(devel)", vcs[:1], "securecam (devel) 0123456789ab go1"},
		{"v0.0.0-20260101000000-0123456789ab+dirty", vcs, "securecam v0.0.0-20260101000000-0123456789ab+dirty go1"},
	} {
		info := &debug.BuildInfo{GoVersion: "go1", Main: debug.Module{Version: test.version}, Settings: test.settings}
		if got := versionOf(info); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
