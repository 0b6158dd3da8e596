package links

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

// Link is a device link as clients see it.
type Link struct {
	ID             string    `json:"id"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	ClientDeviceID string    `json:"clientDeviceId"`
	Status         string    `json:"status" enum:"active,revoked"`
	CreatedAt      time.Time `json:"createdAt"`
}

func toLink(l store.Link) Link {
	return Link{
		ID: l.ID, CameraDeviceID: l.CameraDeviceID, ClientDeviceID: l.ClientDeviceID,
		Status: string(l.Status), CreatedAt: l.CreatedAt,
	}
}

type createInput struct {
	Body struct {
		CameraDeviceID string `json:"cameraDeviceId" minLength:"1" maxLength:"64"`
		ClientDeviceID string `json:"clientDeviceId" minLength:"1" maxLength:"64"`
	}
}

type linkOutput struct{ Body Link }

type listInput struct {
	rest.PageQuery
	DeviceID string `query:"deviceId" maxLength:"64" doc:"Only the links of this device"`
	Status   string `query:"status" enum:"active,revoked"`
}

type listOutput struct{ Body rest.List[Link] }

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("device-links")
	create := op(http.MethodPost, "/device-links", "Link a camera and a client", auth.Session)
	create.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(create, exampleCreate, exampleLink), s.handleCreate, ErrWrongRole, ErrLinked, rest.ErrNotFound)
	rest.Register(api, op(http.MethodGet, "/device-links", "List device links, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, "/device-links/{id}", "Get a device link", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodDelete, "/device-links/{id}", "Revoke a device link", auth.Session), s.handleDelete,
		ErrRevoked)
}

func (s *Service) handleCreate(ctx context.Context, in *createInput) (*linkOutput, error) {
	l, err := s.Create(ctx, auth.Caller(ctx), in.Body.CameraDeviceID, in.Body.ClientDeviceID)
	if err != nil {
		return nil, err
	}
	return &linkOutput{Body: toLink(l)}, nil
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.Links(ctx, auth.Caller(ctx), store.LinkFilter{
		DeviceID: in.DeviceID, Status: store.LinkStatus(in.Status),
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toLink, func(l store.Link) store.Cursor {
		return store.Cursor{CreatedAt: l.CreatedAt, ID: l.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*linkOutput, error) {
	l, err := s.Link(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &linkOutput{Body: toLink(l)}, nil
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Revoke(ctx, auth.Caller(ctx), in.ID)
}
