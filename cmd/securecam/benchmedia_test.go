//go:build benchmedia

package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/securecam/securecam/bench/impair"
)

// table is what make bench-media prints: each figure that the product promises for media, and what was measured.
type table struct {
	t    *testing.T
	rows []row
}

type row struct{ name, want, got, verdict string }

func (b *table) note(name, want, got string, good bool) {
	verdict := "met"
	if !good {
		verdict = "NOT MET"
	}
	b.rows = append(b.rows, row{name, want, got, verdict})
	b.t.Logf("%-8s %s: %s", verdict, name, got)
}

func (b *table) print() {
	fmt.Fprintf(os.Stdout, "\n%-8s | %-40s | %-62s | measured\n", "", "case", "wanted")
	for _, r := range b.rows {
		fmt.Fprintf(os.Stdout, "%-8s | %-40s | %-62s | %s\n", r.verdict, r.name, r.want, r.got)
	}
}

// TestBenchMedia goes through the networks that media has to survive, and prints what a Chromium viewer saw. It judges
// by the figures that the product promises; the machine must have nothing else to do. With MEDIA_PLAIN the camera with
// layers sends a plain picture of 1 Mbit/s, for a machine that cannot encode 5.
func TestBenchMedia(t *testing.T) {
	b := &table{t: t}
	t.Run("recovery", func(t *testing.T) { b.recovery(newScene(t, "off")) })
	t.Run("joining", func(t *testing.T) { b.joining(newScene(t, "off")) })
	t.Run("return", func(t *testing.T) { b.comeBack(newScene(t, "off")) })
	t.Run("layers", func(t *testing.T) {
		i := startImpaired(t, os.Getenv("MEDIA_PLAIN") == "")
		b.narrow(i)
		b.rough(i)
		b.rebind(i)
	})
	b.print()
}

// recovery judges a camera of one layer: loss on either side.
func (b *table) recovery(s *scene) {
	const settling, seconds = 5, 30
	s.join()
	w := s.over(impair.Link{}, impair.Link{}, seconds)
	b.note("one layer, nothing lost", "what this machine makes of it: everything else compares with this", w.String(), true)
	const want = "under 0.2% of frames lost, frozen under 1%, none over 500 ms"
	judge := func(name string, w watched) {
		b.note(name, want, w.String(), w.missed() < 0.2 && w.FrozenMS < seconds*10 && w.Longest <= 500)
	}
	for _, way := range []struct {
		name           string
		camera, viewer impair.Link
	}{
		{"5% loss to the viewer, 50 ms each way", impair.Link{}, lossy},
		{"5% loss from the camera, 50 ms each way", lossy, impair.Link{}},
	} {
		b.note("its first seconds: "+way.name, "the player is told to wait", s.over(way.camera, way.viewer, settling).String(), true)
		judge(way.name, s.over(way.camera, way.viewer, seconds))
	}
}

// joining judges how soon a viewer who joins sees something: one after the other, when most begin with what came since
// the last keyframe, and long after that, when they see the keyframe by itself.
func (b *table) joining(s *scene) {
	const want = "the first picture within 150 ms at p95"
	js := s.joins(40, func() {})
	b.note("joining", want, js.String(), js.p95() < 150)
	js = s.joins(30, func() {
		select {
		case <-time.After(3500 * time.Millisecond): // as long as a group is used
		case <-s.t.Context().Done():
		}
	})
	b.note("joining long after a keyframe", want, js.String(), js.p95() < 150)
}

// comeBack judges what a viewer sees of a camera that dies and comes back in another process.
func (b *table) comeBack(s *scene) {
	s.join()
	st := s.comeBack()
	longest := 0.0
	for i := range len(st.Shown) - 1 {
		longest = max(longest, st.Shown[i+1].At-st.Shown[i].At)
	}
	b.note("the camera is killed and comes back", "the viewer keeps its connection, the picture goes on",
		fmt.Sprintf("%s, %d frames decoded, none for %.0f ms, in which a browser starts", st.Viewer.State, st.Viewer.Decoded, longest),
		st.Viewer.State == "connected")
}

