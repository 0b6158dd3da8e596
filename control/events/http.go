package events

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Event is an event as clients see it.
type Event struct {
	ID             string    `json:"id"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	Status         string    `json:"status" enum:"active,ended"`
	TriggeredBy    string    `json:"triggeredBy" doc:"What the camera saw: motion, person, ..."`
	ThumbnailURL   string    `json:"thumbnailUrl,omitempty" doc:"Answers GET for a while, without any credentials"`
	VideoURL       string    `json:"videoUrl,omitempty" doc:"Where to ask for the video that was uploaded for it"`
	StartedAt      time.Time `json:"startedAt"`
	EndedAt        time.Time `json:"endedAt,omitzero"`
	CreatedAt      time.Time `json:"createdAt"`
}

func (s *Service) toEvent(ctx context.Context, e store.Event) Event {
	return Event{
		ID: e.ID, CameraDeviceID: e.DeviceID, Status: string(e.Status), TriggeredBy: e.TriggeredBy,
		ThumbnailURL: s.thumbnailURL(ctx, e, auth.Caller(ctx).Grant(e.DeviceID)), VideoURL: e.VideoURL,
		StartedAt: e.StartedAt, EndedAt: e.EndedAt, CreatedAt: e.CreatedAt,
	}
}

type startInput struct {
	Body struct {
		TriggeredBy string `json:"triggeredBy,omitempty" pattern:"^[a-z][a-z0-9_]{0,31}$" default:"motion"`
		Thumbnail   []byte `json:"thumbnail,omitempty" doc:"A JPEG or WebP picture of at most 40 KiB, base64"`
	}
}

type startOutput struct {
	Status int // 201 for a new event, 200 for one that goes on
	Body   Event
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type thumbnailInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Thumbnail []byte `json:"thumbnail" doc:"A JPEG or WebP picture of at most 40 KiB, base64"`
	}
}

type listInput struct {
	rest.PageQuery
	CameraDeviceID string    `query:"cameraDeviceId" maxLength:"64"`
	Status         string    `query:"status" enum:"active,ended"`
	TriggeredBy    string    `query:"triggeredBy" maxLength:"32"`
	Since          time.Time `query:"since" doc:"Began then or later"`
	Until          time.Time `query:"until" doc:"Began before then"`
}

type listOutput struct{ Body rest.List[Event] }

type eventOutput struct{ Body Event }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("events")
	const one = "/events/{id}"
	start := op(http.MethodPost, "/events/motion/start", "Say that the camera sees something", auth.Device)
	start.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(start, exampleStart, exampleStarted), s.handleStart, ErrThumbnail, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPost, "/events/motion/end", "End the camera's active event", auth.Device), s.handleEndActive,
		ErrNoEvent, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPost, one+"/end", "End an event", auth.Device), s.handleEnd,
		ErrEnded, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPut, one+"/thumbnail", "Give an event a picture", auth.Device), s.handleThumbnail,
		ErrThumbnail, ErrStorage, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, "/events", "List events, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, one, "Get an event", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodDelete, one, "Delete an event", auth.Session), s.handleDelete,
		ErrActive, ErrStorage, rest.ErrState)
	s.mountNotifications(api)
}

func (s *Service) handleStart(ctx context.Context, in *startInput) (*startOutput, error) {
	e, began, err := s.Start(ctx, auth.Caller(ctx), Sighting{TriggeredBy: in.Body.TriggeredBy, Thumbnail: in.Body.Thumbnail})
	if err != nil {
		return nil, err
	}
	out := &startOutput{Status: http.StatusOK, Body: s.toEvent(ctx, e)}
	if began {
		out.Status = http.StatusCreated
	}
	return out, nil
}

func (s *Service) handleEndActive(ctx context.Context, _ *struct{}) (*eventOutput, error) {
	e, err := s.End(ctx, auth.Caller(ctx), "")
	return s.answer(ctx, e, err)
}

func (s *Service) handleEnd(ctx context.Context, in *idInput) (*eventOutput, error) {
	e, err := s.End(ctx, auth.Caller(ctx), in.ID)
	return s.answer(ctx, e, err)
}

func (s *Service) handleThumbnail(ctx context.Context, in *thumbnailInput) (*eventOutput, error) {
	e, err := s.SetThumbnail(ctx, auth.Caller(ctx), in.ID, in.Body.Thumbnail)
	return s.answer(ctx, e, err)
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.List(ctx, auth.Caller(ctx), store.EventFilter{
		CameraDeviceID: in.CameraDeviceID, Status: store.EventStatus(in.Status), TriggeredBy: in.TriggeredBy,
		Since: in.Since, Until: in.Until,
	}, page)
	if err != nil {
		return nil, err
	}
	item := func(e store.Event) Event { return s.toEvent(ctx, e) }
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, item, func(e store.Event) store.Cursor {
		return store.Cursor{CreatedAt: e.CreatedAt, ID: e.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*eventOutput, error) {
	e, err := s.Event(ctx, auth.Caller(ctx), in.ID)
	return s.answer(ctx, e, err)
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) answer(ctx context.Context, e store.Event, err error) (*eventOutput, error) {
	if err != nil {
		return nil, err
	}
	return &eventOutput{Body: s.toEvent(ctx, e)}, nil
}
