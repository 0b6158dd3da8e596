package report

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// figure is one number of a result that two results are compared by.
type figure struct {
	name string
	of   func(Result) float64
	// better is 1 if more is better, -1 if less is, 0 if neither.
	better int
}

func figures() []figure {
	server := func(of func(Server) float64) func(Result) float64 {
		return func(r Result) float64 {
			if r.Server == nil {
				return 0
			}
			return of(*r.Server)
		}
	}
	return []figure{
		{"delivery, %", func(r Result) float64 { return 100 * r.Delivery.Ratio }, 1},
		{"packets/s", func(r Result) float64 { return r.Delivery.PacketsPerSecond }, 1},
		{"latency p50, ms", func(r Result) float64 { return r.Latency.P50 }, -1},
		{"latency p99, ms", func(r Result) float64 { return r.Latency.P99 }, -1},
		{"latency p99.9, ms", func(r Result) float64 { return r.Latency.P999 }, -1},
		{"server µs/packet", server(func(s Server) float64 { return s.Micros }), -1},
		{"  user", server(func(s Server) float64 { return s.UserMicros }), -1},
		{"  system", server(func(s Server) float64 { return s.SysMicros }), -1},
		{"  against the floor", server(func(s Server) float64 { return s.FloorRatio }), -1},
		{"server µs/published", server(func(s Server) float64 { return s.IngestUs }), -1},
		{"KiB/viewer", server(func(s Server) float64 { return s.KiBViewer }), -1},
		{"switches/s", server(func(s Server) float64 { return s.Voluntary + s.Involuntary }), -1},
		{"set-ups/s", func(r Result) float64 { return r.Setup.PerSecond }, 1},
		{"set-up, CPU ms", func(r Result) float64 { return r.Setup.ServerMillis }, -1},
		{"first packet p50, ms", func(r Result) float64 { return r.Setup.FirstPacketP50 }, -1},
		{"viewers held", func(r Result) float64 {
			if r.Search == nil {
				return 0
			}
			return float64(r.Search.Held)
		}, 1},
		{"floor at 1, µs", floorAt(1), 0},
		{"floor at 9, µs", floorAt(9), 0},
	}
}

func floorAt(segments int) func(Result) float64 {
	return func(r Result) float64 {
		for _, f := range r.Floor {
			if f.Segments == segments {
				return f.Micros
			}
		}
		return 0
	}
}

// Compare writes two results beside each other. The floors tell how much
// faster the machine itself was in one of them.
func Compare(w io.Writer, before, after Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\t%s\t%s\tchange\t\n", title(before), title(after))
	for _, f := range figures() {
		a, b := f.of(before), f.of(after)
		if a == 0 && b == 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%s\t%s\n", f.name, a, b, change(a, b), verdict(a, b, f.better))
	}
	if before.Load.describe() != after.Load.describe() {
		fmt.Fprintf(t, "The loads differ:\n  %s\n  %s\n", before.Load.describe(), after.Load.describe())
	}
	if before.Machine != after.Machine {
		fmt.Fprintf(t, "The machines differ:\n  %s\n  %s\n", MachineText(before.Machine), MachineText(after.Machine))
	}
	return t.Flush()
}

func title(r Result) string {
	if r.Name != "" {
		return r.Name
	}
	return r.Date.Format("2006-01-02 15:04")
}

func change(a, b float64) string {
	if a == 0 {
		return ""
	}
	return fmt.Sprintf("%+.1f%%", 100*(b-a)/a)
}

// verdict ignores differences that a shared machine makes by itself.
func verdict(a, b float64, better int) string {
	const noise = 0.15
	switch d := (b - a) * float64(better); {
	case a == 0 || better == 0 || d > -noise*a && d < noise*a:
		return ""
	case d > 0:
		return "better"
	default:
		return "worse"
	}
}
