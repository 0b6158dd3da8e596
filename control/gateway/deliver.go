package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/securecam/securecam/control/bus"
)

// What nodes ask each other, as the last token under a device's topic. Whoever
// subscribes holds connections of that device.
const (
	askSend  = ".send"  // data is a frame for every connection
	askHolds = ".holds" // only whether anybody answers matters
	askClose = ".close" // data is a close code for every connection
)

const (
	answerYes = "yes"
	answerNo  = "no"
)

// Send gives an event to every connection of a device, on whichever node, and
// reports whether at least one of them took it into its queue: events that
// must not be lost are acknowledged by the device. A device without
// connections is no error.
func (g *Gateway) Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error) {
	frame, err := encode(event, "", data)
	if err != nil {
		return false, err
	}
	answer, err := g.ask(ctx, deviceID, askSend, frame)
	if err != nil {
		return false, fmt.Errorf("gateway: send %s: %w", event, err)
	}
	return string(answer) == answerYes, nil
}

// Disconnect closes every connection of a device, on whichever node, with a
// close code. Codes outside 4000 to 4999 become CloseRevoked.
func (g *Gateway) Disconnect(ctx context.Context, deviceID string, code int) error {
	if code < 4000 || code > 4999 {
		code = CloseRevoked
	}
	if _, err := g.ask(ctx, deviceID, askClose, strconv.AppendInt(nil, int64(code), 10)); err != nil {
		return fmt.Errorf("gateway: disconnect: %w", err)
	}
	return nil
}

// elsewhere tells whether some node, not this device's unsubscribed goroutine,
// holds connections of the device. When the bus does not know, nobody does.
func (g *Gateway) elsewhere(deviceID string) bool {
	answer, err := g.ask(context.Background(), deviceID, askHolds, nil)
	if err != nil {
		g.log.Warn("other nodes not asked for device", slog.String("device", deviceID), slog.Any("err", err))
	}
	return answer != nil
}

// ask returns the first node's answer, nil when no node holds the device.
// Every node that does gets the question.
func (g *Gateway) ask(ctx context.Context, deviceID, what string, data []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SendTimeout)
	defer cancel()
	answer, err := g.cfg.Bus.Request(ctx, bus.DeviceTopic(deviceID)+what, data)
	if errors.Is(err, bus.ErrNoResponders) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if answer == nil {
		answer = []byte{}
	}
	return answer, nil
}

// receive answers what a node asked. It runs on the subscription's goroutine
// and never blocks: a connection takes a frame into its queue or is closed.
func (g *Gateway) receive(d *device, m bus.Msg) {
	answer := answerNo
	switch what := m.Subject[strings.LastIndexByte(m.Subject, '.'):]; what {
	case askSend:
		for _, c := range g.connections(d) {
			if c.enqueue(message{kind: textMessage, data: m.Data}) {
				answer = answerYes
			}
		}
	case askHolds:
		answer = answerYes
	case askClose:
		code, err := strconv.Atoi(string(m.Data))
		if err != nil {
			code = CloseRevoked
		}
		for _, c := range g.connections(d) {
			g.revoked.Add(1)
			c.stop(code, "the device's access has ended")
			answer = answerYes
		}
	}
	if err := m.Respond([]byte(answer)); err != nil {
		g.log.Warn("node not answered", slog.String("device", d.id), slog.Any("err", err))
	}
}
