package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/securecam/securecam/control/gateway/socketio"
	"github.com/securecam/securecam/control/rest"
)

// socketIO is Socket.IO 5 on Engine.IO 4, for clients that are written on it:
// PROTOCOL.md says how the same events look there.
type socketIO struct {
	sid       string
	pingEvery time.Duration
	deadAfter time.Duration
	namespace string // what the client asked for
}

const mainNamespace = "/"

func (s *socketIO) greeting() []byte {
	return socketio.Open(s.sid, s.pingEvery, s.deadAfter-s.pingEvery, maxMessage)
}

// silent is false: whatever the request carried, a client connects to a
// namespace.
func (*socketIO) silent() bool { return false }

// binary messages are the attachments of a packet that was refused before them.
func (*socketIO) binary() bool { return true }

func (s *socketIO) first(frame []byte) (hello, error) {
	if !utf8.Valid(frame) || rest.HasNUL(frame) {
		return hello{}, errEnvelope
	}
	p, err := socketio.Parse(frame)
	if err != nil {
		return hello{}, errNoToken.With(err)
	}
	s.namespace = p.Namespace
	if p.Type != socketio.Connect || p.Namespace != mainNamespace {
		return hello{}, errNoToken
	}
	var auth struct { // clients may put more into it
		Token string `json:"token"`
		After string `json:"after"`
	}
	if len(p.Data) > 0 {
		if err := json.Unmarshal(p.Data[0], &auth); err != nil {
			return hello{}, errNoToken.With(err)
		}
	}
	return hello{token: auth.Token, after: auth.After}, nil
}

func (*socketIO) parse(frame []byte) (incoming, error) {
	if !utf8.Valid(frame) || rest.HasNUL(frame) {
		return incoming{}, errEnvelope
	}
	p, err := socketio.Parse(frame)
	if errors.Is(err, socketio.ErrBinary) {
		return incoming{}, errBinary
	}
	if err != nil {
		return incoming{}, errEnvelope.With(err)
	}
	switch p.Type {
	case socketio.Pong, socketio.Noop, socketio.Ack: // the server asks for no acknowledgement
		return incoming{nothing: true}, nil
	case socketio.Close, socketio.Disconnect:
		return incoming{leaves: true}, nil
	case socketio.Event:
		e, err := eventOf(p)
		return incoming{envelope: e}, err
	case socketio.Connect: // it is connected
	}
	return incoming{}, errEnvelope
}

// eventOf takes an event's first argument for its data.
func eventOf(p socketio.Packet) (envelope, error) {
	e := envelope{id: p.ID}
	if p.Namespace != mainNamespace || !validEvent(p.Name) || len(p.Data) > 1 {
		return e, errEnvelope
	}
	if len(p.Data) == 1 && !bytes.Equal(p.Data[0], []byte("null")) {
		if p.Data[0][0] != '{' {
			return e, errEnvelope
		}
		e.data = p.Data[0]
	}
	e.event = p.Name
	return e, nil
}

func (s *socketIO) ready(_ string, data readyData) [][]byte {
	return [][]byte{socketio.Connected(s.sid), socketio.Emit(eventReady, mustJSON(data))}
}

func (*socketIO) reply(id string, data json.RawMessage) []byte { return socketio.Acknowledge(id, data) }

func (*socketIO) problem(id string, p problem) []byte {
	if id == "" {
		return socketio.Emit(eventError, mustJSON(p))
	}
	return socketio.Acknowledge(id, mustJSON(map[string]problem{"error": p}))
}

func (s *socketIO) deny(_ string, p problem) []byte {
	return socketio.Refused(cmp.Or(s.namespace, mainNamespace), p.Message, mustJSON(p))
}

// event adds the cursor as a second argument, which listeners may ignore.
func (*socketIO) event(e deviceEvent) []byte {
	if e.Seq == 0 {
		return socketio.Emit(e.Event, e.Data)
	}
	return socketio.Emit(e.Event, e.Data, json.RawMessage(fmt.Sprintf(`{"cursor":"%d"}`, e.Seq)))
}

func (*socketIO) ping() message {
	return message{kind: textMessage, data: []byte(socketio.PingMessage)}
}

// leave takes clients out that have no reason to come back, which they would
// otherwise do by themselves.
func (*socketIO) leave(code int) []byte {
	if code < 4000 || code == CloseSlow {
		return nil
	}
	return []byte(socketio.DisconnectMessage)
}
