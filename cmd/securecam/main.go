// Command securecam is the whole product in one binary: the control API, the
// SFU, the TURN server, the recorder and the web app.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal kills: the first one's handler goes as soon as it fired.
	context.AfterFunc(ctx, stop)

	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "securecam:", err)
		stop()
		os.Exit(1)
	}
}

// run parses args and the environment and carries out one command. It is main
// without the process, so that tests start the very program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cli, command, err := parse(args, stdout, stderr)
	if err != nil || command == "" {
		return err
	}
	switch command {
	case "migrate":
		return migrate(ctx, &cli.Config, stdout)
	case "user create <email>":
		return createUser(ctx, &cli.Config, cli.User.Create, os.Stdin, stdout)
	case "health":
		return health(ctx, &cli.Config)
	case "version":
		fmt.Fprintln(stdout, version())
		return nil
	default:
		return serve(ctx, &cli.Config, stdout)
	}
}

// version returns the version of the module or the revision that the binary
// was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "securecam (unknown version)"
	}
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	return fmt.Sprintf("securecam %s %s", v, info.GoVersion)
}
