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
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
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
	// ReadTimeout bounds the arrival of a whole request; 20 s if zero.
	ReadTimeout time.Duration

	Logger *slog.Logger
}

const (
	bodyLimit   = 64 << 10 // bytes; SDP and JSON are far smaller
	headerLimit = 8 << 10  // bytes of request line and header
	idleTimeout = 75 * time.Second

	defaultReadTimeout = 20 * time.Second
)

// Server answers HTTP. It is made by New, and serves once.
type Server struct {
	app  *fiber.App
	log  *slog.Logger
	base context.Context //nolint:containedctx // the root of every request's context
	stop context.CancelFunc

	mu       sync.Mutex // guards what follows
	listener net.Listener
	stopping bool
	stopped  chan struct{} // closed when Shutdown is through
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
	s := &Server{log: cfg.Logger, stopped: make(chan struct{})}
	s.base, s.stop = context.WithCancel(context.Background())
	s.app = fiber.New(s.appConfig(cfg, headers))

	s.app.Use(func(c *fiber.Ctx) error {
		c.SetUserContext(s.base)
		return c.Next()
	})
	s.app.Use(headers.handle)
	s.app.Use(rest.Record(rest.RecordConfig{Logger: cfg.Logger, TrustedProxies: cfg.TrustedProxies}))
	for _, handler := range crossOrigin {
		s.app.Use(handler)
	}

	api := rest.New(s.app, rest.Config{Version: cfg.Version})
	api.UseMiddleware(auth.Middleware(api, cfg.Auth))
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
	if conn, ok := c.Context().Conn().(interface{ hearOut() }); ok {
		conn.hearOut()
	}
	err = rest.ErrorHandler(c, err)
	s.log.InfoContext(s.base, "request refused", slog.Int("status", c.Response().StatusCode()))
	return err
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
	s.listener = &paced{Listener: ln}
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

// Shutdown closes the listener and waits until the requests being answered are
// through. When ctx ends first, their contexts end, too, and the error is
// ctx's. Hijacked connections (WebSockets) are not HTTP's any more: the gateway
// closes them before.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		select {
		case <-s.stopped:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.stopping = true
	ln := s.listener
	s.mu.Unlock()

	defer close(s.stopped)
	defer s.stop()
	if ln == nil {
		return nil
	}
	// fasthttp may not know the listener yet; closing it twice is no error.
	return errors.Join(ln.Close(), s.app.ShutdownWithContext(ctx))
}
