package streams

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// eventSignal carries offers, answers and candidates between the two devices of
// a stream. What is in it is theirs.
const eventSignal = "webrtc:signal"

const maxSignal = 32 << 10 // bytes; the largest session descriptions have about 20,000

// signalBurst is how many seconds' worth of signals one connection may send at
// once: a session needs some dozens of candidates then, and little afterwards.
const signalBurst = 5

// maxRelayed bounds a signal as it goes on, which is longer when it has to be
// escaped.
const maxRelayed = 48 << 10

var errLongSignal = fault.New(fault.TooLarge, "signal_too_large", "The signal is too large.")

var errBadSignal = fault.New(fault.Unprocessable, "invalid_signal",
	`A signal is an object with "streamSessionId", a text, and whatever else the other device understands.`)

// signals registers the relay of signals on the gateway.
func (s *Service) signals(g Gateway) {
	rate := s.cfg.SignalsPerSecond
	g.HandleWithin(eventSignal, gateway.Limit{Bytes: maxSignal, PerSecond: float64(rate), Burst: signalBurst * rate}, s.handleSignal)
}

// handleSignal passes a signal on to the other device of its stream, with
// fromDeviceId set, and tells whether it was there.
func (s *Service) handleSignal(ctx context.Context, p auth.Principal, data json.RawMessage) (any, error) {
	var signal map[string]json.RawMessage
	if err := json.Unmarshal(data, &signal); err != nil {
		return nil, errBadSignal.With(err)
	}
	id, err := textMember(signal, "streamSessionId")
	if err != nil {
		return nil, errBadSignal.With(err)
	}
	if id == "" {
		return nil, errBadSignal
	}
	wanted, err := textMember(signal, "toDeviceId")
	if err != nil {
		return nil, errBadSignal.With(err)
	}
	st, err := s.Stream(ctx, p, id)
	if err != nil {
		return nil, err
	}
	if !isOpen(st) {
		return nil, ErrEnded
	}
	other := st.CameraDeviceID
	if p.DeviceID == other {
		other = st.RequesterDeviceID
	}
	if wanted != "" && wanted != other {
		return nil, store.ErrNotFound
	}
	if signal["fromDeviceId"], err = json.Marshal(p.DeviceID); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(signal)
	if err != nil {
		return nil, err
	}
	if len(raw) > maxRelayed {
		return nil, errLongSignal
	}
	delivered, err := s.gateway.Relay(ctx, other, eventSignal, signal)
	if err != nil {
		return nil, err
	}
	return map[string]bool{"delivered": delivered}, nil
}

// textMember returns a member that is a text, "" when there is none.
func textMember(object map[string]json.RawMessage, name string) (text string, err error) {
	raw, there := object[name]
	if !there {
		return "", nil
	}
	if err := json.Unmarshal(raw, &text); err != nil || len(text) > 64 {
		return "", errors.Join(errors.New(name+" is no short text"), err)
	}
	return text, nil
}
