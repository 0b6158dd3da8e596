package streams

import (
	"context"
	"log/slog"
	"time"

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

// Gateway delivers an event to a device, wherever it is connected.
type Gateway interface {
	Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
}

func (s *Service) announce(ctx context.Context, event string, st store.Stream, devices ...string) {
	for _, id := range devices {
		sendCtx, cancel := context.WithTimeout(ctx, announceTimeout)
		_, err := s.gateway.Send(sendCtx, id, event, toStream(st))
		cancel()
		if err != nil {
			s.log.WarnContext(ctx, "stream event not sent", slog.String("stream", st.ID),
				slog.String("device", id), slog.String("event", event), slog.Any("err", err))
		}
	}
}
