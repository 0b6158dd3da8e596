package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/measure"
)

func sample(name string) Result {
	return Result{
		Date: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Name: name, Command: []string{"run", "--viewers", "100"},
		Machine: measure.Machine{CPU: "Some CPU", Cores: 2, System: "linux/amd64", Kernel: "6.18", Go: "go1.26"},
		Load:    Load{Cameras: 1, Viewers: 100, Video: "vp8", Bitrate: 2_500_000, FPS: 30, Pace: "burst", Seconds: 20},
		Setup:   Setup{Connected: 100, PerSecond: 250, ServerMillis: 2},
		Delivery: Delivery{
			Published: 5400, Expected: 540_000, Delivered: 539_000, Ratio: 0.998, WorstViewer: 0.9, PacketsPerSecond: 26950,
		},
		Latency: Latency{Samples: 3, P50: 1, P99: 2, P999: 3, Max: 4, Curve: []measure.Point{{Millis: 1, Part: 0.5}, {Millis: 4, Part: 1}}},
		Server:  &Server{PID: 1, Micros: 10, UserMicros: 4, SysMicros: 6, Cores: 0.27, FloorRatio: 10, FloorBurst: 9},
		Floor:   []measure.FloorStep{{Segments: 1, Micros: 3}, {Segments: 9, Micros: 1}},
		Seconds: []Second{{At: 1, Packets: 27000, P50: 1, P99: 2}, {At: 2, Packets: 26900, P50: 1, P99: 2}},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	want := sample("one")
	var b bytes.Buffer
	if err := want.Write(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v (%v), want %+v", got, err, want)
	}
	if _, err := Read(file + "x"); err == nil {
		t.Error("a missing file was read")
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	r := sample("one")
	r.Search = &Search{Held: 250, Limit: "the server", Steps: []Step{{Viewers: 250, Ratio: 1, Held: true}}}
	var b strings.Builder
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"99.8000%", "10.00 µs", "10.00 x the floor at 9", "p99 2.00 ms", "3.00 µs at 1", "250; the limit was the server",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	before, after := sample("before"), sample("after")
	after.Server = &Server{Micros: 2, FloorRatio: 2}
	after.Latency.P99 = 2.1
	var b strings.Builder
	if err := Compare(&b, before, after); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		switch {
		case strings.HasPrefix(line, "server µs/packet") && !strings.Contains(line, "better"),
			strings.HasPrefix(line, "latency p99,") && strings.Contains(line, "worse"):
			t.Errorf("wrong verdict: %s", line)
		}
	}
	if strings.Contains(b.String(), "differ") {
		t.Errorf("equal loads differ:\n%s", b.String())
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := Page(&b, []Result{sample("<script>alert(1)</script>"), {Name: "empty"}}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if strings.Count(page, "<svg") < 3 || strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
		t.Errorf("the page lacks plots or has broken ones:\n%s", page)
	}
	for _, foreign := range []string{"<script", "http://", "https://", "src="} {
		if strings.Contains(page, foreign) {
			t.Errorf("the page contains %s", foreign)
		}
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	for _, a := range []axis{
		{low: 0, high: 1}, {low: 0, high: 20}, {low: 0, high: 27.3}, {low: 0.01, high: 300, log: true}, {low: 0, high: 0},
	} {
		a.from, a.to = 0, 100
		ticks := a.ticks()
		if len(ticks) > 12 {
			t.Errorf("%+v has %d ticks", a, len(ticks))
		}
		for _, v := range ticks {
			if at := a.at(v); math.IsNaN(at) || at < -0.1 || at > 100.1 {
				t.Errorf("%+v has its tick %v at %v", a, v, at)
			}
		}
	}
}
