package main

import (
	"os/exec"
	"strings"
	"testing"
)

const modulePath = "github.com/securecam/securecam"

// allowed is the dependency rule of ARCHITECTURE.md: each package may import
// only what its line names. A trailing /... covers the packages below. The
// first matching line decides.
var allowed = []struct{ pkg, imports string }{
	{"cmd/testenv", ""},
	{"cmd/...", "..."},
	{"bench/...", "bench/... sfu/udp"},
	{"sfu", "sfu/..."},
	{"sfu/bandwidth", "sfu/feedback"},
	{"sfu/transport", "sfu/udp"},
	{"sfu/...", ""},
	{"turn/...", ""},
	{"recorder", "recorder/..."},
	{"recorder/...", ""},
	{"store/blob/...", "store/blob"},
	{"store/storetest", "store"},
	{"store", "migrations"},
	{"migrations", ""},
	{"web", ""},
	{"control/fault", ""},
	{"control/rest", "control/fault store"},
	{"control/bus/...", ""},
	{"control/jobs", "store"},
	{"control/outbound", ""},
	{"control/webpush", ""},
	{"control/push", "control/fault control/rest control/auth control/jobs control/outbound control/webpush store"},
	{"control/webhooks", "control/fault control/rest control/auth control/jobs control/outbound store"},
	{"control/auth", "control/fault control/rest store"},
	{"control/gateway", "control/fault control/rest control/auth control/bus control/gateway/socketio store"},
	{"control/gateway/socketio", ""},
	{"control/mail", ""},
	{"control/limit", "control/fault"},
	{"control/erasure", "store"},
	{"control", "control/... store"},
	{"control/...", "control/fault control/rest control/auth control/bus control/gateway store"},
}

func TestImports(t *testing.T) {
	t.Parallel()
	const format = `{{.ImportPath}} {{join .Imports " "}}`
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, modulePath+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], modulePath+"/")
		rule, ok := ruleFor(pkg)
		if !ok {
			t.Errorf("%s: no rule; add a line to allowed", pkg)
			continue
		}
		for _, imp := range fields[1:] {
			imp, ours := strings.CutPrefix(imp, modulePath+"/")
			if ours && !anyMatch(strings.Fields(rule), imp) {
				t.Errorf("%s imports %s, which the dependency rule forbids", pkg, imp)
			}
		}
	}
}

// TestForeignImports holds the libraries that only one part may know.
func TestForeignImports(t *testing.T) {
	t.Parallel()
	const format = `{{.ImportPath}} {{join .Imports " "}}`
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", format, modulePath+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	only := map[string][]string{
		"database/sql":             {"store"},
		"github.com/jackc/":        {"store/..."},
		"github.com/minio/":        {"store/blob/..."},
		"github.com/nats-io/":      {"control/bus/..."},
		"github.com/gofiber/":      {"control/..."},
		"github.com/pion/turn/":    {"turn"},
		"github.com/pion/webrtc/":  {"sfu", "bench/..."},
		"github.com/wneessen/":     {"control/mail"},
		"github.com/go-webauthn/":  {"control/auth"},
		"github.com/pquerna/":      {"control/auth"},
		"github.com/alecthomas/":   {"cmd/..."},
		"github.com/danielgtaylor": {"control/..."},
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], modulePath+"/")
		for _, imp := range fields[1:] {
			for library, homes := range only {
				if strings.HasPrefix(imp, library) && !anyMatch(homes, pkg) {
					t.Errorf("%s imports %s, which belongs to %v", pkg, imp, homes)
				}
			}
		}
	}
}

func ruleFor(pkg string) (string, bool) {
	for _, a := range allowed {
		if match(a.pkg, pkg) {
			return a.imports, true
		}
	}
	return "", false
}

func anyMatch(patterns []string, pkg string) bool {
	for _, p := range patterns {
		if match(p, pkg) {
			return true
		}
	}
	return false
}

func match(pattern, pkg string) bool {
	prefix, tree := strings.CutSuffix(pattern, "...")
	if !tree {
		return pattern == pkg
	}
	return strings.HasPrefix(pkg+"/", prefix)
}
