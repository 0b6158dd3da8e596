package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/load"
	"github.com/securecam/securecam/bench/whip"
	"github.com/securecam/securecam/bench/wire"
)

const (
	crowdSize  = 60
	wantCipher = "SRTP_AEAD_AES_128_GCM"
	watchFor   = 8 // seconds
	// windows is how often those seconds may be repeated, until each browser had
	// good ones: a machine that has something else to do freezes camera and
	// viewers, whatever the server does, and has packets lost in the buffers of
	// those that it does not let run. What the server loses, the crowd counts.
	windows = 30
	// fewer is from which of them on a third of the pictures is enough: the server
	// takes a browser that was not let run for one behind a bad way for a while.
	fewer = 10
)

const droppedPackets = "sfu_dropped_total"

// TestBrowsersInACrowd has Chromium and Firefox watch a camera, itself a
// Chromium, together with many synthetic viewers.
func TestBrowsersInACrowd(t *testing.T) {
	app := startForBrowsers(t, "--consent-timeout-seconds=10", "--viewer-timeout-seconds=15")
	user := signUp(t, app.url, "crowd@example.org")
	var info registered
	user.must(http.StatusCreated, "POST", "/devices/register",
		map[string]string{"name": "camera", "role": "camera", "recordingPolicy": "off"}, &info)
	camera := &apiClient{t: t, base: app.url, http: user.http, token: info.Token}
	var live struct {
		Credentials json.RawMessage `json:"credentials"`
	}
	camera.must(http.StatusCreated, "POST", "/media-sessions", nil, &live)

	script := startBrowsers(t, "viewers.mjs", app.url)
	script.ask("publish", map[string]any{"credentials": live.Credentials}, nil)
	viewers := admit(t, user, info.Device.ID, script)
	clients := map[string]*apiClient{}
	streams := map[string]string{}
	credentials := map[string]any{}
	for _, browser := range []string{"chromium", "firefox"} {
		clients[browser], _ = user.register("client")
		streams[browser], credentials[browser] = request[json.RawMessage](clients[browser], info.Device.ID)
	}
	script.ask("watch", credentials, nil)

	awaited := []string{"camera", "chromium", "firefox"} // who has not had a good window yet
	for window := 1; len(awaited) > 0 && window <= windows; window++ {
		var m measured
		script.ask("measure", map[string]any{"seconds": watchFor}, &m)
		t.Logf("window %d: %s", window, m)
		m.check(t)
		share := 0.8 // of the frames
		if window > fewer {
			share = 0.3
		}
		missing := m.missing(share)
		awaited = slices.DeleteFunc(awaited, func(who string) bool { return !slices.Contains(missing, who) })
	}
	if len(awaited) > 0 {
		t.Errorf("none of %d windows was as it should be for %v", windows, awaited)
	}

	// A closed tab and a killed browser say nothing; the server notices.
	script.ask("vanish", nil, nil)
	for browser, client := range clients {
		eventually(t, patience, func() string {
			if s := client.stream(streams[browser]); s.Status != "completed" || s.Reason != "viewer_left" {
				return fmt.Sprintf("the stream of %s, which is gone, is %+v", browser, s)
			}
			return ""
		})
	}
	viewers.awaitMore(t)
	viewers.check(t, script)
}

// request has a client request a stream of a live camera, and returns where it
// plays.
func request[C any](client *apiClient, cameraID string) (stream string, credentials C) {
	client.t.Helper()
	var s streamJSON
	client.must(http.StatusCreated, "POST", "/streams/request", map[string]string{"cameraDeviceId": cameraID}, &s)
	client.must(http.StatusOK, "GET", "/streams/"+s.ID+"/subscribe-credentials", nil, &credentials)
	return s.ID, credentials
}

// measured is what the browsers report of a window.
type measured struct {
	Sent    int                       `json:"sent"` // frames, by the camera
	Viewers map[string]browserMeasure `json:"viewers"`
}

