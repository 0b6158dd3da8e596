// Package fault names the errors that a caller can act on.
//
// A fault carries a kind, which becomes the HTTP status, a stable code for
// programs and a sentence for people. Everything that is not a fault is an
// internal error, whose text never leaves the process.
package fault

import "time"

// Kind groups faults by what the caller can do about them.
type Kind int

// The kinds, each with the HTTP status that control/rest answers.
const (
	Invalid          Kind = 400
	Unauthenticated  Kind = 401
	Forbidden        Kind = 403
	NotFound         Kind = 404
	NotAcceptable    Kind = 406
	Conflict         Kind = 409
	Gone             Kind = 410
	TooLarge         Kind = 413
	UnsupportedMedia Kind = 415
	Unprocessable    Kind = 422
	TooMany          Kind = 429
	Unavailable      Kind = 503
)

// Error is a fault. Code is part of the API and never changes; Message is
// shown to people. It is immutable, so that sentinels may be shared.
type Error struct {
	Kind    Kind
	Code    string
	Message string
	// RetryAfter is when the caller may try again, zero when nobody knows.
	RetryAfter time.Duration

	sentinel *Error
	cause    error
}

// New returns a fault, usually kept as a sentinel in a package variable.
func New(kind Kind, code, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// With returns a copy of e that wraps cause. The cause is for the log only;
// errors.Is still finds e and whatever cause wraps.
func (e *Error) With(cause error) *Error {
	wrapped := *e
	wrapped.sentinel = e
	wrapped.cause = cause
	return &wrapped
}

// After returns a copy of e that tells when to try again.
func (e *Error) After(d time.Duration) *Error {
	later := *e.With(nil)
	later.RetryAfter = d
	return &later
}

// Error returns the message, and the cause behind it when there is one.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Message + ": " + e.cause.Error()
	}
	return e.Message
}

// Unwrap returns the sentinel that e was made from and the cause, if there are
// such.
func (e *Error) Unwrap() []error {
	switch {
	case e.sentinel == nil:
		return nil
	case e.cause == nil:
		return []error{e.sentinel}
	}
	return []error{e.sentinel, e.cause}
}
