package commands

import (
	"context"
	"encoding/json"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// The events of commands. The data of those to a device is a Command.
const (
	eventReceived  = "command:received"  // to the target, which gets it until it answers
	eventCancelled = "command:cancelled" // to the target: no answer is wanted any more
	eventStatus    = "command:status"    // to the source
	eventAck       = "command:ack"       // from the target
)

// handleAckEvent answers the event with the command as it is afterwards.
func (s *Service) handleAckEvent(ctx context.Context, p auth.Principal, data json.RawMessage) (any, error) {
	var in struct {
		CommandID string          `json:"commandId"`
		Status    string          `json:"status"`
		Result    json.RawMessage `json:"result"`
		Error     string          `json:"error"`
	}
	if err := gateway.Decode(data, &in); err != nil {
		return nil, err
	}
	c, err := s.Ack(ctx, p, in.CommandID, Answer{Status: store.CommandStatus(in.Status), Result: in.Result, Error: in.Error})
	if err != nil {
		return nil, err
	}
	return toCommand(c), nil
}
