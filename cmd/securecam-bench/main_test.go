package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/securecam/securecam/bench/report"
)

// startProduct builds SecureCam and runs it on free ports of loopback.
func startProduct(t *testing.T) (url string, pid int) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "securecam")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/securecam/securecam/cmd/securecam")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "serve", "--listen-host=127.0.0.1",
		"--port=0", "--media-udp-port=0", "--media-tcp-port=-1",
		"--turn-port=-1", "--public-ips=127.0.0.1", "--log-level=warn", "--data-dir="+filepath.Join(dir, "data"))
	cmd.Dir = dir
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait() // killed
	})
	lines := bufio.NewScanner(out)
	address := regexp.MustCompile(`https?://127\.0\.0\.1:\d+`)
	for url == "" && lines.Scan() {
		url = address.FindString(lines.Text())
	}
	go func() {
		defer close(drained)
		for lines.Scan() { // so that it never blocks
		}
	}()
	if url == "" {
		t.Fatal("securecam printed no address")
	}
	return url, cmd.Process.Pid
}

// TestLayers has cameras send three layers to viewers who want no more than some lines, or who tell of their way.
func TestLayers(t *testing.T) {
	t.Parallel()
	url, _ := startProduct(t)
	for _, flags := range [][]string{{"--max-height", "360"}, {"--congestion"}} {
		t.Run(flags[0], func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "result.json")
			var out, errs bytes.Buffer
			err := run(t.Context(), append([]string{
				"run", "--securecam", url, "--viewers", "2", "--duration", "1s", "--warm-up", "3s", "--bitrate", "0.3", "--fps", "15",
				"--simulcast", "3", "--floor", "0", "--json", file,
			}, flags...), &out, &errs)
			if err != nil {
				t.Fatalf("run: %v\n%s", err, errs.String())
			}
			r, err := report.Read(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := r.Delivery; r.Load.Layers != 3 || d.Ratio < 0.9 || !d.BySequence || d.Opened == 0 || d.Forged+d.Corrupt+d.Foreign > 0 {
				t.Errorf("%+v was delivered of %+v", d, r.Load)
			}
			if told := r.Delivery.Feedbacks > 0; told != r.Load.Congestion {
				t.Errorf("%d feedbacks", r.Delivery.Feedbacks)
			}
		})
	}
}

// TestAgainstSecureCam goes through all commands with the product as server.
func TestAgainstSecureCam(t *testing.T) {
	t.Parallel()
	url, pid := startProduct(t)
	file := filepath.Join(t.TempDir(), "result.json")
	var out, errs bytes.Buffer
	err := run(t.Context(), []string{
		"run", "--securecam", url, "--pid", strconv.Itoa(pid), "--cameras", "2", "--viewers", "6", "--duration", "1s",
		"--warm-up", "500ms", "--bitrate", "0.5", "--audio", "--floor", "20ms", "--json", file, "--name", "test",
	}, &out, &errs)
	if err != nil {
		t.Fatalf("run: %v\n%s", err, errs.String())
	}
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := r.Delivery; d.Ratio < 0.99 || d.Forged+d.Corrupt+d.Foreign+d.Unstamped > 0 || d.BySequence {
		t.Errorf("SecureCam delivered %+v", d)
	}
	if r.Server == nil || r.Server.Micros <= 0 || r.Server.FloorRatio <= 0 || r.Setup.Connected != 6 {
		t.Errorf("the server's usage is %+v, the set-up %+v", r.Server, r.Setup)
	}
	for _, want := range []string{"delivery", "µs a delivered packet", "x the floor", "without a server", "noise"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !strings.Contains(errs.String(), "packets/s") {
		t.Error("no progress was shown")
	}
	for _, command := range [][]string{{"compare", file, file}, {"report", file}} {
		out.Reset()
		if err := run(t.Context(), command, &out, &errs); err != nil || out.Len() == 0 {
			t.Errorf("%v: %v, %d bytes", command, err, out.Len())
		}
	}
}

func TestFloorCommand(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"floor", "--segments", "9", "--duration", "10ms"}, &out, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), " 9 packets a message") {
		t.Errorf("the floor is\n%s", out.String())
	}
}

func TestWrongArguments(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run"},
		{"run", "--whip", "http://127.0.0.1:1/", "--pace", "slow"},
		{"compare", "nothing.json", "nothing.json"},
		{"report", "nothing.json"},
		{"walk"},
	} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, &out); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestHideTokens(t *testing.T) {
	t.Parallel()
	got := hideTokens([]string{"run", "--token", "abc", "--play-token=def", "--name", "x"})
	if want := []string{"run", "--token", "...", "--play-token=...", "--name", "x"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestImpairCommand relays HTTP until it is told to end.
func TestImpairCommand(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, []string{"impair", "--server", server.URL, "--listen", "127.0.0.1:0", "--down", "loss=5% delay=20ms"}, write, write)
		_ = write.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(read)
	var url string
	for url == "" && lines.Scan() {
		url = regexp.MustCompile(`http://\S+/-/impair`).FindString(lines.Text())
	}
	drained := make(chan string)
	go func() {
		rest, _ := io.ReadAll(read)
		drained <- string(rest)
	}()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || !strings.Contains(string(body), `"down":"loss=5% delay=20ms"`) {
		t.Errorf("%v: %s", err, body)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if rest := <-drained; !strings.Contains(rest, "down {In:0") {
		t.Errorf("it ended with %q", rest)
	}
	for _, args := range [][]string{
		{"impair", "--server", "nowhere"},
		{"impair", "--server", "http://127.0.0.1:1", "--media", "x"},
		{"impair", "--server", "http://127.0.0.1:1", "--up", "speed=9"},
	} {
		var out bytes.Buffer
		if err := run(ctx, args, &out, &out); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
