package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/securecam/securecam/bench/report"
)

// progress is one line that is written over and over.
type progress struct {
	w     io.Writer
	quiet bool
	width int // of what stands there
}

func newProgress(w io.Writer, quiet bool) *progress { return &progress{w: w, quiet: quiet} }

// show replaces the line. One that ends with a line break stays.
func (p *progress) show(line string) {
	if p.quiet {
		return
	}
	text, stays := strings.CutSuffix(line, "\n")
	n := utf8.RuneCountInString(text)
	fmt.Fprintf(p.w, "\r%s%s", text, strings.Repeat(" ", max(p.width-n, 0)))
	p.width = n
	if stays {
		fmt.Fprintln(p.w)
		p.width = 0
	}
}

// end clears the line.
func (p *progress) end() {
	p.show("")
	if !p.quiet {
		fmt.Fprint(p.w, "\r")
	}
}

func compare(a *compareArgs, stdout io.Writer) error {
	before, err := report.Read(a.Before)
	if err != nil {
		return err
	}
	after, err := report.Read(a.After)
	if err != nil {
		return err
	}
	return report.Compare(stdout, before, after)
}

func page(a *reportArgs, stdout io.Writer) error {
	results := make([]report.Result, 0, len(a.Results))
	for _, path := range a.Results {
		r, err := report.Read(path)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	return report.Page(stdout, results)
}
