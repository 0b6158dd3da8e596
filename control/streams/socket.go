package streams

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// The events that devices hear; their data is a Stream.
const (
	EventRequested = "stream:requested"
	EventStarted   = "stream:started"
	EventEnded     = "stream:ended"
)

// announceTimeout bounds one delivery. A lost event costs a device latency,
// not state: the row is the truth and GET /streams/{id} tells it.
const announceTimeout = 5 * time.Second

// Gateway carries events to devices, wherever they are connected, and from them.
type Gateway interface {
	Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
	Relay(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
	HandleWithin(event string, l gateway.Limit, h gateway.Handler)
}

// Notifier tells those whom the gateway does not reach. Whatever is queued
// with the same key is sent once: several processes may tell of one end.
type Notifier interface {
	// Push queues an event for a device that is not connected.
	Push(ctx context.Context, userID, deviceID, event, key string, data any) error
	// Webhook queues an event for the user's webhooks.
	Webhook(ctx context.Context, userID, event, key string, data any) error
}

// announce tells of what has happened, also when the server stops meanwhile:
// nobody else would. Only a round whose time is over tells no more.
func (s *Service) announce(ctx context.Context, event string, st store.Stream, devices ...string) {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		telling, done := gateway.Telling(ctx)
		defer done()
		ctx = telling
	}
	for _, id := range devices {
		s.tell(ctx, event, st, id)
	}
	if s.cfg.Notifier == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	if err := s.cfg.Notifier.Webhook(ctx, st.OwnerUserID, event, st.ID+" "+event, toStream(st)); err != nil {
		s.log.WarnContext(ctx, "stream event not sent to webhooks", slog.String("stream", st.ID),
			slog.String("event", event), slog.Any("err", err))
	}
}

// tell sends an event to a device, by push when it is not connected. A start
// is no reason to wake a device: whoever waited for it is there.
func (s *Service) tell(ctx context.Context, event string, st store.Stream, device string) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	delivered, err := s.gateway.Send(ctx, device, event, toStream(st))
	if !delivered && event != EventStarted && s.cfg.Notifier != nil {
		err = errors.Join(err, s.cfg.Notifier.Push(ctx, st.OwnerUserID, device, event, st.ID+" "+event, toStream(st)))
	}
	if err != nil {
		s.log.WarnContext(ctx, "stream event not sent", slog.String("stream", st.ID),
			slog.String("device", device), slog.String("event", event), slog.Any("err", err))
	}
}
