// Package events keeps what cameras saw, and tells the clients that are linked
// with them: over the gateway those that are connected, by push the others.
package events

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Rows are the events in the database.
type Rows interface {
	StartEvent(ctx context.Context, e store.Event, m store.Message, grace time.Time, by store.Actor) (store.StartedEvent, error)
	DeliverEvent(ctx context.Context, eventID string, delivered []string, at time.Time) error
	EndEvent(ctx context.Context, cameraID, id string, at time.Time, message func(store.Event) (store.Message, error),
		by store.Actor) (store.Event, error)
	EndStaleEvents(ctx context.Context, before, at time.Time, limit int,
		message func(store.Event) (store.Message, error)) ([]store.Event, error)
	Event(ctx context.Context, userID, id string) (store.Event, error)
	Events(ctx context.Context, userID string, by store.EventFilter, p store.Page) ([]store.Event, error)
	// ExpectObject has an object deleted at the time until, unless one of the
	// others has given it to an event by then.
	ExpectObject(ctx context.Context, key string, until time.Time) error
	SetEventThumbnail(ctx context.Context, cameraID, id, key string, by store.Actor) (before string, err error)
	DeleteEvent(ctx context.Context, userID, id string, by store.Actor) (store.Event, error)
}

// Notifications are who was told, in the database.
type Notifications interface {
	Notification(ctx context.Context, userID, deviceID, id string) (store.Notification, error)
	Notifications(ctx context.Context, userID string, by store.NotificationFilter, p store.Page) ([]store.Notification, error)
	AdvanceNotification(ctx context.Context, userID, deviceID, id string, to store.NotificationStatus, at time.Time,
		by store.Actor) (store.Notification, error)
	ReadNotifications(ctx context.Context, userID, deviceID string, at time.Time, by store.Actor) (int64, error)
	DeleteNotification(ctx context.Context, userID, deviceID, id string, by store.Actor) error
}

// Devices reads devices and who may talk to whom.
type Devices interface {
	DeviceByID(ctx context.Context, id string) (store.Device, error)
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
	Links(ctx context.Context, userID string, by store.LinkFilter, p store.Page) ([]store.Link, error)
}

// Store is what events needs from the database.
type Store interface {
	Rows
	Notifications
	Devices
}

// Gateway delivers an event to a device, wherever it is connected.
type Gateway interface {
	Send(ctx context.Context, deviceID, event string, data any) (delivered bool, err error)
}

// Objects keeps thumbnails.
type Objects interface {
	Put(ctx context.Context, key, contentType string, data []byte) error
	// SignGet returns a URL that answers GET by the right that grant names.
	SignGet(ctx context.Context, key string, ttl time.Duration, grant string) (url string, expires time.Time, err error)
	Delete(ctx context.Context, key string) error
}

// Notifier has workers look at a queue that a transaction has added to.
type Notifier interface{ Notify(ctx context.Context) }

// Config is what a Service is made of. Every period has a default.
type Config struct {
	Store   Store
	Gateway Gateway
	Objects Objects
	Queues  []Notifier // pushes, webhooks
	Logger  *slog.Logger
	Now     func() time.Time // time.Now if nil

	// Public is where what is told leads.
	Public rest.Public
	// URLTTL is how long a thumbnail's URL works. Default 1 h.
	URLTTL time.Duration
	// StaleAfter ends an event whose camera has not renewed it. Default 5 min.
	StaleAfter time.Duration
	// Interval is how often Run looks for those. Default 10 s.
	Interval time.Duration
	// Grace is how long the fan-out over the gateway may take before pushes go
	// out regardless. Default 5 s.
	Grace time.Duration
}

// Service is the feature. It is safe for concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	failing bool // belongs to Run
}

var (
	// ErrNoEvent reports an end without an event.
	ErrNoEvent = fault.New(fault.NotFound, "no_active_event", "This camera has no active event.")
	// ErrEnded reports a second end.
	ErrEnded = fault.New(fault.Conflict, "event_ended", "That event has ended already.")
	// ErrActive reports a wish to delete what still goes on.
	ErrActive = fault.New(fault.Conflict, "event_active", "That event has not ended yet.")
	// ErrThumbnail reports a picture that is none, or too large.
	ErrThumbnail = fault.New(fault.Unprocessable, "invalid_thumbnail", "A thumbnail is a JPEG or WebP picture of at most 40 KiB.")
	// ErrStorage reports an object store that does not answer.
	ErrStorage = fault.New(fault.Unavailable, "storage_unavailable", "The storage does not answer. Try again.")
)