type browserMeasure struct {
	Frames        []int    `json:"frames"` // decoded in each second
	Freezes       int      `json:"freezes"`
	FreezesBefore int      `json:"freezesBefore"`
	Lost          int      `json:"lost"` // of picture and sound
	Packets       int      `json:"packets"`
	AudioPackets  int      `json:"audioPackets"`
	NACKs         int      `json:"nacks"`
	Width         int      `json:"width"`
	Height        int      `json:"height"`
	Codecs        []string `json:"codecs"`
	Cipher        string   `json:"cipher"`
	Contrast      float64  `json:"contrast"`
}

func (b browserMeasure) decoded() int {
	sum := 0
	for _, n := range b.Frames {
		sum += n
	}
	return sum
}

func (m measured) String() string {
	s := fmt.Sprintf("the camera sent %d frames", m.Sent)
	for _, name := range []string{"chromium", "firefox"} {
		b := m.Viewers[name]
		s += fmt.Sprintf("; %s decoded %d %v of %dx%d, %d freezes (%d before), %d packets lost, %d NACKs, contrast %.0f, %v, %q",
			name, b.decoded(), b.Frames, b.Width, b.Height, b.Freezes, b.FreezesBefore, b.Lost, b.NACKs, b.Contrast, b.Codecs, b.Cipher)
	}
	return s
}

// missing says who did not see that share of the frames that the camera sent, as they came.
func (m measured) missing(share float64) []string {
	var who []string
	if m.Sent < 5*watchFor {
		who = append(who, "camera")
	}
	for name, b := range m.Viewers {
		if b.Freezes > 0 || b.Lost > 0 || float64(b.decoded()) < share*float64(m.Sent) || slices.Contains(b.Frames, 0) {
			who = append(who, name)
		}
	}
	return who
}

// check holds what no busy machine excuses.
func (m measured) check(t *testing.T) {
	t.Helper()
	for name, b := range m.Viewers {
		if b.Packets == 0 || b.AudioPackets == 0 {
			t.Errorf("%s got %d packets, and %d with sound", name, b.Packets, b.AudioPackets)
		}
		if !slices.Equal(b.Codecs, []string{"video/VP8", "audio/opus"}) || b.Cipher != wantCipher {
			t.Errorf("%s got %v protected by %q", name, b.Codecs, b.Cipher)
		}
		if b.Contrast < 10 {
			t.Errorf("the picture in %s is a plain area (contrast %.1f)", name, b.Contrast)
		}
	}
}

// crowd is many synthetic viewers of one camera.
type crowd struct {
	viewers []*load.Viewer
	sources []*load.Source
	meter   load.Meter
	told    int64 // what the server said that it missed, before
	user    *apiClient
	late    int64 // what it gave up as it was not let run, before
}

// admit connects the crowd, each viewer as a device with a stream of its own.
func admit(t *testing.T, user *apiClient, cameraID string, script *browsers) *crowd {
	t.Helper()
	poller, err := wire.NewPoller(wire.Config{})
	if err != nil {
		t.Fatal(err)
	}
	sessions := whip.NewClient(1, false)
	c := &crowd{user: user, sources: []*load.Source{load.FileSource(load.VP8), load.FileSource(load.Opus)}}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, v := range c.viewers {
			if err := v.Leave(ctx); err != nil {
				t.Error(err)
			}
		}
		sessions.Close()
		if err := poller.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := load.NewClient(t.Context(), sessions, poller, user.base)
	if err != nil {
		t.Fatal(err)
	}
	for len(c.viewers) < crowdSize {
		device, _ := user.register("client")
		_, credentials := request[credentialsJSON](device, cameraID)
		v, err := client.Play(t.Context(), load.ViewerConfig{
			Endpoint: whip.Endpoint(credentials.endpoint()), Sources: c.sources, Meter: &c.meter, Every: 5,
		})
		if err != nil {
			t.Fatalf("viewer %d: %v", len(c.viewers), err)
		}
		c.viewers = append(c.viewers, v)
		if v.Profile() != wantCipher {
			t.Fatalf("viewer %d is protected by %s, want %s", len(c.viewers), v.Profile(), wantCipher)
		}
	}
	script.ask("told", nil, &c.told)
	c.late = metric(t, user, droppedPackets)
	// What came before a viewer had its keys counts as forged.
	c.meter.Reset()
	for _, s := range c.sources {
		s.Begin()
	}
	return c
}

