package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

const problemType = "application/problem+json"

// Document is the body of every error answer, a problem document by RFC 9457
// with a stable code for programs and a message for people. It is also the
// error that ToHuma returns.
type Document struct { //nolint:errname // it is a body first: the schema and the word of RFC 9457
	Type    string   `json:"type" example:"about:blank" doc:"Always about:blank: the code tells problems apart"`
	Title   string   `json:"title" example:"Conflict" doc:"The HTTP status in words"`
	Status  int      `json:"status" example:"409" doc:"The HTTP status"`
	Code    string   `json:"code" example:"conflict" doc:"What went wrong, for programs; codes never change"`
	Message string   `json:"message" example:"Conflict with the current state." doc:"What went wrong, for people"`
	Errors  []Detail `json:"errors,omitempty" nullable:"false" doc:"Each fault of an invalid request"`

	cause      error
	retryAfter time.Duration
}

// Detail is one fault of an invalid request. Value is left out where it could
// be a secret or is not a short scalar.
type Detail struct {
	Location string `json:"location,omitempty" example:"body.name" doc:"Where, as a path"`
	Message  string `json:"message" example:"expected string" doc:"What is wrong there"`
	Value    any    `json:"value,omitempty" doc:"What was sent"`
}

// Error returns the message and the cause behind it; it is for the log.
func (d *Document) Error() string {
	if d.cause != nil {
		return d.Message + ": " + d.cause.Error()
	}
	return d.Message
}

// Unwrap returns the error that the document was made from.
func (d *Document) Unwrap() error { return d.cause }

// GetStatus returns the HTTP status.
func (d *Document) GetStatus() int { return d.Status }

// GetHeaders returns the header fields that go with the status.
func (d *Document) GetHeaders() http.Header {
	switch d.Status {
	case http.StatusUnauthorized: // RFC 9110, section 15.5.2: a challenge is required
		return http.Header{fiber.HeaderWWWAuthenticate: {"Bearer"}}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		seconds := max(1, int64((d.retryAfter+time.Second-1)/time.Second))
		return http.Header{fiber.HeaderRetryAfter: {strconv.FormatInt(seconds, 10)}}
	case http.StatusUnsupportedMediaType:
		// RFC 9110, section 15.5.16: tells a coding that is not
		// understood from a media type that is not.
		return http.Header{fiber.HeaderAcceptEncoding: {"identity"}}
	}
	return nil
}

// ContentType is what huma asks for the media type of an error body.
func (d *Document) ContentType(string) string { return problemType }

// ToHuma is the one mapping of errors to answers. It knows faults, the store's
// sentinels, fiber's and huma's own errors and expired contexts; everything
// else is an internal error, whose cause is for the log only. The result is a
// *Document that wraps err; nil stays nil.
func ToHuma(err error) error {
	if err == nil {
		return nil
	}
	return documentOf(err)
}