// What a camera says that it saw, unless it says so.
const triggerMotion = "motion"

const (
	maxThumbnail = 40 << 10 // bytes; base64 of it fits into a request
	// thumbnailGrace is how long an object may wait for its event's row: far
	// longer than a request takes. What the row does not claim is deleted then.
	thumbnailGrace = time.Hour
	staleBatch     = 256
)

// New returns the feature; the caller runs its Run.
func New(c Config) *Service {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.URLTTL = cmp.Or(c.URLTTL, time.Hour)
	c.StaleAfter = cmp.Or(c.StaleAfter, 5*time.Minute)
	c.Interval = cmp.Or(c.Interval, 10*time.Second)
	c.Grace = cmp.Or(c.Grace, 5*time.Second)
	return &Service{cfg: c, log: c.Logger}
}

// Sighting is what a camera reports.
type Sighting struct {
	TriggeredBy string // motion if empty
	Thumbnail   []byte // JPEG or WebP, may be nil
}

// Start begins an event of the camera p, and tells the clients linked with it.
// While the camera has an active event, that one is renewed instead, and began
// is false: nobody is told twice.
func (s *Service) Start(ctx context.Context, p auth.Principal, seen Sighting) (e store.Event, began bool, err error) {
	if p.Role != store.RoleCamera {
		return store.Event{}, false, auth.ErrForbidden
	}
	camera, err := s.cfg.Store.DeviceByID(ctx, p.DeviceID)
	if err != nil {
		return store.Event{}, false, err
	}
	extension, ok := pictureType(seen.Thumbnail)
	if len(seen.Thumbnail) > 0 && !ok {
		return store.Event{}, false, ErrThumbnail
	}
	now := s.now()
	e = store.Event{
		ID: store.NewID(), UserID: p.UserID, DeviceID: p.DeviceID, Status: store.EventActive,
		TriggeredBy: cmp.Or(seen.TriggeredBy, triggerMotion), StartedAt: now, CreatedAt: now, UpdatedAt: now,
	}
	if e.ThumbnailKey, err = s.keepThumbnail(ctx, e, seen.Thumbnail, extension); err != nil {
		return store.Event{}, false, err
	}
	notice := s.notice(ctx, e, camera.Name)
	payload, err := json.Marshal(notice)
	if err != nil {
		return store.Event{}, false, err
	}
	made, err := s.cfg.Store.StartEvent(ctx, e, store.Message{Type: EventStarted, Payload: payload}, now.Add(s.cfg.Grace), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		s.drop(ctx, e.ThumbnailKey)
		return made.Event, false, nil
	}
	if err != nil {
		return store.Event{}, false, err
	}
	s.log.InfoContext(ctx, "event started", slog.String("event", e.ID), slog.String("device", e.DeviceID),
		slog.String("triggered_by", e.TriggeredBy), slog.Int("count", len(made.Pushes)))
	s.deliver(context.WithoutCancel(ctx), made, notice)
	return made.Event, true, nil
}

// keepThumbnail stores the picture of an event that is to be, and returns its
// key. Without the storage the event does without: who is told counts more.
// While an event is active there will be no new one, and so no object.
func (s *Service) keepThumbnail(ctx context.Context, e store.Event, data []byte, extension string) (string, error) {
	if len(data) == 0 {
		return "", nil
	}
	active, err := s.cfg.Store.Events(ctx, e.UserID,
		store.EventFilter{CameraDeviceID: e.DeviceID, Status: store.EventActive}, store.Page{Limit: 1})
	if err != nil || len(active) > 0 {
		return "", err
	}
	key := thumbnailKey(e.DeviceID, extension)
	if err := s.cfg.Store.ExpectObject(ctx, key, e.CreatedAt.Add(thumbnailGrace)); err != nil {
		return "", err
	}
	if err := s.cfg.Objects.Put(ctx, key, "image/"+extension, data); err != nil {
		s.log.WarnContext(ctx, "thumbnail not kept", slog.String("event", e.ID), slog.Any("err", err))
		return "", nil
	}
	return key, nil
}

// thumbnailKey names a new object: objects never change.
func thumbnailKey(cameraID, extension string) string {
	return "thumbnails/" + cameraID + "/" + store.NewID() + "." + extension
}

// pictureType returns jpeg or webp, by how such files begin.
func pictureType(data []byte) (string, bool) {
	switch {
	case len(data) > maxThumbnail:
		return "", false
	case bytes.HasPrefix(data, []byte{0xff, 0xd8, 0xff}):
		return "jpeg", true
	case len(data) > 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP":
		return "webp", true
	default:
		return "", false
	}
}

