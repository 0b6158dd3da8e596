// Package socketio reads and writes the packets of Socket.IO protocol 5 inside
// the messages of Engine.IO protocol 4, as they are on a WebSocket: text only,
// one namespace.
//
// https://github.com/socketio/engine.io-protocol (revision 4) and
// https://github.com/socketio/socket.io-protocol (revision 5).
package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"time"
)

// Type is what a packet is.
type Type int

// The packets that a client sends, as far as they matter here.
const (
	Pong       Type = iota + 1 // Engine.IO: the answer to a ping
	Close                      // Engine.IO: the client closes the connection
	Noop                       // Engine.IO: nothing
	Connect                    // to a namespace
	Disconnect                 // from a namespace
	Event
	Ack // of an event that asked for one; the server never does
)

// Packet is one packet from a client.
type Packet struct {
	Type      Type
	Namespace string // "/" is the main one
	// ID is that of an event which asks for an acknowledgement, digits, or "".
	ID string
	// Name is an event's.
	Name string
	// Data is a Connect's object, or an event's arguments without its name; nil
	// if there are none.
	Data []json.RawMessage
}

var (
	// ErrSyntax reports what is no packet.
	ErrSyntax = errors.New("socketio: not a packet")
	// ErrBinary reports a packet with attachments, which are not taken here.
	ErrBinary = errors.New("socketio: a packet with binary attachments")
)

const (
	maxIDDigits  = 10 // clients count from 0
	maxNamespace = 128
	maxArguments = 8
)

// Parse reads one message of a client.
func Parse(frame []byte) (Packet, error) {
	if len(frame) == 0 {
		return Packet{}, ErrSyntax
	}
	switch frame[0] {
	case '1':
		return bare(frame, Close)
	case '3': // a probe's answer carries text, which nobody asked for here
		return Packet{Type: Pong}, nil
	case '6':
		return bare(frame, Noop)
	case '4':
		return parseMessage(frame[1:])
	default: // 0 and 2 are the server's, 5 belongs to another transport
		return Packet{}, ErrSyntax
	}
}

func bare(frame []byte, t Type) (Packet, error) {
	if len(frame) > 1 {
		return Packet{}, ErrSyntax
	}
	return Packet{Type: t}, nil
}

func parseMessage(b []byte) (Packet, error) {
	if len(b) == 0 {
		return Packet{}, ErrSyntax
	}
	p := Packet{Namespace: "/"}
	switch b[0] {
	case '0':
		p.Type = Connect
	case '1':
		p.Type = Disconnect
	case '2':
		p.Type = Event
	case '3':
		p.Type = Ack
	case '5', '6':
		return Packet{}, ErrBinary
	default:
		return Packet{}, ErrSyntax
	}
	b = b[1:]
	if len(b) > 0 && b[0] == '/' {
		name, rest, _ := bytes.Cut(b, []byte(","))
		if len(name) > maxNamespace {
			return Packet{}, ErrSyntax
		}
		p.Namespace, b = string(name), rest
	}
	digits := 0
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		digits++
	}
	if digits > maxIDDigits || digits > 0 && p.Type != Event && p.Type != Ack {
		return Packet{}, ErrSyntax
	}
	p.ID = string(b[:digits])
	return p, p.payload(b[digits:])
}

// payload reads what follows the id.
func (p *Packet) payload(b []byte) error {
	switch {
	case p.Type == Connect && len(b) == 0, p.Type == Disconnect && len(b) == 0:
		return nil
	case p.Type == Connect:
		if b[0] != '{' || !json.Valid(b) {
			return ErrSyntax
		}
		p.Data = []json.RawMessage{b}
		return nil
	case p.Type == Disconnect:
		return ErrSyntax
	}
	var list []json.RawMessage
	if err := json.Unmarshal(b, &list); err != nil || list == nil || len(list) > maxArguments+1 {
		return ErrSyntax
	}
	if p.Type == Ack {
		if p.ID == "" {
			return ErrSyntax
		}
		return nil
	}
	if len(list) == 0 || json.Unmarshal(list[0], &p.Name) != nil || list[0][0] != '"' {
		return ErrSyntax
	}
	if len(list) > 1 {
		p.Data = list[1:]
	}
	return nil
}

// Ping asks a client for a Pong. Close ends the Engine.IO connection.
const (
	PingMessage  = "2"
	CloseMessage = "1"
	// DisconnectMessage takes the client out of the main namespace: it does not
	// come back by itself.
	DisconnectMessage = "41"
)

// Open is the server's first message on a connection.
func Open(sid string, pingInterval, pingTimeout time.Duration, maxPayload int) []byte {
	return join("0", struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{sid, []string{}, pingInterval.Milliseconds(), pingTimeout.Milliseconds(), maxPayload})
}

// Connected answers a Connect to the main namespace.
func Connected(sid string) []byte {
	return join("40", struct {
		SID string `json:"sid"`
	}{sid})
}

// Refused answers a Connect with a reason, which the client gets as
// connect_error.
func Refused(namespace, message string, data json.RawMessage) []byte {
	prefix := "44"
	if namespace != "/" {
		prefix += namespace + ","
	}
	return join(prefix, struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data,omitempty"`
	}{message, data})
}

// Emit writes an event with its arguments, which must be JSON.
func Emit(name string, args ...json.RawMessage) []byte {
	return join("42", append([]any{name}, boxed(args)...))
}

// Acknowledge answers an event that had an id.
func Acknowledge(id string, args ...json.RawMessage) []byte {
	return join("43"+id, append([]any{}, boxed(args)...))
}

func boxed(args []json.RawMessage) []any {
	list := make([]any, len(args))
	for i, a := range args {
		list[i] = a
	}
	return list
}

// join writes a packet out. What cannot be written out is not JSON, which is a
// defect of the caller: the client gets an empty packet of the same kind.
func join(prefix string, v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(strconv.Quote("not JSON"))
	}
	return append([]byte(prefix), b...)
}
