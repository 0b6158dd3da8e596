// Package bus carries short messages between the nodes of a cluster, and
// within one node when there is only one.
//
// It is NATS in every case: a server inside the process that opens no port, one
// inside the process that forms a cluster with those of other nodes, or the
// servers that Config.URL names. Delivery is at most once. What must not be
// lost is a row in the database; a lost message only costs latency.
package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

var (
	// ErrNoResponders reports a request that nobody has subscribed to.
	ErrNoResponders = errors.New("bus: no responders")
	// ErrClosed reports a bus that is closing or closed.
	ErrClosed = errors.New("bus: closed")
	// ErrBadSubject reports a subject with an empty token, a blank or a
	// control character, or a wildcard where none is allowed.
	ErrBadSubject = errors.New("bus: bad subject")
)

const (
	connectTimeout = 3 * time.Second
	reconnectWait  = 250 * time.Millisecond
	// defaultRequestTimeout bounds a request whose context has no deadline.
	defaultRequestTimeout = 2 * time.Second
	// flushTimeout bounds the round trip that ends Subscribe.
	flushTimeout = 2 * time.Second
	// unsubscribeTimeout bounds the wait for a handler that is still running.
	unsubscribeTimeout = 2 * time.Second
	// drainTimeout bounds Close by itself; its context may be shorter.
	drainTimeout = 5 * time.Second
	// A subscriber that falls behind by more than this loses messages.
	pendingMessages = 4096
	pendingBytes    = 16 << 20
)

// Config says where the bus is.
type Config struct {
	// URL names one or more NATS servers, separated by commas. Empty starts a
	// server inside the process, reachable from nowhere else.
	URL string
	// StoreDir holds the embedded server's streams. It is created when needed
	// and required when URL is empty.
	StoreDir string
	// Cluster joins the embedded server with those of other nodes; nil keeps it
	// alone and without a port. It excludes URL.
	Cluster *Cluster
	// Logger may be nil.
	Logger *slog.Logger
}

// Bus is a connection to the servers. It is safe for concurrent use and
// reconnects by itself; while it is away, Publish and Request fail at once.
type Bus struct {
	conn     *nats.Conn
	embedded *server.Server // nil with Config.URL
	closed   chan struct{}  // closed when conn is
	log      *slog.Logger

	panics  atomic.Uint64
	dropped atomic.Uint64 // by subscriptions that have ended

	mu   sync.Mutex // guards subs
	subs map[*nats.Subscription]struct{}
}

// Stats counts what went wrong since Open.
type Stats struct {
	Connected     bool
	Reconnects    uint64
	Subscriptions int
	Dropped       uint64 // messages that a full subscriber did not get
	Panics        uint64 // subscribers that panicked and were recovered
}

// Open starts the embedded server, or reaches the servers that cfg.URL names,
// within a few seconds or fails.
func Open(ctx context.Context, cfg Config) (*Bus, error) {
	servers, err := readServers(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.URL != "" && cfg.Cluster != nil {
		return nil, errors.New("bus: a URL names other servers, a cluster makes one here: give one of them")
	}
	b := &Bus{closed: make(chan struct{}), log: cfg.Logger, subs: make(map[*nats.Subscription]struct{})}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	options := b.options(ctx)
	if cfg.URL == "" {
		token := rand.Text()
		s, err := startEmbedded(ctx, cfg, token, b.log)
		if err != nil {
			return nil, err
		}
		b.embedded = s
		options = append(options, nats.InProcessServer(s), nats.Token(token))
	}
	conn, err := nats.Connect(cfg.URL, options...)
	if err != nil {
		b.stopEmbedded()
		return nil, fmt.Errorf("bus: connect to %s: %w", servers, err)
	}
	b.conn = conn
	return b, nil
}

// options returns what the embedded server and a cluster have in common, that
// is everything.
func (b *Bus) options(ctx context.Context) []nats.Option {
	timeout := connectTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, max(time.Until(deadline), time.Millisecond))
	}
	return []nats.Option{
		nats.Name("securecam"),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.DrainTimeout(drainTimeout),
		// Messages are not kept for later while the servers are away: the
		// caller hears of it at once and the rows are the truth.
		nats.ReconnectBufSize(-1),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				b.log.Warn("bus disconnected", slog.Any("err", err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.log.Info("bus reconnected") }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			b.log.Warn("bus error", slog.String("subject", subject), slog.Any("err", err))
		}),
	}
}

// Publish sends data to every subscriber of subject and does not wait for
// them.
func (b *Bus) Publish(ctx context.Context, subject string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bus: publish %s: %w", subject, err)
	}
	if !validSubject(subject, false) {
		return fmt.Errorf("%w: %q", ErrBadSubject, subject)
	}
	if err := b.conn.Publish(subject, data); err != nil {
		return fmt.Errorf("bus: publish %s: %w", subject, known(err))
	}
	return nil
}

// Request sends data to every subscriber of subject and returns the first
// response. Without a subscriber anywhere it returns ErrNoResponders at once.
func (b *Bus) Request(ctx context.Context, subject string, data []byte) ([]byte, error) {
	if !validSubject(subject, false) {
		return nil, fmt.Errorf("%w: %q", ErrBadSubject, subject)
	}
	if _, ok := ctx.Deadline(); !ok {
		bounded, cancel := context.WithTimeout(ctx, defaultRequestTimeout)
		defer cancel()
		ctx = bounded
	}
	response, err := b.conn.RequestWithContext(ctx, subject, data)
	if err != nil {
		return nil, fmt.Errorf("bus: request %s: %w", subject, known(err))
	}
	return response.Data, nil
}

// Stats returns the counters.
func (b *Bus) Stats() Stats {
	s := Stats{
		Connected:  b.conn.IsConnected(),
		Reconnects: b.conn.Stats().Reconnects,
		Dropped:    b.dropped.Load(),
		Panics:     b.panics.Load(),
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Subscriptions = len(b.subs)
	for sub := range b.subs {
		s.Dropped += droppedBy(sub)
	}
	return s
}

// Close lets subscribers finish what has arrived, sends what was published and
// disconnects; then it stops the embedded server. When ctx ends first it stops
// at once. A second Close does nothing.
func (b *Bus) Close(ctx context.Context) error {
	err := b.conn.Drain()
	switch {
	case errors.Is(err, nats.ErrConnectionClosed):
		return nil
	case err != nil: // not connected, so there is nothing to drain
		b.conn.Close()
	}
	select {
	case <-b.closed:
		err = nil
	case <-ctx.Done():
		b.conn.Close()
		<-b.closed
		err = fmt.Errorf("bus: close: %w", ctx.Err())
	}
	b.stopEmbedded()
	return err
}

// known turns the client's errors into the package's own.
func known(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoResponders
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return ErrClosed
	default:
		return err
	}
}

// validSubject is stricter than NATS, which takes a wildcard in a published
// subject for an ordinary character.
func validSubject(subject string, wildcards bool) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" {
			return false
		}
		if wildcards && (token == "*" || token == ">") {
			continue
		}
		for i := range len(token) {
			if c := token[i]; c <= ' ' || c == 0x7f || c == '*' || c == '>' {
				return false
			}
		}
	}
	return true
}
