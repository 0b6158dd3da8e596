// Package control is the HTTP server: it mounts every feature on one listener
// behind what all requests share. New is the table of contents of the API.
package control

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/limit"
	"github.com/securecam/securecam/control/rest"
)

// Feature adds its operations to the API and its other routes to the app.
type Feature interface {
	Mount(app fiber.Router, api huma.API)
}

// Config is what a Server needs. Auth and Static have no default.
type Config struct {
	Auth     auth.Authenticator
	Features []Feature
	Static   fs.FS // the web app: see newStatic
	Version  string

	// TrustedOrigins are the foreign origins that may call the API from a
	// browser, with the user's cookie.
	TrustedOrigins []string
	// TrustedProxies are the networks whose X-Forwarded-* headers are
	// believed; without any, the client is whoever holds the socket.
	TrustedProxies []netip.Prefix
	// ObjectOrigin is the origin of presigned URLs if it is not our own.
	ObjectOrigin string
	// SignUpClosed refuses new accounts by HTTP.
	SignUpClosed bool
	// ReadTimeout bounds the arrival of a whole request; 20 s if zero.
	ReadTimeout time.Duration
	// CutGrace is for requests to end with their contexts before they are cut,
	// once Shutdown waits no more; 500 ms if zero.
	CutGrace time.Duration

	// Limiter counts requests against Rates, by group: see DefaultRates.
	// Nothing is limited without it.
	Limiter *limit.Limiter
	Rates   map[string]int

	// Observe may be nil; it is told of every request that reached a handler.
	Observe func(method, route string, status int, took time.Duration)

	Logger *slog.Logger
}

const (
	bodyLimit   = 64 << 10 // bytes; SDP and JSON are far smaller
	headerLimit = 8 << 10  // bytes of request line and header
	idleTimeout = 75 * time.Second

	defaultReadTimeout = 20 * time.Second
	defaultCutGrace    = 500 * time.Millisecond
)

const signUpPath = "/api/auth/sign-up/email"

// Server answers HTTP. It is made by New, and serves once.
type Server struct {
	app   *fiber.App
	log   *slog.Logger
	grace time.Duration   // Config.CutGrace
	base  context.Context //nolint:containedctx // the root of every request's context
	stop  context.CancelFunc

	mu       sync.Mutex // guards what follows
	listener *paced
	stopping bool
	giveUp   context.CancelFunc // ends the wait for open connections; nil before Drain

	drained chan struct{} // closed when no connection is open, or giveUp was called
	stopped chan struct{} // closed when Shutdown is through
	through sync.Once     // closes stopped
}

// New builds the server. It fails if the static files cannot be read or an
// origin is malformed.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = defaultReadTimeout
	}
	if cfg.CutGrace == 0 {
		cfg.CutGrace = defaultCutGrace
	}
	web, err := newStatic(cfg.Static)
	if err != nil {
		return nil, err
	}
	headers, err := newHeaders(cfg.ObjectOrigin)
	if err != nil {
		return nil, err
	}
	crossOrigin, err := newCORS(cfg.TrustedOrigins)
	if err != nil {
		return nil, err
	}
	s := &Server{log: cfg.Logger, grace: cfg.CutGrace, drained: make(chan struct{}), stopped: make(chan struct{})}
	s.base, s.stop = context.WithCancel(context.Background())
	s.app = fiber.New(s.appConfig(cfg, headers))

	s.app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(s.base)
		return c.Next()
	})
	s.app.Use(headers.handle)
	s.app.Use(rest.Record(rest.RecordConfig{
		Logger: cfg.Logger, TrustedProxies: cfg.TrustedProxies, Observe: cfg.Observe,
	}))
	for _, handler := range crossOrigin {
		s.app.Use(handler)
	}
	if cfg.Limiter != nil {
		s.app.Use(newRates(cfg.Limiter, cfg.Rates).handle)
	}
	s.app.Use(takeBody)

	api := rest.New(s.app, rest.Config{Version: cfg.Version})
	api.UseMiddleware(auth.Middleware(api, cfg.Auth))
	if cfg.SignUpClosed { // routes are asked in the order of their making
		s.app.Post(signUpPath, func(c *fiber.Ctx) error { return rest.Problem(c, auth.ErrSignUpClosed) })
	}
	for _, feature := range cfg.Features {
		feature.Mount(s.app, api)
	}
	web.mount(s.app)
	return s, nil
}

