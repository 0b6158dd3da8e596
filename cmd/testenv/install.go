package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// minioVersion is the last MinIO server that the Go module proxy serves; the
// project was archived afterwards.
const minioVersion = "v0.0.0-20260212201848-7aac2a2c5b7c"

// programs are the paths of what the servers are started with.
type programs struct {
	initdb   string
	postgres string
	minio    string
}

// need is a program that tests run, with the Debian packages that bring it.
type need struct {
	program  string // looked up in PATH, then as a glob
	glob     string
	packages []string
	why      string
}

var needs = []need{ //nolint:gochecknoglobals // a constant table
	{"gcc", "", []string{"gcc", "libc6-dev"}, "the race detector"},
	{"initdb", "/usr/lib/postgresql/*/bin/initdb", []string{"postgresql"}, "tests on PostgreSQL"},
	{"chromium", "", []string{"chromium"}, "tests in a browser"},
	{"firefox-esr", "", []string{"firefox-esr"}, "tests in a browser"},
	{"ffmpeg", "", []string{"ffmpeg"}, "checks of recordings"},
	{"mkvinfo", "", []string{"mkvtoolnix"}, "checks of recordings"},
	{"node", "", []string{"nodejs"}, "tests in a browser"},
	{"npm", "", []string{"npm"}, "tests in a browser"},
	{"GstWebRTC", "/usr/lib/*/girepository-1.0/GstWebRTC-1.0.typelib", gstreamer, "tests with GStreamer"},
}

var gstreamer = []string{ //nolint:gochecknoglobals // a constant table
	"gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good", "gstreamer1.0-plugins-bad", "gstreamer1.0-plugins-ugly",
	"gstreamer1.0-libav", "gstreamer1.0-nice", "python3-gst-1.0", "gir1.2-gst-plugins-bad-1.0",
}

// install makes sure that every program is there and returns the paths of the
// servers. What is there already is left alone.
func install(ctx context.Context) (programs, error) {
	var missing []string
	for _, n := range needs {
		if n.find() == "" {
			say("%s is missing (needed for %s)", n.program, n.why)
			missing = append(missing, n.packages...)
		}
	}
	if len(missing) > 0 {
		if err := installPackages(ctx, missing); err != nil {
			return programs{}, err
		}
	}
	for _, n := range needs {
		if n.find() == "" {
			return programs{}, fmt.Errorf("%s is still missing: install %v", n.program, n.packages)
		}
	}
	minio, err := installMinIO(ctx)
	if err != nil {
		return programs{}, err
	}
	if err := installNodeModules(ctx, "web/e2e"); err != nil {
		return programs{}, err
	}
	initdb := need{program: "initdb", glob: "/usr/lib/postgresql/*/bin/initdb"}.find()
	if resolved, err := filepath.EvalSymlinks(initdb); err == nil {
		initdb = resolved
	}
	return programs{
		initdb:   initdb,
		postgres: filepath.Join(filepath.Dir(initdb), "postgres"),
		minio:    minio,
	}, nil
}

// find returns the program's path, or "".
func (n need) find() string {
	if path, err := exec.LookPath(n.program); err == nil {
		return path
	}
	if n.glob == "" {
		return ""
	}
	if paths, err := filepath.Glob(n.glob); err == nil && len(paths) > 0 {
		return paths[len(paths)-1] // the newest version
	}
	return ""
}

func installPackages(ctx context.Context, packages []string) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("this is no Debian system: install these by hand: %v", packages)
	}
	say("installing Debian packages %v", packages)
	apt := []string{"apt-get"}
	if os.Geteuid() != 0 {
		apt = []string{"sudo", "apt-get"}
	}
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	update := append(apt[1:len(apt):len(apt)], "update", "-q")
	if err := command(ctx, env, apt[0], update...); err != nil {
		return fmt.Errorf("apt-get update: %w", err)
	}
	add := append(apt[1:len(apt):len(apt)], "install", "-q", "-y", "--no-install-recommends")
	if err := command(ctx, env, apt[0], append(add, packages...)...); err != nil {
		return fmt.Errorf("apt-get install: %w", err)
	}
	return nil
}

// installMinIO builds the pinned MinIO server into the user's cache folder.
func installMinIO(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "securecam", "minio-"+minioVersion)
	path := filepath.Join(dir, "minio")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	say("building MinIO %s into %s; this takes about five minutes, once", minioVersion, dir)
	env := []string{"GOBIN=" + dir, "GOFLAGS=", "CGO_ENABLED=0"}
	if err := command(ctx, env, "go", "install", "github.com/minio/minio@"+minioVersion); err != nil {
		return "", fmt.Errorf("build MinIO: %w", err)
	}
	return path, nil
}

// installNodeModules runs npm ci unless the installed tree is as new as the
// lock file.
func installNodeModules(ctx context.Context, dir string) error {
	lock, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("%s (run from the top of the repository): %w", dir, err)
	}
	installed, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	if err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("npm modules: %w", err)
	}
	say("installing npm packages of %s", dir)
	if err := command(ctx, nil, "npm", "ci", "--prefix", dir, "--no-audit", "--no-fund"); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	return nil
}
