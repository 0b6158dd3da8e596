//go:build benchmedia

package main

import (
	"fmt"
	"os"
	"testing"
)

// row is one line of what make bench-media prints.
type row struct{ name, want, got, verdict string }

// TestBenchMedia goes through the networks that media has to survive, and prints what a Chromium viewer saw. It judges
// by the figures that the product promises; the machine must have nothing else to do. Random loss, joining and the
// camera's return have tests of their own. With MEDIA_PLAIN the camera sends a plain picture of 1 Mbit/s, for a machine
// that cannot encode 5.
func TestBenchMedia(t *testing.T) {
	i := startImpaired(t, os.Getenv("MEDIA_PLAIN") == "")
	var rows []row
	note := func(name, want string, s *stretch, detail string, good bool) {
		verdict := "met"
		if !good {
			verdict = "NOT MET"
		}
		rows = append(rows, row{name, want, detail + s.String(), verdict})
		t.Logf("%-8s %s: %s%v", verdict, name, detail, s)
	}

	i.watch("clean", "clean")
	i.measure(4)
	s := i.measure(10)
	note("clean", "what this machine makes of it: everything else compares with this", &s, fmt.Sprintf("%.2f%% of frames lost; ", s.lost()), true)
	i.script.ask("leave", nil, nil)

	i.watch("clean", "rate=1M delay=20ms")
	s = i.measure(20)
	settled, height := 20.0, s.last().Height
	if at := s.reached(height); at >= 0 {
		settled = at
	}
	note("up to 5 Mbit/s into 1 Mbit/s", "settled in 5 s, no freeze over 500 ms", &s, fmt.Sprintf("settled after %.1f s; ", settled),
		settled <= 5 && s.gap() <= 500 && height < s.Top)
	i.set("clean", "clean")
	s = i.measure(12)
	at := s.reached(s.Top)
	note("relief", "top layer within 10 s", &s, fmt.Sprintf("after %.1f s; ", at), at >= 0 && at <= 10)
	i.set("clean", "rate=1M delay=20ms")
	s = i.measure(12)
	note("1 Mbit/s under the top layer", "no freeze over 500 ms", &s, "", s.gap() <= 500 && s.last().Height < s.Top)
	i.script.ask("leave", nil, nil)

	i.watch("clean", "rate=600k delay=20ms")
	i.measure(5)
	s = i.measure(10)
	note("up to 5 Mbit/s into 600 kbit/s", "a layer that goes through, at full frame rate", &s, "", s.last().Height < s.Top && s.fps() >= 27)
	i.script.ask("leave", nil, nil)

	for _, c := range []struct{ name, up, down string }{
		{"5% loss in bursts of 4, 25 ms each way", "delay=25ms", "delay=25ms loss=5% burst=4"},
		{"3% reordered", "delay=10ms", "delay=10ms reorder=3%"},
		{"2% duplicated", "delay=10ms", "delay=10ms duplicate=2%"},
		{"30 ms jitter", "delay=10ms", "delay=10ms jitter=30ms"},
	} {
		i.watch(c.up, c.down)
		i.measure(4)
		s = i.measure(15)
		lost := s.lost()
		frozen := s.last().Frozen - s.first().Frozen
		note(c.name, "under 0.2% of frames lost, frozen under 1%, none over 500 ms", &s, fmt.Sprintf("%.2f%% of frames lost, frozen %.1f%%; ",
			lost, 100*frozen/15), lost < 0.2 && frozen < 0.15 && s.gap() <= 500)
		i.script.ask("leave", nil, nil)
	}

	i.watch("clean", "clean")
	i.measure(2)
	if err := i.proxy.Rebind(); err != nil {
		t.Fatal(err)
	}
	s = i.measure(10)
	note("NAT rebinding while watching", "the session goes on", &s, "", s.last().State == "connected" && s.last().Decoded > s.first().Decoded+100)
	i.script.ask("leave", nil, nil)

	fmt.Fprintf(os.Stdout, "\n%-8s | %-40s | %-62s | measured\n", "", "case", "wanted")
	for _, r := range rows {
		fmt.Fprintf(os.Stdout, "%-8s | %-40s | %-62s | %s\n", r.verdict, r.name, r.want, r.got)
	}
}
