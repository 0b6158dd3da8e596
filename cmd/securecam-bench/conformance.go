package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/securecam/securecam/bench/conformance"
)

type conformanceArgs struct {
	WHIP      string `name:"whip" placeholder:"URL" help:"Where to publish."`
	WHEP      string `name:"whep" placeholder:"URL" help:"Where that is played."`
	Token     string `help:"Bearer token of both."`
	PlayToken string `help:"Bearer token of the player, if another."`
	Insecure  bool   `help:"Accept any TLS certificate."`
	Burst     int    `placeholder:"N" help:"Send up to N requests of a kind, 8 at a time, to see 429, if the server is yours (default: none)."`
	Sessions  int    `placeholder:"N" help:"Open up to N players at a time, to see 503, if the server is yours (default: none)."`
	BusyWHIP  string `name:"busy-whip" placeholder:"URL" help:"Where to publish on a server that is full or stops, to see 503."`
	BusyWHEP  string `name:"busy-whep" placeholder:"URL" help:"Where to play on such a server."`
	BusyToken string `placeholder:"T" help:"Bearer token of both, if another."`
	JUnit     string `name:"junit" placeholder:"FILE" help:"Write the result as JUnit XML, too."`
	Quiet     bool   `short:"q" help:"No progress line."`
}

// runConformance holds a server to the texts. It fails when the server missed
// something that it must do.
func runConformance(ctx context.Context, a *conformanceArgs, stdout, stderr io.Writer) error {
	if a.WHIP == "" && a.WHEP == "" {
		return errors.New("conformance: say --whip, --whep or both")
	}
	progress := newProgress(stderr, a.Quiet)
	results, err := conformance.Run(ctx, conformance.Target{
		WHIP: a.WHIP, WHEP: a.WHEP, Token: a.Token, PlayToken: a.PlayToken, Insecure: a.Insecure,
		Load: conformance.Load{Burst: a.Burst, Sessions: a.Sessions, BusyWHIP: a.BusyWHIP, BusyWHEP: a.BusyWHEP, BusyToken: a.BusyToken},
	}, func(r conformance.Result) { progress.show(string(r.Outcome) + "  " + r.ID) })
	progress.end()
	err = errors.Join(err, conformance.Table(stdout, results))
	if a.JUnit != "" {
		err = errors.Join(err, writeJUnit(a.JUnit, results))
	}
	if n := conformance.Count(results, conformance.Failed, conformance.Must); n > 0 {
		err = errors.Join(err, fmt.Errorf("conformance: %d checks of what a server must do failed", n))
	}
	return err
}

func writeJUnit(name string, results []conformance.Result) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(conformance.JUnit(f, results), f.Close())
}