func documentOf(err error) *Document {
	var (
		doc   *Document
		flt   *fault.Error
		fbr   *fiber.Error
		model *huma.ErrorModel
	)
	switch {
	case errors.As(err, &doc):
		return doc
	case errors.As(err, &flt):
		doc = newDocument(int(flt.Kind), flt.Code, flt.Message, err)
		doc.retryAfter = flt.RetryAfter
		return doc
	case errors.As(err, &fbr):
		return ofStatus(fbr.Code, err)
	case errors.As(err, &model):
		return ofHuma(model)
	case errors.Is(err, store.ErrNotFound):
		return ofStatus(http.StatusNotFound, err)
	case errors.Is(err, store.ErrConflict):
		return ofFault(ErrState, err)
	case errors.Is(err, store.ErrNoSpace), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return newDocument(http.StatusInsufficientStorage, "storage_full", "The server has no space left.", err)
	case errors.Is(err, store.ErrNoStorage):
		return ofFault(ErrStorageLimit, err)
	case errors.Is(err, store.ErrFull):
		return ofFault(ErrLimitReached, err)
	case errors.Is(err, store.ErrUnavailable):
		return newDocument(http.StatusServiceUnavailable, "unavailable", "The server cannot do that now. Try again.", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newDocument(http.StatusServiceUnavailable, "timeout", "The server took too long.", err)
	}
	return ofStatus(http.StatusInternalServerError, err)
}

func ofFault(f *fault.Error, cause error) *Document {
	return newDocument(int(f.Kind), f.Code, f.Message, cause)
}

func newDocument(status int, code, message string, cause error) *Document {
	return &Document{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Code: code, Message: message, cause: cause,
	}
}

// ofStatus describes a status that the HTTP layer itself decided. The text of
// such errors quotes the request, so it is not shown.
func ofStatus(status int, cause error) *Document {
	code, message := "invalid_request", "The request cannot be understood."
	switch status {
	case http.StatusNotFound:
		code, message = "not_found", "There is no such thing here."
	case http.StatusMethodNotAllowed:
		code, message = "method_not_allowed", "This address does not answer that method."
	case http.StatusRequestTimeout:
		code, message = "request_timeout", "The request took too long to arrive."
	case http.StatusRequestEntityTooLarge:
		code, message = "too_large", "The request is too large."
	case http.StatusUnsupportedMediaType:
		code, message = "unsupported_media_type", "This address does not take that content type."
	case http.StatusUpgradeRequired:
		code, message = "upgrade_required", "This address speaks WebSocket only."
	case http.StatusRequestHeaderFieldsTooLarge:
		code, message = "headers_too_large", "The request's header is too large."
	default:
		if status >= http.StatusInternalServerError {
			status, code, message = http.StatusInternalServerError, "internal", "Internal server error"
		}
	}
	return newDocument(status, code, message, cause)
}

// ofHuma turns what huma found wrong with a request into a document.
func ofHuma(model *huma.ErrorModel) *Document {
	doc := ofStatus(model.Status, model)
	switch model.Status {
	case http.StatusBadRequest:
		doc.Code, doc.Message = "malformed_body", "The body is missing or is not valid JSON."
		return doc
	case http.StatusUnprocessableEntity:
		doc.Code, doc.Message = "validation_failed", "The request is not valid."
	default:
		return doc
	}
	for _, e := range model.Errors {
		if e == nil {
			continue
		}
		doc.Errors = append(doc.Errors, Detail{Location: e.Location, Message: e.Message, Value: showable(e.Location, e.Value)})
	}
	return doc
}

const maxShownValue = 128

// showable returns value if it may be repeated to whoever sent it. Answers end
// in logs and bug reports, so nothing that could be a secret is repeated.
func showable(location string, value any) any {
	switch {
	case strings.HasPrefix(location, "header."), strings.HasPrefix(location, "cookie."):
		return nil
	}
	lower := strings.ToLower(location)
	for _, secret := range [...]string{"password", "token", "secret", "key"} {
		if strings.Contains(lower, secret) {
			return nil
		}
	}
	switch v := value.(type) {
	case bool, float64, int, int64:
		return v
	case string:
		if len(v) <= maxShownValue {
			return v
		}
	}
	return nil
}

// Problem answers a request that does not go through Register with the problem
// document for err, and leaves the cause of an internal error for the log.
func Problem(c *fiber.Ctx, err error) error {
	doc := documentOf(err)
	report(c.UserContext(), doc)
	for name, values := range doc.GetHeaders() {
		if len(c.Response().Header.Peek(name)) == 0 {
			c.Set(name, values[0])
		}
	}
	return c.Status(doc.Status).JSON(doc, problemType)
}

// ErrorHandler is fiber's: it answers whatever error a handler returned, and
// what the HTTP server itself refuses.
func ErrorHandler(c *fiber.Ctx, err error) error { return Problem(c, err) }
