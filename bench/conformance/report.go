package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Table writes the results for people, and the score below.
func Table(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RESULT\tLEVEL\tCHECK\tSECTION\tWHAT IS ASKED FOR")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Outcome, r.Level, r.ID, r.Section, r.Title)
		if r.Detail != "" {
			fmt.Fprintf(t, "\t\t\t\t  %s\n", r.Detail)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d checks: %d passed, %d failed (%d MUST, %d SHOULD), %d do not apply\n",
		len(results), Count(results, Passed, ""), Count(results, Failed, ""), Count(results, Failed, Must),
		Count(results, Failed, Should), Count(results, Skipped, ""))
	return err
}

// junitSuite is the form that CI systems read.
type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
}

// JUnit writes the results for CI systems.
func JUnit(w io.Writer, results []Result) error {
	suite := junitSuite{
		Name: "WHIP and WHEP conformance", Tests: len(results),
		Failures: Count(results, Failed, ""), Skipped: Count(results, Skipped, ""),
	}
	var all time.Duration
	for _, r := range results {
		all += r.Took
		c := junitCase{Class: r.Section, Name: r.ID + ": " + r.Title, Time: seconds(r.Took)}
		switch r.Outcome {
		case Failed:
			c.Failure = &junitMessage{Message: r.Detail, Type: string(r.Level)}
		case Skipped:
			c.Skipped = &junitMessage{Message: r.Detail}
		case Passed:
		}
		suite.Cases = append(suite.Cases, c)
	}
	suite.Time = seconds(all)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
