package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
)

// The envelope's events that are the gateway's own.
const (
	eventAuthenticate = "authenticate"
	eventReady        = "ready"
	eventReply        = "reply"
	eventError        = "error"
)

const (
	maxMessage      = 64 << 10
	maxFirstMessage = 8 << 10 // before authentication; a token is at most 4 KiB
	maxEventLength  = 64
	maxIDLength     = 64
)

var (
	errEnvelope = fault.New(fault.Invalid, "invalid_message",
		`A message is a JSON object with "event" and, if wanted, "id" and an object "data".`)
	errUnknownEvent = fault.New(fault.Invalid, "unknown_event", "There is no such event.")
	errBinary       = fault.New(fault.Invalid, "binary_not_supported", "Binary attachments are not supported.")
	errTooOften     = fault.New(fault.TooMany, "too_many_messages", "Too many messages of that kind: slow down.")
	errTooLong      = fault.New(fault.TooLarge, "message_too_large", "The data of that event is too large.")
	errMessageData  = fault.New(fault.Unprocessable, "validation_failed", "The event's data is not valid.")
)

// envelope is a message from a client. data is nil or a JSON object.
type envelope struct {
	event string
	id    string
	data  json.RawMessage
}

// outgoing is a message to a client.
type outgoing struct {
	Event  string          `json:"event"`
	ID     string          `json:"id,omitempty"`
	Cursor string          `json:"cursor,omitempty"`
	Data   json.RawMessage `json:"data,omitempty"`
}

// deviceEvent is what a device is told. Seq is its number among those that are
// kept for the device, 0 if it is not.
type deviceEvent struct {
	Event string          `json:"event"`
	Seq   int64           `json:"seq,omitempty"`
	Data  json.RawMessage `json:"data"`
}

type problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// parseEnvelope reads one message. Unlike encoding/json on a struct it takes no
// member twice, none it does not know and none in another case. With an error
// it still returns the id, if that much could be read, so that the client
// hears which message was meant.
func parseEnvelope(frame []byte) (envelope, error) {
	var e envelope
	if len(frame) > maxMessage || !utf8.Valid(frame) || rest.HasNUL(frame) {
		return e, errEnvelope
	}
	if err := e.parse(frame); err != nil {
		return envelope{id: e.id}, errEnvelope.With(err)
	}
	return e, nil
}

func (e *envelope) parse(frame []byte) error {
	d := json.NewDecoder(bytes.NewReader(frame))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.Join(errors.New("not an object"), err)
	}
	seen := make(map[string]bool, 3)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("member name: %w", err)
		}
		name, ok := t.(string)
		if !ok || seen[name] {
			return errors.New("member name twice")
		}
		seen[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("member: %w", err)
		}
		if err := e.set(name, value); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return fmt.Errorf("end of object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	if !seen["event"] {
		return errors.New("no event")
	}
	return nil
}

func (e *envelope) set(name string, value json.RawMessage) error {
	switch name {
	case "event":
		var s string
		if err := json.Unmarshal(value, &s); err != nil || !validEvent(s) {
			return errors.New("bad event")
		}
		e.event = s
	case "id":
		var s string
		if err := json.Unmarshal(value, &s); err != nil || s == "" || len(s) > maxIDLength {
			return errors.New("bad id")
		}
		e.id = s
	case "data":
		if len(value) == 0 || value[0] != '{' {
			return errors.New("data is not an object")
		}
		e.data = value
	default:
		return errors.New("unknown member")
	}
	return nil
}

// validEvent takes lower-case words with colons between them, like
// "stream:requested".
func validEvent(s string) bool {
	if s == "" || len(s) > maxEventLength || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != ':' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// Decode reads an event's data into v and refuses what v does not have. Its
// error is a validation_failed fault.
func Decode(data json.RawMessage, v any) error {
	if data == nil {
		data = json.RawMessage("{}")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return errMessageData.With(err)
	}
	return nil
}

// maxData bounds the data of a message from the server, so that the message
// stays below maxMessage in every dialect.
const maxData = maxMessage - 1<<10

// encode writes data out, {} for nil. Data that cannot be written is a
// programming error, which the caller reports.
func encode(event string, data any) (json.RawMessage, error) {
	if data == nil {
		return json.RawMessage("{}"), nil
	}
	b, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("gateway: encode %s: %w", event, err)
	}
	if len(b) > maxData {
		return nil, fmt.Errorf("gateway: encode %s: %d bytes are over the limit", event, len(b))
	}
	return b, nil
}

// problemOf returns what a client hears of err, and whether its cause is the
// server's and belongs into the log.
func problemOf(err error) (p problem, internal bool) {
	var doc *rest.Document
	if !errors.As(rest.ToHuma(err), &doc) {
		return problem{Code: "internal", Message: "Internal server error"}, true
	}
	return problem{Code: doc.Code, Message: doc.Message}, doc.Status >= 500
}
