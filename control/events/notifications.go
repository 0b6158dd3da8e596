package events

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Notification is one client being told of one event, as clients see it.
type Notification struct {
	ID                string    `json:"id"`
	EventID           string    `json:"eventId"`
	RecipientDeviceID string    `json:"recipientDeviceId"`
	Status            string    `json:"status" enum:"sent,delivered,read"`
	CreatedAt         time.Time `json:"createdAt"`
	UpdatedAt         time.Time `json:"updatedAt"`
}

func toNotification(n store.Notification) Notification {
	return Notification{
		ID: n.ID, EventID: n.EventID, RecipientDeviceID: n.RecipientDeviceID, Status: string(n.Status),
		CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt,
	}
}

type notificationsInput struct {
	rest.PageQuery
	RecipientDeviceID string `query:"recipientDeviceId" maxLength:"64"`
	EventID           string `query:"eventId" maxLength:"64"`
	Status            string `query:"status" enum:"sent,delivered,read"`
	Unread            bool   `query:"unread" doc:"Only those that nobody has read"`
}

type notificationsOutput struct{ Body rest.List[Notification] }

type advanceInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Status string `json:"status" enum:"delivered,read" doc:"A notification never goes back"`
	}
}

type notificationOutput struct{ Body Notification }

type readOutput struct {
	Body struct {
		Read int64 `json:"read" doc:"How many were unread"`
	}
}

// mountNotifications adds the routes of notifications. A device sees its own,
// a user those of all devices.
func (s *Service) mountNotifications(api huma.API) {
	op := rest.Operations("notifications")
	const one = "/notifications/{id}"
	rest.Register(api, op(http.MethodGet, "/notifications", "List notifications, newest first", auth.Either), s.handleNotifications)
	rest.Register(api, op(http.MethodPost, "/notifications/read", "Mark every notification as read", auth.Either), s.handleReadAll)
	rest.Register(api, op(http.MethodGet, one, "Get a notification", auth.Either), s.handleNotification)
	rest.Register(api, op(http.MethodPatch, one, "Mark a notification as delivered or read", auth.Either), s.handleAdvance,
		rest.ErrState)
	rest.Register(api, op(http.MethodDelete, one, "Delete a notification", auth.Either), s.handleDeleteNotification)
}

func (s *Service) handleNotifications(ctx context.Context, in *notificationsInput) (*notificationsOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	p := auth.Caller(ctx)
	f := store.NotificationFilter{
		RecipientDeviceID: in.RecipientDeviceID, EventID: in.EventID, Status: store.NotificationStatus(in.Status), Unread: in.Unread,
	}
	if p.DeviceID != "" {
		f.RecipientDeviceID = p.DeviceID
	}
	rows, err := s.cfg.Store.Notifications(ctx, p.UserID, f, page)
	if err != nil {
		return nil, err
	}
	return &notificationsOutput{Body: rest.ListOf(in.PageQuery, rows, toNotification, func(n store.Notification) store.Cursor {
		return store.Cursor{CreatedAt: n.CreatedAt, ID: n.ID}
	})}, nil
}

func (s *Service) handleNotification(ctx context.Context, in *idInput) (*notificationOutput, error) {
	p := auth.Caller(ctx)
	n, err := s.cfg.Store.Notification(ctx, p.UserID, p.DeviceID, in.ID)
	if err != nil {
		return nil, err
	}
	return &notificationOutput{Body: toNotification(n)}, nil
}

func (s *Service) handleAdvance(ctx context.Context, in *advanceInput) (*notificationOutput, error) {
	p := auth.Caller(ctx)
	n, err := s.cfg.Store.AdvanceNotification(ctx, p.UserID, p.DeviceID, in.ID, store.NotificationStatus(in.Body.Status),
		s.now(), p.Actor())
	if err != nil {
		return nil, err
	}
	return &notificationOutput{Body: toNotification(n)}, nil
}

func (s *Service) handleReadAll(ctx context.Context, _ *struct{}) (*readOutput, error) {
	p := auth.Caller(ctx)
	n, err := s.cfg.Store.ReadNotifications(ctx, p.UserID, p.DeviceID, s.now(), p.Actor())
	if err != nil {
		return nil, err
	}
	out := &readOutput{}
	out.Body.Read = n
	return out, nil
}

func (s *Service) handleDeleteNotification(ctx context.Context, in *idInput) (*struct{}, error) {
	p := auth.Caller(ctx)
	return nil, s.cfg.Store.DeleteNotification(ctx, p.UserID, p.DeviceID, in.ID, p.Actor())
}
