package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/securecam/securecam/control"
)

type logger = *slog.Logger

const openTimeout = 15 * time.Second

// What the parts may take to stop, one after the other: more than half is the
// recordings'. compose.yaml waits a little longer than their sum.
const (
	stopGateway    = 4 * time.Second
	stopRecordings = 20 * time.Second
	stopRequests   = 4 * time.Second
	stopPart       = 2 * time.Second // of any other
	stopOverrun    = time.Second     // for a part to notice that its time is over
)

// serve runs the server until ctx ends or a part of it fails.
func serve(ctx context.Context, c *Config, stdout io.Writer) error {
	log := newLogger(c, stdout)
	a, err := start(ctx, c, log)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\n  SecureCam is ready.  Open  %s\n\n", a.url)
	for _, address := range a.otherURLs {
		fmt.Fprintf(stdout, "  On this network:     %s\n", address)
	}
	if c.scheme() == "http" {
		fmt.Fprintln(stdout, "  A phone's camera needs HTTPS: set TLS_SELF_SIGNED=true.")
	}
	fmt.Fprintln(stdout)

	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-a.failed:
		log.Error("stopping", slog.Any("err", err))
	}
	return errors.Join(err, a.stop())
}

// app is the running product: what start has opened, and how to close it.
type app struct {
	url       string   // for a browser on this machine
	otherURLs []string // for other machines of the network
	failed    chan error
	routes    []control.Route // what HTTP answers
	serving   sync.WaitGroup  // HTTP

	log     logger
	closers []closer // in the order of opening; stop goes backwards
}

type closer struct {
	name   string
	within time.Duration
	close  func(context.Context) error
}

// onStop registers how to close what was just opened, and what that may take.
func (a *app) onStop(name string, within time.Duration, f func(context.Context) error) {
	a.closers = append(a.closers, closer{name, within, f})
}

// run starts f, which goes on until its context ends, and has stop wait for
// it. If f fails by itself the server stops.
func (a *app) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			a.fail(name, err)
		}
	}()
	a.onStop(name, stopPart, func(stop context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return stop.Err()
		}
	})
}

// fail stops the server because a part of it failed by itself.
func (a *app) fail(name string, err error) {
	select {
	case a.failed <- fmt.Errorf("%s: %w", name, err):
	default: // another failure stops the server already
	}
}

// stop closes everything in the reverse order of opening. Each part has its
// own time: one that does not end takes nothing from those after it.
func (a *app) stop() error {
	var failed error
	for _, c := range slices.Backward(a.closers) {
		if err := c.stop(); err != nil {
			failed = errors.Join(failed, fmt.Errorf("stop %s: %w", c.name, err))
		}
		a.log.Debug("stopped", slog.String("part", c.name))
	}
	a.closers = nil
	return failed
}

func (c closer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), c.within)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- c.close(ctx) }()
	overrun := time.NewTimer(c.within + stopOverrun)
	defer overrun.Stop()
	select {
	case err := <-closed:
		return err
	case <-overrun.C: // left behind: the process is about to end
		return errors.New("it does not end")
	}
}

func newLogger(c *Config, w io.Writer) logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) // parse allows only level names
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// addresses returns where the server listening on l is reached: from this
// machine, and from others.
func addresses(c *Config, l net.Listener) (local string, others []string) {
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	if c.BetterAuthBaseURL != "" {
		return c.BetterAuthBaseURL, nil
	}
	if c.ListenHost != "" {
		return c.scheme() + "://" + net.JoinHostPort(c.ListenHost, port), nil
	}
	for _, ip := range localIPs() {
		others = append(others, c.scheme()+"://"+net.JoinHostPort(ip, port))
	}
	return c.scheme() + "://" + net.JoinHostPort("127.0.0.1", port), others
}

// localIPs returns the IPv4 addresses of this machine that others can reach.
func localIPs() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var ips []string
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			ips = append(ips, n.IP.String())
		}
	}
	return ips
}
