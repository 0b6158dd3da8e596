package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/store"
)

// What nodes ask each other, as the last token under a device's topic. Whoever
// subscribes holds connections of that device.
const (
	askSend  = ".send"  // data is a deviceEvent for every connection
	askHolds = ".holds" // only whether anybody answers matters
)

const (
	answerYes = "yes"
	answerNo  = "no"
)

// Send gives an event to every connection of a device, on whichever node, and
// keeps it among the device's last Config.KeepEvents: a client that comes back
// with its cursor gets what it missed. It reports whether a connection is there
// to hear of it now. A device without connections, or that does not exist, is
// no error.
func (g *Gateway) Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error) {
	return g.SendNews(ctx, deviceID, event, data, g.cfg.Events.AppendDeviceEvent)
}

// Append keeps an event among those of a device, and numbers it. It returns
// store.ErrConflict when the event is no news any more, and nobody is to hear of
// it, and store.ErrNotFound when there is no such device.
type Append func(ctx context.Context, deviceID string, e store.DeviceEvent, keep int) (seq int64, err error)

// SendNews is Send for an event that may be overtaken by another: devices hear
// events in the order in which they are appended.
func (g *Gateway) SendNews(ctx context.Context, deviceID, event string, data any, add Append) (delivered bool, err error) {
	raw, err := encode(event, data)
	if err != nil {
		return false, err
	}
	e := deviceEvent{Event: event, Data: raw}
	e.Seq, err = add(ctx, deviceID, store.DeviceEvent{
		Event: event, Data: raw, CreatedAt: g.cfg.Now().UTC().Truncate(time.Millisecond),
	}, g.cfg.KeepEvents)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("gateway: keep %s: %w", event, err)
	}
	return g.reach(ctx, deviceID, e)
}

// Relay is Send for what matters now or never, or is kept elsewhere: a client
// that is away does not get it later. It reports whether at least one
// connection took it into its queue.
func (g *Gateway) Relay(ctx context.Context, deviceID, event string, data any) (delivered bool, err error) {
	raw, err := encode(event, data)
	if err != nil {
		return false, err
	}
	return g.reach(ctx, deviceID, deviceEvent{Event: event, Data: raw})
}

func (g *Gateway) reach(ctx context.Context, deviceID string, e deviceEvent) (delivered bool, err error) {
	_, delivered, err = g.ask(ctx, deviceID, askSend, mustJSON(e))
	if err != nil {
		return false, fmt.Errorf("gateway: send %s: %w", e.Event, err)
	}
	return delivered, nil
}

// Connected reports whether a device has a connection, on whichever node.
func (g *Gateway) Connected(ctx context.Context, deviceID string) (bool, error) {
	held, _, err := g.ask(ctx, deviceID, askHolds, nil)
	if err != nil {
		return false, fmt.Errorf("gateway: look for device: %w", err)
	}
	return held, nil
}

// elsewhere tells whether some node, not this device's unsubscribed goroutine,
// holds connections of the device. When the bus does not know, nobody does.
func (g *Gateway) elsewhere(deviceID string) bool {
	held, _, err := g.ask(context.Background(), deviceID, askHolds, nil)
	if err != nil {
		g.log.Warn("other nodes not asked for device", slog.String("device", deviceID), slog.Any("err", err))
	}
	return held
}

// ask puts a question to every node that holds the device. It returns whether
// there was one, and whether any said yes: the no of a node whose last
// connection is on its way out may be there before another node's yes, which is
// then waited for.
func (g *Gateway) ask(ctx context.Context, deviceID, what string, data []byte) (held, yes bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SendTimeout)
	defer cancel()
	err = g.cfg.Bus.Gather(ctx, bus.DeviceTopic(deviceID)+what, data, func(answer []byte) bool {
		if yes = string(answer) == answerYes; !yes && !held {
			time.AfterFunc(g.cfg.SendTimeout/4, cancel)
		}
		held = true
		return yes
	})
	if held || errors.Is(err, bus.ErrNoResponders) {
		return held, yes, nil
	}
	return false, false, err
}

// receive answers what a node asked. It runs on the subscription's goroutine
// and never blocks: a connection takes a frame into its queue or is closed.
func (g *Gateway) receive(d *device, m bus.Msg) {
	answer := answerNo
	switch what := m.Subject[strings.LastIndexByte(m.Subject, '.'):]; what {
	case askSend:
		var e deviceEvent
		if err := json.Unmarshal(m.Data, &e); err != nil {
			g.log.Warn("node not understood", slog.String("device", d.id), slog.Any("err", err))
		} else if g.deliver(d, e) {
			answer = answerYes
		}
	case askHolds:
		answer = answerYes
	}
	if err := m.Respond([]byte(answer)); err != nil {
		g.log.Warn("node not answered", slog.String("device", d.id), slog.Any("err", err))
	}
}
