package rest

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"

	"github.com/securecam/securecam/control/fault"
)

// Request is what a handler may know about the HTTP request behind its
// context. It outlives the handler.
type Request struct {
	ID     string // for logs; also the x-request-id of the answer
	IP     string // the client's address, as far as the trusted proxies tell it
	Origin string // scheme://host[:port] that the client used, without a path
	Prefix string // path that a trusted proxy has cut off, "/cam", or empty
}

// Network is what counts as one client where something is counted by address:
// who has an IPv6 address has the 2^64 of its network.
func (r Request) Network() string {
	const network = 64
	addr, err := netip.ParseAddr(r.IP)
	if err != nil {
		return r.IP
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr.WithZone(""), network).Masked().String()
}

type requestKey struct{}

// trace is the request's record: what is known at its start, and what is
// learnt on the way to its log line.
type trace struct {
	Request

	mu    sync.Mutex // guards attrs and cause
	attrs []slog.Attr
	cause error
}

func traceOf(ctx context.Context) *trace {
	t, _ := ctx.Value(requestKey{}).(*trace)
	return t
}

// RequestOf returns the request behind ctx; the zero Request when ctx is not
// from a server that uses Record.
func RequestOf(ctx context.Context) Request {
	if t := traceOf(ctx); t != nil {
		return t.Request
	}
	return Request{}
}

// Annotate adds attributes to the log line of the request behind ctx. Secrets
// do not belong there.
func Annotate(ctx context.Context, attrs ...slog.Attr) {
	if t := traceOf(ctx); t != nil {
		t.mu.Lock()
		t.attrs = append(t.attrs, attrs...)
		t.mu.Unlock()
	}
}

// report keeps the cause of an internal or degraded answer for the log line,
// and the cause that a fault was given.
func report(ctx context.Context, doc *Document) {
	var flt *fault.Error
	caused := errors.As(doc.cause, &flt) && len(flt.Unwrap()) > 1
	if doc.cause == nil || (doc.Status < http.StatusInternalServerError && !caused) {
		return
	}
	if t := traceOf(ctx); t != nil {
		t.mu.Lock()
		t.cause = doc.cause
		t.mu.Unlock()
	}
}

func (t *trace) learnt() ([]slog.Attr, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.attrs, t.cause
}