func (s *Server) appConfig(cfg Config, headers *headers) fiber.Config {
	proxies := make([]string, len(cfg.TrustedProxies))
	for i, prefix := range cfg.TrustedProxies {
		proxies[i] = prefix.String()
	}
	return fiber.Config{
		// Strings from a request outlive it here: they go into rows,
		// messages and logs.
		Immutable:                    true,
		BodyLimit:                    bodyLimit,
		StreamRequestBody:            true, // see takeBody
		ReadBufferSize:               headerLimit,
		ReadTimeout:                  cfg.ReadTimeout,
		IdleTimeout:                  idleTimeout,
		CaseSensitive:                true,
		DisableStartupMessage:        true,
		DisablePreParseMultipartForm: true,
		// Without the check fiber believes X-Forwarded-* of anybody.
		EnableTrustedProxyCheck: true,
		TrustedProxies:          proxies,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			if rest.RequestOf(c.UserContext()).ID == "" {
				return s.refuse(c, headers, err)
			}
			return rest.ErrorHandler(c, err)
		},
	}
}

// refuse answers what fasthttp refused before any handler saw it.
func (s *Server) refuse(c *fiber.Ctx, headers *headers, err error) error {
	headers.set(c)
	if isOpen(c) {
		openToAll(c)
	}
	if conn, ok := c.Context().Conn().(interface{ HearOut() }); ok {
		conn.HearOut()
	}
	err = rest.ErrorHandler(c, err)
	s.log.InfoContext(s.base, "request refused", slog.Int("status", c.Response().StatusCode()))
	return err
}

// Route is a method and a path pattern, with {name} for what varies, that some
// handler answers.
type Route struct{ Method, Path string }

// Routes lists what the server answers, for those who look after the whole: the
// API's description and its checks must miss none.
func (s *Server) Routes() []Route {
	var routes []Route
	for _, r := range s.app.GetRoutes(true) {
		parts := strings.Split(r.Path, "/")
		for i, part := range parts {
			if name, ok := strings.CutPrefix(part, ":"); ok {
				parts[i] = "{" + name + "}"
			} else if part == "*" {
				parts[i] = "{*}"
			}
		}
		routes = append(routes, Route{Method: r.Method, Path: strings.Join(parts, "/")})
	}
	return routes
}

// Serve answers requests on ln until Shutdown, and returns when Shutdown is
// through. ln may be a TLS listener, for HTTP/1.1.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	if s.stopping { // a signal during the start
		s.mu.Unlock()
		return ln.Close()
	}
	if s.listener != nil {
		s.mu.Unlock()
		return errors.Join(errors.New("control: the server serves already"), ln.Close())
	}
	s.listener = newPaced(ln)
	s.mu.Unlock()

	err := s.app.Listener(s.listener)
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if stopping { // Listener returns as soon as the listener is closed
		<-s.stopped
	}
	return err
}

// Drain closes the listener and the idle connections. It does not wait:
// requests go on until they are answered, each the last of its connection.
func (s *Server) Drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	s.stopping = true
	ctx, cancel := context.WithCancel(context.Background())
	s.giveUp = cancel
	if s.listener == nil {
		close(s.drained)
		return nil
	}
	// fasthttp may not know the listener yet; closing it twice is no error.
	err := s.listener.Close()
	go func() {
		defer close(s.drained)
		if err := s.app.ShutdownWithContext(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "connections not drained", slog.Any("err", err))
		}
	}()
	return err
}

// Shutdown drains and waits until the requests being answered are through.
// When ctx ends first, their contexts end, too; connections that are open a
// moment later are cut, and the error is ctx's. WebSockets are not HTTP's any
// more and are not waited for: the gateway closes them before.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.Drain()
	select {
	case <-s.drained:
	case <-ctx.Done():
		err = errors.Join(err, ctx.Err())
		s.cut()
	}
	s.stop()
	s.through.Do(func() { close(s.stopped) })
	return err
}

// cut ends what is still open: requests by their contexts, so that some are
// answered yet, then every connection.
func (s *Server) cut() {
	s.stop()
	if s.drainedWithin(s.grace) {
		return
	}
	s.mu.Lock()
	listener, giveUp := s.listener, s.giveUp
	s.mu.Unlock()
	s.log.WarnContext(s.base, "connections cut", slog.Int("count", listener.cut()))
	if !s.drainedWithin(s.grace) {
		giveUp() // on handlers that heed neither
		<-s.drained
	}
}

func (s *Server) drainedWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.drained:
		return true
	case <-timer.C:
		return false
	}
}
