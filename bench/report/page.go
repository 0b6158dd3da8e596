package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"

	"github.com/securecam/securecam/bench/measure"
)

//go:embed page.html
var pageTemplate string

// pageData is what the template shows.
type pageData struct {
	Results []pageResult
	Curves  plot
	Costs   plot
}

type pageResult struct {
	Title   string
	Rows    []pageRow
	Rate    plot
	Command string
}

type pageRow struct{ Name, Value string }

// Page writes results as one HTML page that needs nothing else.
func Page(w io.Writer, results []Result) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	data := pageData{
		Curves: plot{Title: "Latency: part of the packets that took longer", X: "ms", LogX: true, LogY: true},
		Costs:  plot{Title: "CPU of the server, µs for each delivered packet", Y: "µs"},
	}
	for _, r := range results {
		p := pageResult{Title: title(r), Command: "securecam-bench " + strings.Join(r.Command, " ")}
		for _, l := range r.rows() {
			p.Rows = append(p.Rows, pageRow{Name: l.name, Value: l.value})
		}
		p.Rate = rate(r)
		data.Results = append(data.Results, p)
		data.Curves.Series = append(data.Curves.Series, series{Name: title(r), Points: tail(r.Latency.Curve)})
		if d := r.Direct; d != nil && len(d.Curve) > 0 {
			data.Curves.Series = append(data.Curves.Series, series{Name: title(r) + ", no server", Points: tail(d.Curve)})
		}
		data.Costs.Bars = append(data.Costs.Bars, costs(r)...)
	}
	return t.Execute(w, data)
}

// tail turns a distribution around: what is left above each value.
func tail(curve []measure.Point) []point {
	points := make([]point, 0, len(curve))
	for _, p := range curve {
		if left := 1 - p.Part; left > 1e-6 && p.Millis > 0 {
			points = append(points, point{p.Millis, left})
		}
	}
	return points
}

func rate(r Result) plot {
	p := plot{Title: "Packets a second, thousands, and latency p99, ms", X: "s"}
	packets, p99 := series{Name: "1,000 packets/s"}, series{Name: "p99, ms"}
	for _, s := range r.Seconds {
		packets.Points = append(packets.Points, point{s.At, s.Packets / 1000})
		p99.Points = append(p99.Points, point{s.At, s.P99})
	}
	p.Series = []series{packets, p99}
	return p
}

func costs(r Result) []bar {
	if r.Server == nil || r.Load.Viewers == 0 {
		return nil
	}
	bars := []bar{{Name: title(r), Value: r.Server.Micros, Part: r.Server.UserMicros}}
	for _, f := range r.Floor {
		if f.Segments == r.Server.FloorBurst {
			bars = append(bars, bar{Name: fmt.Sprintf("floor at %d", f.Segments), Value: f.Micros, Quiet: true})
		}
	}
	return bars
}

// axis maps values to a length.
type axis struct {
	low, high float64
	log       bool
	from, to  float64 // pixels
}

func (a axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	if high == low {
		return a.from
	}
	return a.from + (v-low)/(high-low)*(a.to-a.from)
}

// ticks returns round values on the axis.
func (a axis) ticks() []float64 {
	var ticks []float64
	if a.log {
		for v := math.Pow(10, math.Ceil(math.Log10(a.low)-1e-9)); v <= a.high*1.0001; v *= 10 {
			ticks = append(ticks, v)
		}
		return ticks
	}
	step := math.Pow(10, math.Floor(math.Log10(math.Max(a.high-a.low, 1e-9))))
	for (a.high-a.low)/step < 4 {
		step /= 2
	}
	for v := math.Ceil(a.low/step) * step; v <= a.high*1.0001; v += step {
		ticks = append(ticks, v)
	}
	return ticks
}
