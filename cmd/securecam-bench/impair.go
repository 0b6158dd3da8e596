package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/securecam/securecam/bench/impair"
)

const (
	// headerTimeout bounds how long a client may take for the head of a request.
	headerTimeout = 10 * time.Second
	// closeTimeout bounds how long requests may take that are under way at the end.
	closeTimeout = 2 * time.Second
)

type impairArgs struct {
	Server string      `required:"" placeholder:"URL" help:"The server's HTTP address."`
	Listen string      `default:"127.0.0.1:8480" help:"Where peers speak HTTP, WHIP and WHEP instead."`
	Media  string      `default:"127.0.0.1:0" help:"Where their media goes instead: an IP address that they reach, and a port or 0."`
	Up     impair.Link `placeholder:"LINK" help:"Towards the server, as in 'rate=1M queue=32k loss=5% burst=4 duplicate=1% delay=50ms jitter=30ms reorder=3% held=15ms'."` //nolint:lll // a tag has no lines
	Down   impair.Link `placeholder:"LINK" help:"Towards the peers."`
	Seed   uint64      `default:"1" help:"Decides what happens to which datagram."`
}

// runImpair relays until ctx ends, then says what happened.
func runImpair(ctx context.Context, a *impairArgs, stdout io.Writer) error {
	target, err := url.Parse(a.Server)
	if err != nil || target.Host == "" {
		return fmt.Errorf("impair: --server is a URL such as http://127.0.0.1:8080, not %q", a.Server)
	}
	media, err := netip.ParseAddrPort(a.Media)
	if err != nil {
		return fmt.Errorf("impair: --media: %w", err)
	}
	proxy, err := impair.Start(impair.Config{Listen: media, Up: a.Up, Down: a.Down, Seed: a.Seed})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.Listen)
	if err != nil {
		return errors.Join(err, proxy.Close())
	}
	server := &http.Server{Handler: impair.Signalling(target, proxy), ReadHeaderTimeout: headerTimeout}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Fprintf(stdout, "http://%s stands for %s, media goes over %s\nup %v, down %v; change it with\n",
		listener.Addr(), a.Server, proxy.Addr(), a.Up, a.Down)
	fmt.Fprintf(stdout, "  curl -X PUT http://%s%s -d '{\"down\": \"rate=1M delay=50ms\"}'\n", listener.Addr(), impair.ControlPath)
	fmt.Fprintf(stdout, "  curl -X POST http://%s%s/rebind\n", listener.Addr(), impair.ControlPath)
	select {
	case <-ctx.Done():
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		err = server.Shutdown(closing)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
	case err = <-ended:
	}
	up, down := proxy.Counts()
	fmt.Fprintf(stdout, "up   %+v\ndown %+v\n", up, down)
	return errors.Join(err, proxy.Close())
}
