package report

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

const (
	plotWidth, plotHeight   = 760.0, 280.0
	plotLeft, plotRight     = 62.0, 745.0
	plotTop, plotBottom     = 16.0, 236.0
	barHeight, barLabel     = 26.0, 230.0
	legendTop, legendHeight = 14.0, 16.0
)

type (
	point  struct{ x, y float64 }
	series struct {
		Name   string
		Points []point
	}
	bar struct {
		Name        string
		Value, Part float64 // Part is drawn darker
		Quiet       bool
	}
	// plot is lines over x, or bars.
	plot struct {
		Title, X, Y string
		LogX, LogY  bool
		Series      []series
		Bars        []bar
	}
)

// Empty reports whether there is nothing to draw.
func (p plot) Empty() bool {
	for _, s := range p.Series {
		if len(s.Points) > 0 {
			return false
		}
	}
	return len(p.Bars) == 0
}

// SVG draws the plot.
func (p plot) SVG() template.HTML {
	var b strings.Builder
	if len(p.Bars) > 0 {
		p.drawBars(&b)
	} else {
		p.drawLines(&b)
	}
	return template.HTML(b.String()) //nolint:gosec // all text in it is escaped
}

func (p plot) drawLines(b *strings.Builder) {
	x, y := p.axes()
	fmt.Fprintf(b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, plotWidth, plotHeight, html.EscapeString(p.Title))
	for _, v := range y.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, plotLeft, plotRight, y.at(v), y.at(v))
		fmt.Fprintf(b, `<text class="end" x="%.1f" y="%.1f">%s</text>`, plotLeft-6, y.at(v)+4, number(v))
	}
	for _, v := range x.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x.at(v), x.at(v), plotTop, plotBottom)
		fmt.Fprintf(b, `<text class="mid" x="%.1f" y="%.1f">%s</text>`, x.at(v), plotBottom+16, number(v))
	}
	fmt.Fprintf(b, `<text class="end" x="%.1f" y="%.1f">%s</text>`, plotRight, plotBottom+34, html.EscapeString(p.X))
	for i, s := range p.Series {
		var path strings.Builder
		for _, q := range s.Points {
			fmt.Fprintf(&path, "%.1f,%.1f ", x.at(q.x), y.at(q.y))
		}
		fmt.Fprintf(b, `<polyline class="c%d" points="%s"/>`, i%6, path.String())
		at := legendTop + legendHeight*float64(i) + plotTop
		fmt.Fprintf(b, `<text class="end t%d" x="%.1f" y="%.1f">%s</text>`, i%6, plotRight-6, at, html.EscapeString(s.Name))
	}
	b.WriteString(`</svg>`)
}

// axes spans all points.
func (p plot) axes() (x, y axis) {
	low, high := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, s := range p.Series {
		for _, q := range s.Points {
			low = point{math.Min(low.x, q.x), math.Min(low.y, q.y)}
			high = point{math.Max(high.x, q.x), math.Max(high.y, q.y)}
		}
	}
	if !p.LogX {
		low.x = 0
	}
	if !p.LogY {
		low.y = 0
	}
	x = axis{low: low.x, high: high.x, log: p.LogX, from: plotLeft, to: plotRight}
	y = axis{low: low.y, high: high.y, log: p.LogY, from: plotBottom, to: plotTop}
	return x, y
}

func (p plot) drawBars(b *strings.Builder) {
	most := 0.0
	for _, v := range p.Bars {
		most = math.Max(most, v.Value)
	}
	scale := axis{high: most, from: barLabel, to: plotRight - 60}
	height := barHeight*float64(len(p.Bars)) + 8
	fmt.Fprintf(b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, plotWidth, height, html.EscapeString(p.Title))
	for i, v := range p.Bars {
		class, top := "bar", barHeight*float64(i)+4
		if v.Quiet {
			class = "quiet"
		}
		fmt.Fprintf(b, `<text class="end" x="%.1f" y="%.1f">%s</text>`, barLabel-8, top+15, html.EscapeString(v.Name))
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="18"/>`, class, barLabel, top, scale.at(v.Value)-barLabel)
		fmt.Fprintf(b, `<rect class="part" x="%.1f" y="%.1f" width="%.1f" height="18"/>`, barLabel, top, scale.at(v.Part)-barLabel)
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f">%.2f</text>`, scale.at(v.Value)+6, top+14, v.Value)
	}
	b.WriteString(`</svg>`)
}

func number(v float64) string { return fmt.Sprintf("%.4g", v) }