// awaitMore waits until every viewer has got more than it has now.
func (c *crowd) awaitMore(t *testing.T) {
	t.Helper()
	before := make([]uint64, len(c.viewers))
	for i, v := range c.viewers {
		_, before[i] = v.Delivery(true)
	}
	eventually(t, patience, func() string {
		for i, v := range c.viewers {
			if _, got := v.Delivery(true); got < before[i]+50 {
				return fmt.Sprintf("synthetic viewer %d had %d packets and has %d", i, before[i], got)
			}
		}
		return ""
	})
}

// check judges what came: everything that came to the server, once, and
// authentic.
func (c *crowd) check(t *testing.T, script *browsers) {
	t.Helper()
	for _, s := range c.sources {
		s.End()
	}
	var expected, got uint64
	var most int64
	for i, v := range c.viewers {
		due, came := v.Delivery(true)
		expected, got = expected+due, got+came
		// What this process was too slow to read has still been delivered.
		most = max(most, int64(due)-int64(came+v.Dropped()))
		if v.Ended() {
			t.Errorf("synthetic viewer %d has ended, after %d packets of %d", i, came, due)
		}
	}
	// What a camera that is not let run does not get to the server, the server tells it. What it is too late for itself, as
	// it is not let run either, it counts.
	eventually(t, patience, func() string {
		told := c.told
		if most > 0 {
			script.ask("told", nil, &told)
		}
		late := metric(t, c.user, droppedPackets)
		if most > told-c.told+late-c.late {
			return fmt.Sprintf("a synthetic viewer got %d packets too few, and the server says that it missed %d, and was too late for %d",
				most, told-c.told, late-c.late)
		}
		return ""
	})
	opened, forged, twice := c.meter.Opened.Load(), c.meter.Forged.Load(), c.meter.Duplicates.Load()
	t.Logf("%d synthetic viewers got %d packets of %d, of which %d were opened", len(c.viewers), got, expected, opened)
	if opened == 0 || forged > 0 || twice > 0 {
		t.Errorf("of %d opened packets %d were forged; %d came twice", opened, forged, twice)
	}
}

// browsers is a script that drives Chromium, or Firefox too.
type browsers struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

// startForBrowsers is startApp with a server that waits for whom has credentials: browsers take long to start where
// something else runs, and do not run then at times.
func startForBrowsers(t *testing.T, settings ...string) *app {
	t.Helper()
	patient := []string{"--publisher-timeout-seconds=600", "--viewer-timeout-seconds=600", "--consent-timeout-seconds=30"}
	return startApp(t, append(patient, settings...)...)
}

// startBrowsers runs the script until the test ends.
func startBrowsers(t *testing.T, script string, args ...string) *browsers {
	t.Helper()
	path, err := filepath.Abs("../../web/e2e/" + script)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
	cmd := exec.CommandContext(ctx, "node", append([]string{path}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer cancel()
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the script: %v", err)
		}
	})
	answers := bufio.NewScanner(out)
	answers.Buffer(nil, 1<<20) // minutes of pictures shown
	return &browsers{t: t, in: in, out: answers}
}

// ask sends a request and decodes the result of the answer into out.
func (b *browsers) ask(what string, args map[string]any, out any) {
	b.t.Helper()
	line := map[string]any{"do": what}
	for name, value := range args {
		line[name] = value
	}
	if err := json.NewEncoder(b.in).Encode(line); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	if !b.out.Scan() {
		b.t.Fatalf("%s: the script has ended: %v", what, b.out.Err())
	}
	var answer struct {
		Result json.RawMessage `json:"result"`
		Error  string          `json:"error"`
	}
	decode(b.t, b.out.Bytes(), &answer)
	if answer.Error != "" {
		b.t.Fatalf("%s: %s", what, answer.Error)
	}
	if out != nil {
		decode(b.t, answer.Result, out)
	}
}
