// Package gateway holds the WebSockets of devices and carries events to and
// from them. PROTOCOL.md is the protocol as a client sees it.
package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/store"
)

// Authenticator says whose a device token is. It returns an
// unauthenticated fault for tokens that do not hold (any more).
type Authenticator interface {
	Device(ctx context.Context, token string) (auth.Principal, store.Device, error)
}

// PresenceStore keeps which devices are online.
type PresenceStore interface {
	SetPresence(ctx context.Context, deviceID string, status store.DeviceStatus, at time.Time) error
}

// Bus reaches the nodes that hold a device's connections.
type Bus interface {
	Gather(ctx context.Context, subject string, data []byte, take func(response []byte) (enough bool)) error
	Subscribe(subject string, handle func(bus.Msg)) (bus.Subscription, error)
}

// Config holds what a gateway needs and its limits; the zero value of a limit
// is its default.
type Config struct {
	Auth     Authenticator
	Presence PresenceStore
	Events   EventLog
	Bus      Bus
	Logger   *slog.Logger     // may be nil
	Now      func() time.Time // time.Now if nil

	AuthTimeout     time.Duration // until the first message has authenticated; 10 s
	OfflineDelay    time.Duration // from the last connection's end to offline; 500 ms
	PingEvery       time.Duration // 20 s
	DeadAfter       time.Duration // without a sign of life; 60 s
	RecheckEvery    time.Duration // a connection's token is verified again; 1 min
	PresenceRefresh time.Duration // lastSeenAt of a connected device; 30 s
	HandlerTimeout  time.Duration // for one handler, hook or database call; 10 s
	SendTimeout     time.Duration // for one Send; 2 s, of which a quarter for another node's yes after a no
	WriteTimeout    time.Duration // for one message to a client that does not read; 10 s
	CloseGrace      time.Duration // for the rest of the queue and the close handshake; 2 s

	MaxConns           int // in this process; 10000
	MaxUnauthenticated int // of them; 1000
	MaxStrangers       int // of those, from one address, of one /64 in IPv6; 250
	MaxDeviceConns     int // of one device in this process; 8
	QueueSize          int // messages waiting for one connection; 64
	KeepEvents         int // of each device, for when it comes back; 256
	MessagesPerSecond  int // of one connection, on average; 50, or AnyNumber
	MessageBurst       int // of one connection, at once; 200, or four times MessagesPerSecond
}

// AnyNumber is a MessagesPerSecond, and a Limit.PerSecond, that limits nothing.
const AnyNumber = -1

// Handler answers one client event. What it returns becomes the reply's data;
// a fault becomes the error's code and message, anything else "internal". ctx
// ends after Config.HandlerTimeout and when the connection is torn down. data
// is a JSON object or nil.
type Handler func(ctx context.Context, p auth.Principal, data json.RawMessage) (any, error)

// Limit is what one connection may send of one event beside the limits that hold
// for all of them together; a zero member sets none.
type Limit struct {
	Bytes     int     // of the data
	PerSecond float64 // on average
	Burst     int     // at once
}

type limited struct {
	handle Handler
	limit  Limit
}

// Gateway accepts connections between New and Close.
type Gateway struct {
	cfg      Config
	log      *slog.Logger
	handlers map[string]limited
	hooks    []func(ctx context.Context, deviceID string) (ready func(context.Context))
	done     chan struct{} // closed when Close begins
	wg       sync.WaitGroup

	mu              sync.Mutex // guards what follows and device.conns; never held while anything blocks
	closing         bool
	conns           map[*conn]struct{}
	unauthenticated int
	strangers       map[string]int // of them, by where they come from
	devices         map[string]*device

	counters
}

type counters struct {
	accepted, refused, slow, floods, replaced, revoked, panics atomic.Uint64
	resumed, forgotten, refusedEvents, crowded                 atomic.Uint64
}

// Stats is what a gateway holds now and what it has counted since New.
type Stats struct {
	Connections     int
	Unauthenticated int
	Devices         int

	Accepted    uint64 // connections
	Refused     uint64 // connections over a limit
	Crowded     uint64 // of those: their address had too many that were not authenticated
	SlowReaders uint64 // connections closed because their queue was full, or one message did not get through
	Floods      uint64 // connections closed because they sent too much
	Replaced    uint64 // connections closed in favour of the device's newer ones
	Revoked     uint64 // connections closed by Revoked or by an ended token
	Panics      uint64 // handlers and hooks that panicked and were recovered

	Resumed       uint64 // clients that came back and got what they missed
	Forgotten     uint64 // clients that came back too late for that
	RefusedEvents uint64 // messages over the limit of their event
}

