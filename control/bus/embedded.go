package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTimeout = 5 * time.Second
	// What the embedded server's streams may hold: they carry leases, counters
	// and wake-ups, never media.
	maxStreamMemory = 64 << 20
	maxStreamFiles  = 1 << 30
)

// startEmbedded starts a NATS server that handles no signal, takes clients with
// the token alone and, unless it is part of a cluster, opens no port.
func startEmbedded(ctx context.Context, cfg Config, token string, log *slog.Logger) (*server.Server, error) {
	if cfg.StoreDir == "" {
		return nil, errors.New("bus: the embedded server needs a store directory")
	}
	if err := os.MkdirAll(cfg.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("bus: create store: %w", err)
	}
	options := &server.Options{
		ServerName:         "securecam",
		DontListen:         true,
		NoSigs:             true,
		Authorization:      token,
		JetStream:          true,
		StoreDir:           cfg.StoreDir,
		JetStreamMaxMemory: maxStreamMemory,
		JetStreamMaxStore:  maxStreamFiles,
	}
	if cfg.Cluster != nil {
		if err := cfg.Cluster.apply(options); err != nil {
			return nil, err
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("bus: configure embedded server: %w", err)
	}
	logger := &serverLogger{log: log}
	s.SetLoggerV2(logger, false, false, false)
	started := make(chan struct{})
	go func() {
		defer close(started)
		s.Start()
	}()
	timeout := startTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Millisecond))
	}
	ready := s.ReadyForConnections(timeout)
	if ready && logger.fatal() == "" {
		return s, nil
	}
	s.Shutdown()
	s.WaitForShutdown()
	<-started
	if reason := logger.fatal(); reason != "" {
		return nil, fmt.Errorf("bus: start embedded server: %s", reason)
	}
	return nil, fmt.Errorf("bus: the embedded server was not ready within %s", timeout)
}

// stopEmbedded stops the server, if there is one, and waits for it.
func (b *Bus) stopEmbedded() {
	if b.embedded != nil {
		b.embedded.Shutdown()
		b.embedded.WaitForShutdown()
	}
}

// readServers returns the server list without passwords, fit to be shown.
// Addresses that cannot be read are refused here, because the client would
// quote them, password and all.
func readServers(servers string) (string, error) {
	if servers == "" {
		return "the embedded server", nil
	}
	var shown []string
	for s := range strings.SplitSeq(servers, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" {
			return "", errors.New("bus: a server address is not a URL like nats://host:4222")
		}
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ", "), nil
}

// serverLogger passes the embedded server's complaints on and remembers the
// fatal one, because Start does not return it.
type serverLogger struct {
	log *slog.Logger

	mu     sync.Mutex // guards reason
	reason string
}

// noRoute begins the format of what the server says of a route that it cannot
// connect to.
const noRoute = "Error trying to connect to route"

func (l *serverLogger) Noticef(string, ...any) {}
func (l *serverLogger) Debugf(string, ...any)  {}
func (l *serverLogger) Tracef(string, ...any)  {}

func (l *serverLogger) Warnf(format string, v ...any) {
	l.log.Warn("bus server warns", slog.String("err", fmt.Sprintf(format, v...)))
}

func (l *serverLogger) Errorf(format string, v ...any) {
	if strings.HasPrefix(format, noRoute) { // it is tried again and again, and one of them must be the first to start
		l.log.Warn("another process is not there yet", slog.String("err", fmt.Sprintf(format, v...)))
		return
	}
	l.log.Error("bus server fails", slog.String("err", fmt.Sprintf(format, v...)))
}

func (l *serverLogger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = fmt.Sprintf(format, v...)
}

func (l *serverLogger) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reason
}
