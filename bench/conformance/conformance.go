// Package conformance holds a WHIP and WHEP server to the text: RFC 9725,
// draft-ietf-wish-whep, and what they lean on. It speaks HTTP and WebRTC to any
// server and knows nothing else of it.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Level is how strongly the text asks for something.
type Level string

// The levels: RFC 2119. A server that misses a Should is not wrong, but worse.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// Outcome is what came of a check.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "pass"
	Failed  Outcome = "FAIL"
	Skipped Outcome = "skip" // does not apply to this server, or was not provoked
)

// Check is one thing that the text asks for.
type Check struct {
	ID      string // "whip-etag-strong"
	Section string // where it is written: "RFC 9725 4.3.1"
	Title   string // what is asked for, in a few words
	Level   Level
	run     func(ctx context.Context, p *probe) error
}

// Result is a check with its outcome.
type Result struct {
	Check
	Outcome Outcome
	Detail  string // why it failed or was skipped
	Took    time.Duration
}

// Target is the server under test: a WHIP endpoint, a WHEP endpoint that plays
// what is published there, and the tokens for both. Either URL may be empty.
type Target struct {
	WHIP, WHEP       string
	Token, PlayToken string // PlayToken is Token if empty
	Insecure         bool   // accept any certificate
	Load             Load
}

// Load is how much the server is asked to provoke its limits. The zero value provokes none.
type Load struct {
	Burst    int // how many requests of a kind are sent in a row, at most, a few of them at a time, until one is answered 429
	Sessions int // how many players are opened, at most, until one is answered 503
	// BusyWHIP and BusyWHEP are endpoints of a server that is full or about to stop, which need no provoking; BusyToken is
	// good for both, Token if empty.
	BusyWHIP, BusyWHEP string
	BusyToken          string

	busy, busyToken string // of the protocol
}

// of is the load of one protocol.
func (l Load) of(busy, token string) Load {
	l.busy, l.busyToken = busy, l.BusyToken
	if l.busyToken == "" {
		l.busyToken = token
	}
	return l
}

// checkTimeout bounds one check, pauses that the server asks for included.
const checkTimeout = 45 * time.Second

// errSkip says that a check does not apply, or that nothing provoked what it is about.
var errSkip = errors.New("skip")

func skip(why string) error { return fmt.Errorf("%w: %s", errSkip, why) }

// Run holds a server to every check and calls done after each. WHEP is asked
// first while nobody publishes, and then with a camera of our own.
func Run(ctx context.Context, t Target, done func(Result)) ([]Result, error) {
	if t.PlayToken == "" {
		t.PlayToken = t.Token
	}
	var results []Result
	all := func(p *probe, checks []Check) {
		for _, c := range checks {
			r := p.hold(ctx, c)
			results = append(results, r)
			done(r)
		}
	}
	http := newHTTPClient(t.Insecure)
	defer http.CloseIdleConnections()
	publish := &probe{http: http, protocol: "whip", endpoint: t.WHIP, token: t.Token, other: t.PlayToken}
	play := &probe{http: http, protocol: "whep", endpoint: t.WHEP, token: t.PlayToken, other: t.Token}
	publish.load, play.load = t.Load.of(t.Load.BusyWHIP, t.Token), t.Load.of(t.Load.BusyWHEP, t.PlayToken)
	if t.WHEP != "" && t.WHIP != "" {
		all(play, idleChecks())
	}
	if t.WHIP != "" {
		all(publish, append(common("whip"), whipChecks()...))
	}
	if t.WHEP == "" {
		return results, ctx.Err()
	}
	if t.WHIP != "" {
		camera, err := publish.goLive(ctx)
		if err != nil {
			return results, fmt.Errorf("publish for the WHEP checks: %w", err)
		}
		defer camera.leave(ctx)
		play.awaitCamera(ctx)
	}
	all(play, append(common("whep"), whepChecks()...))
	return results, ctx.Err()
}

// hold runs one check.
func (p *probe) hold(ctx context.Context, c Check) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	began := time.Now()
	err := c.run(ctx, p)
	p.cleanUp(ctx)
	r := Result{Check: c, Outcome: Passed, Took: time.Since(began)}
	switch {
	case errors.Is(err, errSkip):
		r.Outcome, r.Detail = Skipped, strings.TrimPrefix(err.Error(), errSkip.Error()+": ")
	case err != nil:
		r.Outcome, r.Detail = Failed, err.Error()
	}
	return r
}

// Count counts the results of an outcome and, unless it is empty, a level.
func Count(results []Result, o Outcome, l Level) int {
	n := 0
	for _, r := range results {
		if r.Outcome == o && (l == "" || r.Level == l) {
			n++
		}
	}
	return n
}

// common are the checks that both protocols share, for one of them.
func common(protocol string) []Check {
	doc := "RFC 9725 "
	if protocol == "whep" {
		doc = "WHEP "
	}
	var all []Check
	for _, group := range [][]Check{
		postChecks(), sessionChecks(), answerChecks(), transportChecks(), formatChecks(), methodChecks(), crossOriginChecks(), authChecks(),
		patchChecks(), restartChecks(), deleteChecks(), mediaChecks(), loadChecks(),
	} {
		for _, c := range group {
			c.ID = protocol + "-" + c.ID
			if c.Section[0] >= '0' && c.Section[0] <= '9' {
				c.Section = doc + sectionIn(protocol, c.Section)
			}
			all = append(all, c)
		}
	}
	return all
}

// sectionIn names a section of RFC 9725 as the WHEP draft numbers it.
func sectionIn(protocol, section string) string {
	if protocol == "whip" {
		return section
	}
	for _, s := range [][2]string{
		{"4.3", "4.5"}, {"4.2", "4.3"}, {"4.4", "4.6"}, {"4.5", "4.7"}, {"4.6", "4.8"}, {"4.7", "4.9"}, {"4.9", "4.10"},
	} {
		if rest, ok := strings.CutPrefix(section, s[0]); ok {
			return s[1] + rest
		}
	}
	return section
}