// New returns a gateway; Handle, OnConnect and Mount come before it serves.
func New(cfg Config) *Gateway {
	orDuration(&cfg.AuthTimeout, 10*time.Second)
	orDuration(&cfg.OfflineDelay, 500*time.Millisecond)
	orDuration(&cfg.PingEvery, 20*time.Second)
	orDuration(&cfg.DeadAfter, time.Minute)
	orDuration(&cfg.RecheckEvery, time.Minute)
	orDuration(&cfg.PresenceRefresh, 30*time.Second)
	orDuration(&cfg.HandlerTimeout, 10*time.Second)
	orDuration(&cfg.SendTimeout, 2*time.Second)
	orDuration(&cfg.WriteTimeout, 10*time.Second)
	orDuration(&cfg.CloseGrace, 2*time.Second)
	orInt(&cfg.MaxConns, 10000)
	orInt(&cfg.MaxUnauthenticated, 1000)
	orInt(&cfg.MaxStrangers, 250)
	orInt(&cfg.MaxDeviceConns, 8)
	orInt(&cfg.QueueSize, 64)
	orInt(&cfg.KeepEvents, 256)
	if cfg.MessagesPerSecond != AnyNumber {
		orInt(&cfg.MessagesPerSecond, 50)
	}
	orInt(&cfg.MessageBurst, 4*max(cfg.MessagesPerSecond, 0))
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	g := &Gateway{
		cfg:      cfg,
		log:      cfg.Logger,
		handlers: make(map[string]limited),
		done:     make(chan struct{}),
		conns:    make(map[*conn]struct{}),
		devices:  make(map[string]*device),

		strangers: make(map[string]int),
	}
	// Any message is a sign of life; this one asks for a reply.
	g.Handle("ping", func(context.Context, auth.Principal, json.RawMessage) (any, error) { return nil, nil })
	return g
}

// Handle registers the handler of a client event. It panics on a name that
// clients could not send, and on a second handler for the same one.
func (g *Gateway) Handle(event string, h Handler) { g.HandleWithin(event, Limit{}, h) }

// HandleWithin is Handle for an event that has a limit of its own: what exceeds
// it is answered with message_too_large or too_many_messages and counted, and
// the connection goes on.
func (g *Gateway) HandleWithin(event string, l Limit, h Handler) {
	if !validEvent(event) || event == eventAuthenticate {
		panic(fmt.Sprintf("gateway: bad event name %q", event)) //nolint:forbidigo // a programmer's error, at start-up
	}
	if _, taken := g.handlers[event]; taken {
		panic(fmt.Sprintf("gateway: two handlers for %q", event)) //nolint:forbidigo // a programmer's error, at start-up
	}
	g.handlers[event] = limited{h, l}
}

// OnConnect registers a hook that runs after each connection's authentication,
// when the device can be reached and before it is told so; what it returns runs
// when it was told, before its first message is handled. Both have the deadline
// of a handler.
func (g *Gateway) OnConnect(hook func(ctx context.Context, deviceID string) (ready func(context.Context))) {
	g.hooks = append(g.hooks, hook)
}

// Stats returns the gauges and counters.
func (g *Gateway) Stats() Stats {
	s := Stats{
		Accepted:    g.accepted.Load(),
		Refused:     g.refused.Load(),
		Crowded:     g.crowded.Load(),
		SlowReaders: g.slow.Load(),
		Floods:      g.floods.Load(),
		Replaced:    g.replaced.Load(),
		Revoked:     g.revoked.Load(),
		Panics:      g.panics.Load(),

		Resumed: g.resumed.Load(), Forgotten: g.forgotten.Load(), RefusedEvents: g.refusedEvents.Load(),
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Connections, s.Unauthenticated, s.Devices = len(g.conns), g.unauthenticated, len(g.devices)
	return s
}

// Close refuses new connections, says goodbye (1001) to all there are, records
// their devices as offline and waits for it. When ctx ends first it cuts the
// connections off, still waits for what their handlers are doing, and returns
// ctx's error. It must end before the bus and the store are closed.
func (g *Gateway) Close(ctx context.Context) error {
	g.mu.Lock()
	if !g.closing {
		g.closing = true
		close(g.done)
	}
	g.mu.Unlock()
	for _, c := range g.all() {
		c.stop(CloseGoingAway, "the server is shutting down")
	}
	// http.Server-style shutdown does not know of hijacked connections: only
	// this wait keeps the process alive until clients have heard of it.
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		g.wg.Wait()
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
	}
	for _, c := range g.all() {
		c.cut()
	}
	<-finished
	return fmt.Errorf("gateway: close: %w", ctx.Err())
}

func (g *Gateway) all() []*conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	conns := make([]*conn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	return conns
}

var errFull = errors.New("gateway: too many connections")

// admit counts c in, or says why not.
func (g *Gateway) admit(c *conn) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closing:
		return bus.ErrClosed
	case g.full(c.network):
		return errFull
	}
	g.conns[c] = struct{}{}
	g.unauthenticated++
	g.strangers[c.network]++
	g.wg.Add(1)
	return nil
}

// full says whether there is no place for another connection from there;
// caller holds mu.
func (g *Gateway) full(network string) bool {
	if g.strangers[network] >= g.cfg.MaxStrangers {
		g.crowded.Add(1)
		return true
	}
	return len(g.conns) >= g.cfg.MaxConns || g.unauthenticated >= g.cfg.MaxUnauthenticated
}

// known frees the place of a connection that is not authenticated; caller holds
// mu.
func (g *Gateway) known(c *conn) {
	g.unauthenticated--
	if g.strangers[c.network]--; g.strangers[c.network] <= 0 {
		delete(g.strangers, c.network)
	}
}

// release undoes admit, and join if there was one.
func (g *Gateway) release(c *conn) {
	g.mu.Lock()
	delete(g.conns, c)
	if c.device == nil {
		g.known(c)
	} else {
		c.device.remove(c)
	}
	g.mu.Unlock()
	g.wg.Done()
}

func orDuration(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

// rate is MessagesPerSecond for a limiter.
func (c *Config) rate() rate.Limit {
	if c.MessagesPerSecond == AnyNumber {
		return rate.Inf
	}
	return rate.Limit(c.MessagesPerSecond)
}

func orInt(n *int, otherwise int) {
	if *n <= 0 {
		*n = otherwise
	}
}