// drop deletes an object that surely no event has, ahead of time.
func (s *Service) drop(ctx context.Context, key string) {
	if key == "" {
		return
	}
	if err := s.cfg.Objects.Delete(context.WithoutCancel(ctx), key); err != nil {
		s.log.WarnContext(ctx, "thumbnail left behind", slog.String("key", key), slog.Any("err", err))
	}
}

// End ends the event id of the camera p, or whichever is active if id is
// empty.
func (s *Service) End(ctx context.Context, p auth.Principal, id string) (store.Event, error) {
	if p.Role != store.RoleCamera {
		return store.Event{}, auth.ErrForbidden
	}
	e, err := s.cfg.Store.EndEvent(ctx, p.DeviceID, id, s.now(), s.endMessage(ctx), p.Actor())
	switch {
	case errors.Is(err, store.ErrConflict):
		return store.Event{}, ErrEnded.With(err)
	case errors.Is(err, store.ErrNotFound) && id == "":
		return store.Event{}, ErrNoEvent.With(err)
	case err != nil:
		return store.Event{}, err
	}
	s.announceEnd(context.WithoutCancel(ctx), e)
	return e, nil
}

// SetThumbnail gives an event of the camera p a picture, in place of the one
// that it has.
func (s *Service) SetThumbnail(ctx context.Context, p auth.Principal, id string, data []byte) (store.Event, error) {
	if p.Role != store.RoleCamera {
		return store.Event{}, auth.ErrForbidden
	}
	extension, ok := pictureType(data)
	if !ok {
		return store.Event{}, ErrThumbnail
	}
	e, err := s.Event(ctx, p, id)
	if err != nil {
		return store.Event{}, err
	}
	e.ThumbnailKey = thumbnailKey(p.DeviceID, extension)
	if err := s.cfg.Store.ExpectObject(ctx, e.ThumbnailKey, s.now().Add(thumbnailGrace)); err != nil {
		return store.Event{}, err
	}
	if err := s.cfg.Objects.Put(ctx, e.ThumbnailKey, "image/"+extension, data); err != nil {
		return store.Event{}, ErrStorage.With(err)
	}
	before, err := s.cfg.Store.SetEventThumbnail(ctx, p.DeviceID, id, e.ThumbnailKey, p.Actor())
	if err != nil {
		return store.Event{}, err
	}
	s.drop(ctx, before)
	return e, nil
}

// Event returns an event that p may see: a user's own, a camera's own, or that
// of a camera which a client is linked with.
func (s *Service) Event(ctx context.Context, p auth.Principal, id string) (store.Event, error) {
	e, err := s.cfg.Store.Event(ctx, p.UserID, id)
	if err != nil {
		return store.Event{}, err
	}
	if p.DeviceID != "" && p.DeviceID != e.DeviceID {
		if _, err := s.cfg.Store.ActiveLink(ctx, e.DeviceID, p.DeviceID); err != nil {
			return store.Event{}, err
		}
	}
	return e, nil
}

// List lists the events that p may see, as Event says.
func (s *Service) List(ctx context.Context, p auth.Principal, f store.EventFilter, page store.Page) ([]store.Event, error) {
	f.DeviceID = p.DeviceID
	return s.cfg.Store.Events(ctx, p.UserID, f, page)
}

// Delete deletes an event that has ended, with its thumbnail. The object goes
// first: what is interrupted between the two is deleted by trying again.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	e, err := s.cfg.Store.Event(ctx, p.UserID, id)
	if err != nil {
		return err
	}
	if e.Status == store.EventActive {
		return ErrActive
	}
	if e.ThumbnailKey != "" {
		if err := s.cfg.Objects.Delete(ctx, e.ThumbnailKey); err != nil {
			return ErrStorage.With(err)
		}
	}
	_, err = s.cfg.Store.DeleteEvent(ctx, p.UserID, id, p.Actor())
	return err
}

// thumbnailURL returns a URL of the event's picture, "" for none.
func (s *Service) thumbnailURL(ctx context.Context, e store.Event, g auth.Grant) string {
	if e.ThumbnailKey == "" {
		return ""
	}
	signed, _, err := s.cfg.Objects.SignGet(ctx, e.ThumbnailKey, s.cfg.URLTTL, g.String())
	if err != nil {
		s.log.WarnContext(ctx, "thumbnail not signed", slog.String("event", e.ID), slog.Any("err", err))
		return ""
	}
	return s.cfg.Public.Absolute(ctx, signed)
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
