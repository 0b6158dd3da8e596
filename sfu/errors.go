package sfu

import (
	"errors"
	"fmt"
)

// errCodec reports an offer that is unsupported for what it can code and decode, and nothing else.
var errCodec = fmt.Errorf("%w", ErrUnsupported)

// Errors a caller can act on; test with errors.Is.
var (
	// ErrBadOffer reports SDP or a trickle fragment that is malformed.
	ErrBadOffer = errors.New("sfu: malformed offer")
	// ErrUnsupported reports a well-formed offer that cannot be served: no common codec, wrong direction,
	// too many tracks.
	ErrUnsupported = errors.New("sfu: unsupported offer")
	// ErrNoPublisher reports that nobody publishes what was asked for.
	ErrNoPublisher = errors.New("sfu: no publisher")
	// ErrNotFound reports a session or media session that does not exist or has ended.
	ErrNotFound = errors.New("sfu: not found")
	// ErrStale reports an update of an ICE session that has been followed by another.
	ErrStale = errors.New("sfu: not the current ICE session")
	// ErrTooMany reports updates of a session that come faster than they may: try again in a second.
	ErrTooMany = errors.New("sfu: too many updates")
	// ErrLimit reports that the node admits no more sessions.
	ErrLimit = errors.New("sfu: limit reached")
	// ErrClosed reports a call after Shutdown.
	ErrClosed = errors.New("sfu: closed")
)
