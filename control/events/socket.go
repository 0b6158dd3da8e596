package events

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/store"
)

// The events that clients hear, also by push and webhook; their data is a
// Notice.
const (
	EventStarted = "motion:started"
	EventEnded   = "motion:ended"
)

// Notice is what clients and webhooks are told of an event.
type Notice struct {
	EventID        string    `json:"eventId"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	CameraName     string    `json:"cameraName"`
	TriggeredBy    string    `json:"triggeredBy"`
	StartedAt      time.Time `json:"startedAt"`
	EndedAt        time.Time `json:"endedAt,omitzero"`
	ThumbnailURL   string    `json:"thumbnailUrl,omitempty"`
	URL            string    `json:"url"` // of the page that shows it
}

func (s *Service) notice(ctx context.Context, e store.Event, cameraName string) Notice {
	return Notice{
		EventID: e.ID, CameraDeviceID: e.DeviceID, CameraName: cameraName, TriggeredBy: e.TriggeredBy,
		StartedAt: e.StartedAt, EndedAt: e.EndedAt, ThumbnailURL: s.thumbnailURL(ctx, e, auth.UserGrant(e.UserID, s.now())),
		URL: s.cfg.Public.Absolute(ctx, "/sim#/events/"+e.ID),
	}
}

// fanOutWidth is how many devices are told at a time.
const fanOutWidth = 16

// deliver tells the clients of a new event and settles their pushes: who got
// it over the gateway needs none. Whatever fails, the pushes go out.
func (s *Service) deliver(ctx context.Context, made store.StartedEvent, n Notice) {
	devices := make([]string, len(made.Notifications))
	for i, notification := range made.Notifications {
		devices[i] = notification.RecipientDeviceID
	}
	delivered := s.fanOut(ctx, devices, EventStarted, n)
	if err := s.cfg.Store.DeliverEvent(ctx, made.Event.ID, delivered, s.now()); err != nil {
		s.log.WarnContext(ctx, "pushes wait for their grace", slog.String("event", made.Event.ID), slog.Any("err", err))
	}
	s.notifyQueues(ctx)
}

func (s *Service) notifyQueues(ctx context.Context) {
	for _, q := range s.cfg.Queues {
		q.Notify(ctx)
	}
}

// fanOut sends an event to devices and returns those that got it.
func (s *Service) fanOut(ctx context.Context, devices []string, event string, n Notice) []string {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Grace)
	defer cancel()
	var (
		wg        sync.WaitGroup
		mu        sync.Mutex // guards delivered
		delivered []string
	)
	slots := make(chan struct{}, fanOutWidth)
	for _, id := range devices {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			got, err := s.cfg.Gateway.Send(ctx, id, event, n)
			if err != nil {
				s.log.WarnContext(ctx, "event not sent", slog.String("event", n.EventID), slog.String("device", id), slog.Any("err", err))
			}
			if got {
				mu.Lock()
				delivered = append(delivered, id)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return delivered
}

// endMessage makes what webhooks are told of an event that has ended.
func (s *Service) endMessage(ctx context.Context) func(store.Event) (store.Message, error) {
	return func(e store.Event) (store.Message, error) {
		payload, err := json.Marshal(s.notice(ctx, e, s.cameraName(ctx, e)))
		return store.Message{Type: EventEnded, Payload: payload}, err
	}
}

// cameraName returns "" for a camera that was deleted, or a database that does
// not answer: the name is for people only.
func (s *Service) cameraName(ctx context.Context, e store.Event) string {
	d, err := s.cfg.Store.DeviceByID(ctx, e.DeviceID)
	if err != nil {
		return ""
	}
	return d.Name
}

// announceEnd tells the clients that are connected. Nobody is woken for an
// end.
func (s *Service) announceEnd(ctx context.Context, e store.Event) {
	s.log.InfoContext(ctx, "event ended", slog.String("event", e.ID), slog.String("device", e.DeviceID))
	links, err := s.cfg.Store.Links(ctx, e.UserID, store.LinkFilter{DeviceID: e.DeviceID}, store.Page{Limit: maxClients})
	if err != nil {
		s.log.WarnContext(ctx, "end of event not told", slog.String("event", e.ID), slog.Any("err", err))
	}
	var clients []string
	for _, l := range links {
		if l.Status == store.LinkActive && l.CameraDeviceID == e.DeviceID {
			clients = append(clients, l.ClientDeviceID)
		}
	}
	s.fanOut(ctx, clients, EventEnded, s.notice(ctx, e, s.cameraName(ctx, e)))
	s.notifyQueues(ctx)
}

// maxClients bounds who hears of an end; a start reaches everybody.
const maxClients = 1000

// Run ends events that their cameras renew no more, until ctx ends and
// everybody has been told of those. Several processes may run it, since each
// event is ended by one.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.tick(ctx)
		}
	}
}

const tickTimeout = 30 * time.Second

// tick runs one round and logs an outage once, not each time.
func (s *Service) tick(ctx context.Context) {
	tickCtx, cancel := context.WithTimeout(ctx, tickTimeout)
	defer cancel()
	err := s.endStale(tickCtx)
	switch {
	case err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)): // stopping
	case err != nil && !s.failing:
		s.failing = true
		s.log.WarnContext(ctx, "stale events not ended", slog.Any("err", err))
	case err == nil && s.failing:
		s.failing = false
		s.log.InfoContext(ctx, "stale events ended again")
	}
}

func (s *Service) endStale(ctx context.Context) error {
	now := s.now()
	ended, err := s.cfg.Store.EndStaleEvents(ctx, now.Add(-s.cfg.StaleAfter), now, staleBatch, s.endMessage(ctx))
	if err != nil {
		return err
	}
	// They have ended, and nobody comes by them again.
	ctx, cancel := gateway.Telling(ctx)
	defer cancel()
	for _, e := range ended {
		s.announceEnd(ctx, e)
	}
	return nil
}
