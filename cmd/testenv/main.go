// Command testenv gives the tests the real servers and programs they need.
//
//	testenv install           install what is missing, saying so
//	testenv run COMMAND ...   install, start the servers, run COMMAND, stop them
//
// The servers listen on free ports of 127.0.0.1 and keep their files in a
// temporary folder; COMMAND learns where they are from TEST_DATABASE_URL and
// TEST_MINIO_*.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	err := run(ctx, os.Args[1:])
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		stop()
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "testenv:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "install":
		_, err := install(ctx)
		return err
	case len(args) > 1 && args[0] == "run":
		programs, err := install(ctx)
		if err != nil {
			return err
		}
		return withServers(ctx, programs, func(env []string) error {
			return command(ctx, env, args[1], args[2:]...)
		})
	default:
		return errors.New("usage: testenv install | testenv run COMMAND [ARGUMENT ...]")
	}
}

// say tells what is being done, so that a first run of some minutes explains
// itself.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "testenv: "+format+"\n", args...)
}

// command runs a program with our output and env added to the environment.
func command(ctx context.Context, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
