package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"github.com/securecam/securecam/control/fault"
)

// RecordConfig is what Record needs to know.
type RecordConfig struct {
	Logger *slog.Logger
	// TrustedProxies are the networks whose X-Forwarded-For, -Proto, -Prefix and
	// -Host are believed. Nobody else's are.
	TrustedProxies []netip.Prefix
	// Observe may be nil; it is told of every request. Route is the pattern that
	// answered, empty when none did.
	Observe func(method, route string, status int, took time.Duration)
}

const (
	headerRequestID  = "X-Request-Id"
	maxRequestID     = 64  // bytes
	maxHost          = 255 // bytes
	maxForwardedHops = 32
)

var (
	errBadURI   = fault.New(fault.Invalid, "invalid_request", "The address is not valid UTF-8 text.")
	errBadHost  = fault.New(fault.Invalid, "invalid_request", "The Host header is not a host.")
	errEncoding = fault.New(fault.UnsupportedMedia, "unsupported_encoding", "Send the body without a content encoding.")
)

// Record is the outermost handler: it gives the request its id, finds out who
// asks and under which address, turns errors and panics of the handlers below
// into problem documents, and writes one log line.
func Record(cfg RecordConfig) fiber.Handler {
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return func(c *fiber.Ctx) error {
		start := time.Now()
		t := &trace{Request: describe(c, cfg.TrustedProxies)}
		c.SetUserContext(context.WithValue(c.UserContext(), requestKey{}, t))
		c.Set(headerRequestID, t.ID)
		err := checked(c, t)
		if err != nil {
			if err := c.App().ErrorHandler(c, err); err != nil {
				return err
			}
		}
		took := time.Since(start)
		logLine(c, log, t, took, err)
		if cfg.Observe != nil {
			cfg.Observe(c.Method(), route(c, err), c.Response().StatusCode(), took)
		}
		return nil
	}
}

// checked runs the handlers below unless the request cannot be meant well.
func checked(c *fiber.Ctx, t *trace) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	if t.Origin == "" {
		return errBadHost
	}
	if !cleanURI(c) {
		return errBadURI
	}
	// fiber inflates a coded body without a limit.
	if coding := c.Get(fiber.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return errEncoding
	}
	return c.Next()
}

type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func logLine(c *fiber.Ctx, log *slog.Logger, t *trace, dur time.Duration, err error) {
	status := c.Response().StatusCode()
	learnt, cause := t.learnt()
	attrs := make([]slog.Attr, 0, 9+len(learnt))
	attrs = append(attrs,
		slog.String("method", c.Method()),
		slog.String("route", route(c, err)),
		slog.Int("status", status),
		slog.Duration("dur", dur),
		slog.Int("bytes", answerBytes(c)),
		slog.String("request", t.ID),
	)
	attrs = append(attrs, learnt...)
	level := slog.LevelInfo
	if cause != nil {
		attrs = append(attrs, slog.Any("err", cause))
		if panicked := new(panicError); errors.As(cause, &panicked) {
			attrs = append(attrs, slog.String("stack", string(panicked.stack)))
		}
	}
	switch {
	case status == fiber.StatusInternalServerError:
		level = slog.LevelError
	case status > fiber.StatusInternalServerError:
		level = slog.LevelWarn
	}
	log.LogAttrs(c.UserContext(), level, "request", attrs...)
}

// route returns the pattern that answered, never the path: paths carry the
// secrets of WHIP and WHEP sessions.
func route(c *fiber.Ctx, err error) string {
	var unmatched *fiber.Error
	if errors.As(err, &unmatched) {
		return ""
	}
	return c.Route().Path
}

// answerBytes is the length of the body, -1 if it is streamed without one.
func answerBytes(c *fiber.Ctx) int {
	if c.Response().IsBodyStream() { // Body would read the stream into memory
		return c.Response().Header.ContentLength()
	}
	return len(c.Response().Body())
}

// describe finds out about the request what outlives its handler, in copies.
func describe(c *fiber.Ctx, trusted []netip.Prefix) Request {
	r := Request{ID: strings.Clone(c.Get(headerRequestID))}
	if !isRequestID(r.ID) {
		r.ID = uuid.Must(uuid.NewV7()).String()
	}
	remote := remoteAddr(c.Context().RemoteAddr())
	scheme, host := "http", string(c.Request().Host())
	if c.Context().IsTLS() {
		scheme = "https"
	}
	if isTrusted(trusted, remote) {
		remote = clientAddr(c, trusted, remote)
		if proto := firstOf(c.Get(fiber.HeaderXForwardedProto)); proto == "http" || proto == "https" {
			scheme = proto
		}
		if forwarded := firstOf(c.Get(fiber.HeaderXForwardedHost)); forwarded != "" {
			host = forwarded
		}
		r.Prefix = prefixOf(firstOf(c.Get("X-Forwarded-Prefix")))
	}
	if remote.IsValid() {
		r.IP = remote.String()
	}
	if isHost(host) {
		r.Origin = scheme + "://" + strings.ToLower(host)
	}
	return r
}

const maxPrefix = 256

// prefixOf returns a path that stands before ours, cleaned; empty for what is
// none, as it ends in URLs that clients follow.
func prefixOf(s string) string {
	s = strings.TrimRight(s, "/")
	if !strings.HasPrefix(s, "/") || len(s) > maxPrefix || path.Clean(s) != s {
		return ""
	}
	for _, c := range []byte(s) {
		switch {
		case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', strings.IndexByte("/-._~", c) >= 0:
		default:
			return ""
		}
	}
	return s
}

func remoteAddr(addr net.Addr) netip.Addr {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// clientAddr walks X-Forwarded-For from the nearest proxy outwards and stops
// at the first address that no trusted proxy has. What lies beyond it is the
// client's own invention.
func clientAddr(c *fiber.Ctx, trusted []netip.Prefix, remote netip.Addr) netip.Addr {
	hops := strings.Split(c.Get(fiber.HeaderXForwardedFor), ",")
	for i := len(hops) - 1; i >= 0 && len(hops)-i <= maxForwardedHops; i-- {
		addr, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return remote
		}
		remote = addr.Unmap().WithZone("")
		if !isTrusted(trusted, remote) {
			return remote
		}
	}
	return remote
}

func isTrusted(trusted []netip.Prefix, addr netip.Addr) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func firstOf(list string) string {
	first, _, _ := strings.Cut(list, ",")
	return strings.ToLower(strings.TrimSpace(first))
}

// isRequestID accepts ids that cannot confuse a log.
func isRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	return strings.IndexFunc(id, func(r rune) bool { return !isWord(r) && r != '.' && r != '_' }) < 0
}

// isHost accepts host[:port] with the characters of names and addresses; the
// host is repeated in URLs that we hand out.
func isHost(host string) bool {
	if host == "" || len(host) > maxHost {
		return false
	}
	return strings.IndexFunc(host, func(r rune) bool { return !isWord(r) && !strings.ContainsRune("._:[]", r) }) < 0
}

func isWord(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-'
}

// cleanURI refuses addresses that decode to something other than text, which
// PostgreSQL would refuse later.
func cleanURI(c *fiber.Ctx) bool {
	uri := c.Request().URI()
	if !cleanText(uri.PathOriginal()) || !cleanText(uri.Path()) {
		return false
	}
	for key, value := range uri.QueryArgs().All() {
		if !cleanText(key) || !cleanText(value) {
			return false
		}
	}
	return true
}

func cleanText(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }
