// Command securecam-bench loads a media server that speaks WHIP and WHEP, and
// measures what it delivers and what it costs.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal kills: the first one's handler goes as soon as it fired.
	context.AfterFunc(ctx, stop)

	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "securecam-bench:", err)
		stop()
		os.Exit(1)
	}
}

// run carries out one command: main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var c cli
	exited := false
	parser, err := kong.New(
		&c,
		kong.Name("securecam-bench"),
		kong.Description("Loads a WHIP/WHEP media server and measures what it delivers and what it costs."),
		kong.UsageOnError(),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { exited = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
	)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(args)
	if exited {
		return nil
	}
	if err != nil {
		return err
	}
	switch parsed.Command() {
	case "run":
		return runLoad(ctx, &c.Run, args, stdout, stderr)
	case "api":
		return runAPI(ctx, &c.API, stdout, stderr)
	case "conformance":
		return runConformance(ctx, &c.Conformance, stdout, stderr)
	case "floor":
		return runFloor(ctx, &c.Floor, stdout)
	case "impair":
		return runImpair(ctx, &c.Impair, stdout)
	case "compare <before> <after>":
		return compare(&c.Compare, stdout)
	default:
		return page(&c.Report, stdout)
	}
}
