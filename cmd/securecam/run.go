package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"
)

type logger = *slog.Logger

const (
	openTimeout = 15 * time.Second
	stopTimeout = 30 * time.Second
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
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, a.stop(stopCtx))
}

// app is the running product: what start has opened, and how to close it.
type app struct {
	url       string   // for a browser on this machine
	otherURLs []string // for other machines of the network
	failed    chan error

	log     logger
	closers []closer // in the order of opening; stop goes backwards
}

type closer struct {
	name  string
	close func(context.Context) error
}

// onStop registers how to close what was just opened.
func (a *app) onStop(name string, f func(context.Context) error) {
	a.closers = append(a.closers, closer{name, f})
}

// run starts f, which goes on until its context ends, and has stop wait for
// it. If f fails by itself the server stops.
func (a *app) run(name string, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			select {
			case a.failed <- fmt.Errorf("%s: %w", name, err):
			default: // another failure stops the server already
			}
		}
	}()
	a.onStop(name, func(stop context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-stop.Done():
			return stop.Err()
		}
	})
}

// stop closes everything in the reverse order of opening, within ctx.
func (a *app) stop(ctx context.Context) error {
	var failed error
	for i := len(a.closers) - 1; i >= 0; i-- {
		c := a.closers[i]
		if err := c.close(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("stop %s: %w", c.name, err))
		}
		a.log.Debug("stopped", slog.String("part", c.name))
	}
	a.closers = nil
	return failed
}

func newLogger(c *Config, w io.Writer) logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.LogLevel)) //nolint:errcheck // parse allows only level names
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
