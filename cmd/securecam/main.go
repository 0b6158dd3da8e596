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
	"strings"
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
		return createUser(ctx, &cli.Config, cli.User.Create, os.Stdin, stdout, stderr)
	case "health":
		return health(ctx, &cli.Config)
	case "version":
		fmt.Fprintln(stdout, version())
		return nil
	default:
		return serve(ctx, &cli.Config, stdout)
	}
}

// version returns the version of the module and the revision that the binary
// was built from, as far as the build knew them.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "securecam (unknown version)"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	v := info.Main.Version
	if v == "" {
		v = "(devel)"
	}
	var revision, modified string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value[:min(len(s.Value), revisionLength)]
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+dirty"
			}
		}
	}
	if revision != "" && !strings.Contains(v, revision) { // a pseudo-version has it
		v += " " + revision + modified
	}
	return fmt.Sprintf("securecam %s %s", v, info.GoVersion)
}

const revisionLength = 12 // as in pseudo-versions
