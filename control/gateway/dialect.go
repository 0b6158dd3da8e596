package gateway

import (
	"encoding/json"
	"strconv"

	"github.com/fasthttp/websocket"
)

// dialect is how a connection puts things. A value belongs to one connection
// and is used by its reading goroutine, but for event, ping and leave, which
// read only what never changes.
type dialect interface {
	// greeting is what the server says before the client does, or nil.
	greeting() []byte
	// silent reports whether a client whose request carried its token says
	// nothing more before it is let in.
	silent() bool
	// first reads the first message. With an error it still returns the id, if
	// that much could be read.
	first(frame []byte) (hello, error)
	// binary reports whether binary messages are passed over; otherwise they end
	// the connection.
	binary() bool
	// parse reads a message after that.
	parse(frame []byte) (incoming, error)

	// ready lets the client in, problem refuses something, and deny the client
	// itself.
	ready(id string, data readyData) [][]byte
	problem(id string, p problem) []byte
	deny(id string, p problem) []byte
	reply(id string, data json.RawMessage) []byte
	event(e deviceEvent) []byte
	ping() message
	// leave is what is said before the close frame, or nil.
	leave(code int) []byte
}

// hello is what a client says to be let in.
type hello struct {
	token string
	after string // the cursor of the last event that it has seen, if any
	id    string
}

// incoming is one message of a client that has been let in.
type incoming struct {
	envelope
	nothing bool // a mere sign of life
	leaves  bool // the client says goodbye
}

// native is the protocol of PROTOCOL.md.
type native struct{}

func (native) greeting() []byte { return nil }
func (native) silent() bool     { return true }
func (native) binary() bool     { return false }

func (native) first(frame []byte) (hello, error) {
	e, err := parseEnvelope(frame)
	if err != nil {
		return hello{id: e.id}, err
	}
	if e.event != eventAuthenticate {
		return hello{id: e.id}, errNoToken
	}
	var data struct {
		Token string `json:"token"`
		After string `json:"after"`
	}
	if err := Decode(e.data, &data); err != nil {
		return hello{id: e.id}, err
	}
	return hello{token: data.Token, after: data.After, id: e.id}, nil
}

func (native) parse(frame []byte) (incoming, error) {
	e, err := parseEnvelope(frame)
	return incoming{envelope: e}, err
}

func (native) ready(id string, data readyData) [][]byte {
	return [][]byte{write(outgoing{Event: eventReady, ID: id, Data: mustJSON(data)})}
}

func (native) reply(id string, data json.RawMessage) []byte {
	return write(outgoing{Event: eventReply, ID: id, Data: data})
}

func (native) problem(id string, p problem) []byte {
	return write(outgoing{Event: eventError, ID: id, Data: mustJSON(p)})
}

func (n native) deny(id string, p problem) []byte { return n.problem(id, p) }

func (native) event(e deviceEvent) []byte {
	return write(outgoing{Event: e.Event, Cursor: cursor(e.Seq), Data: e.Data})
}

func (native) ping() message    { return message{kind: websocket.PingMessage} }
func (native) leave(int) []byte { return nil }

// cursor writes an event's number as clients see it; an event that is not kept
// has none.
func cursor(seq int64) string {
	if seq == 0 {
		return ""
	}
	return strconv.FormatInt(seq, 10)
}

// write marshals what is made of strings and JSON alone, which cannot fail.
func write(o outgoing) []byte { return mustJSON(o) }

func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) //nolint:forbidigo // only for what is no JSON in the first place
	}
	return b
}