// narrow judges what is sent over ways that do not carry the top layer.
func (b *table) narrow(i *impaired) {
	i.watch("clean", "clean")
	i.measure(4)
	s := i.measure(10)
	b.note("three layers, clean", "what this machine makes of it: everything else compares with this",
		fmt.Sprintf("%.2f%% of frames lost; %v", s.lost(), &s), true)
	i.leave()

	i.watch("clean", "rate=1M delay=20ms")
	s = i.measure(20)
	settled, height := 20.0, s.last().Height
	if at := s.reached(height); at >= 0 {
		settled = at
	}
	b.note("up to 5 Mbit/s into 1 Mbit/s", "settled in 5 s, no freeze over 500 ms", fmt.Sprintf("settled after %.1f s; %v", settled, &s),
		settled <= 5 && s.gap() <= 500 && height < s.Top)
	b.relief(i)
	i.set("clean", "rate=1M delay=20ms")
	s = i.measure(12)
	b.note("1 Mbit/s under the top layer", "no freeze over 500 ms", s.String(), s.gap() <= 500 && s.last().Height < s.Top)
	b.relief(i)
	i.set("clean", "rate=600k delay=20ms")
	s = i.measure(12)
	b.note("600 kbit/s under the top layer", "no freeze over 500 ms", s.String(), s.gap() <= 500 && s.last().Height < s.Top)
	i.leave()

	i.watch("clean", "rate=600k delay=20ms")
	i.measure(5)
	s = i.measure(10)
	b.note("up to 5 Mbit/s into 600 kbit/s", "a layer that goes through, at full frame rate", s.String(),
		s.last().Height < s.Top && s.fps() >= 27)
	i.leave()
}

func (b *table) relief(i *impaired) {
	i.set("clean", "clean")
	s := i.measure(12)
	at := s.reached(s.Top)
	b.note("relief", "top layer within 10 s", fmt.Sprintf("after %.1f s; %v", at, &s), at >= 0 && at <= 10)
}

// rough judges ways that carry everything, but badly.
func (b *table) rough(i *impaired) {
	for _, c := range []struct{ name, up, down string }{
		{"5% loss in bursts of 4, 25 ms each way", "delay=25ms", "delay=25ms loss=5% burst=4"},
		{"3% reordered", "delay=10ms", "delay=10ms reorder=3%"},
		{"2% duplicated", "delay=10ms", "delay=10ms duplicate=2%"},
		{"30 ms jitter", "delay=10ms", "delay=10ms jitter=30ms"},
		{"all of it", "delay=25ms jitter=10ms", "delay=25ms loss=2% burst=3 reorder=2% duplicate=1% jitter=20ms"},
	} {
		i.watch(c.up, c.down)
		i.measure(4)
		s := i.measure(15)
		frozen := s.last().Frozen - s.first().Frozen
		b.note(c.name, "under 0.2% of frames lost, frozen under 1%, none over 500 ms",
			fmt.Sprintf("%.2f%% of frames lost, frozen %.1f%%; %v", s.lost(), 100*frozen/15, &s),
			s.lost() < 0.2 && frozen < 0.15 && s.gap() <= 500)
		i.leave()
	}
}

// rebind judges a viewer whose address changes.
func (b *table) rebind(i *impaired) {
	i.watch("clean", "clean")
	i.measure(2)
	if err := i.proxy.Rebind(); err != nil {
		i.t.Fatal(err)
	}
	s := i.measure(10)
	b.note("NAT rebinding while watching", "the session goes on", s.String(),
		s.last().State == "connected" && s.last().Decoded > s.first().Decoded+100)
	i.leave()
}

// leave ends the viewer's session.
func (i *impaired) leave() {
	i.t.Helper()
	i.script.ask("leave", nil, nil)
}

// lost is the share of the frames that came and were not decoded, in percent.
func (s *stretch) lost() float64 {
	came := s.last().Received - s.first().Received
	return 100 * float64(came-(s.last().Decoded-s.first().Decoded)) / float64(max(came, 1))
}

// reached is when the picture had that height for good, in seconds; -1 if it never did.
func (s *stretch) reached(height int) float64 {
	at := -1.0
	for _, x := range s.Samples {
		switch {
		case x.Height != height:
			at = -1
		case at < 0:
			at = (x.At - s.first().At) / 1000
		}
	}
	return at
}
