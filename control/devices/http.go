package devices

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

// Device is a device as clients see it.
type Device struct {
	ID              string    `json:"id"`
	Name            string    `json:"name"`
	Role            string    `json:"role" enum:"camera,client"`
	IsCamera        bool      `json:"isCamera"`
	Status          string    `json:"status" enum:"online,offline"`
	Platform        string    `json:"platform,omitempty"`
	AppVersion      string    `json:"appVersion,omitempty"`
	RecordingPolicy string    `json:"recordingPolicy" enum:"off,session,continuous"`
	LastSeenAt      time.Time `json:"lastSeenAt"`
	CreatedAt       time.Time `json:"createdAt"`
	UpdatedAt       time.Time `json:"updatedAt"`
}

// Link is a link that registering a device made.
type Link struct {
	ID             string    `json:"id"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	ClientDeviceID string    `json:"clientDeviceId"`
	Status         string    `json:"status" enum:"active,revoked"`
	CreatedAt      time.Time `json:"createdAt"`
}

func toDevice(d store.Device) Device {
	return Device{
		ID: d.ID, Name: d.Name, Role: string(d.Role), IsCamera: d.Role == store.RoleCamera, Status: string(d.Status),
		Platform: d.Platform, AppVersion: d.AppVersion, RecordingPolicy: string(d.RecordingPolicy),
		LastSeenAt: d.LastSeenAt, CreatedAt: d.CreatedAt, UpdatedAt: d.UpdatedAt,
	}
}

func toLinks(rows []store.Link) []Link {
	links := make([]Link, len(rows))
	for i, l := range rows {
		links[i] = Link{
			ID: l.ID, CameraDeviceID: l.CameraDeviceID, ClientDeviceID: l.ClientDeviceID,
			Status: string(l.Status), CreatedAt: l.CreatedAt,
		}
	}
	return links
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type registerInput struct {
	Body struct {
		Name            string `json:"name" minLength:"1" maxLength:"100" pattern:"\\S"`
		Role            string `json:"role" enum:"camera,client"`
		Platform        string `json:"platform,omitempty" maxLength:"64"`
		AppVersion      string `json:"appVersion,omitempty" maxLength:"64"`
		PushToken       string `json:"pushToken,omitempty" maxLength:"4096"`
		RecordingPolicy string `json:"recordingPolicy,omitempty" enum:"off,session,continuous" doc:"Of a camera; session if left out"`
	}
}

type registerOutput struct {
	Body struct {
		Device         Device    `json:"device"`
		Token          string    `json:"token" doc:"The device's bearer token, shown only here"`
		TokenExpiresAt time.Time `json:"tokenExpiresAt"`
		Links          []Link    `json:"links" nullable:"false"`
	}
}

type updateInput struct {
	// An embedded, unexported idInput would stay empty: huma cannot set it.
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Name            *string `json:"name,omitempty" minLength:"1" maxLength:"100" pattern:"\\S"`
		Role            *string `json:"role,omitempty" enum:"camera,client"`
		Platform        *string `json:"platform,omitempty" maxLength:"64"`
		AppVersion      *string `json:"appVersion,omitempty" maxLength:"64"`
		PushToken       *string `json:"pushToken,omitempty" maxLength:"4096"`
		RecordingPolicy *string `json:"recordingPolicy,omitempty" enum:"off,session,continuous"`
	}
}

type tokenOutput struct {
	Body struct {
		Device         Device    `json:"device"`
		Token          string    `json:"token" doc:"The device's bearer token, shown only here"`
		TokenExpiresAt time.Time `json:"tokenExpiresAt"`
	}
}

type heartbeatOutput struct {
	Body struct {
		Device Device `json:"device"`
	}
}

type deviceOutput struct{ Body Device }

type listInput struct {
	rest.PageQuery
	Role       string `query:"role" enum:"camera,client"`
	Status     string `query:"status" enum:"online,offline"`
	LinkedWith string `query:"linkedWithId" maxLength:"64" doc:"Only what this device has an active link with"`
}

type listOutput struct{ Body rest.List[Device] }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("devices")
	register := op(http.MethodPost, "/devices/register", "Register a device", auth.Session)
	register.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(register, exampleRegister, exampleRegistered), s.handleRegister, rest.ErrLimitReached)
	rest.Register(api, op(http.MethodGet, "/devices", "List devices, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, "/devices/{id}", "Get a device", auth.Session), s.handleGet)
	rest.Register(api, op(http.MethodPatch, "/devices/{id}", "Change a device", auth.Session), s.handleUpdate, ErrBusy)
	rest.Register(api, op(http.MethodDelete, "/devices/{id}", "Delete a device", auth.Session), s.handleDelete)
	rest.Register(api, op(http.MethodPost, "/devices/{id}/token", "Replace a device's token", auth.Session), s.handleRotate)
	rest.Register(api, op(http.MethodPost, "/devices/{id}/heartbeat", "Say that a device is online", auth.Device), s.handleHeartbeat,
		auth.ErrForbidden)
}

func (s *Service) handleRegister(ctx context.Context, in *registerInput) (*registerOutput, error) {
	d, token, links, err := s.Register(ctx, auth.Caller(ctx), store.Device{
		Name: in.Body.Name, Role: store.DeviceRole(in.Body.Role), Platform: in.Body.Platform,
		AppVersion: in.Body.AppVersion, PushToken: in.Body.PushToken,
		RecordingPolicy: store.RecordingPolicy(in.Body.RecordingPolicy),
	})
	if err != nil {
		return nil, err
	}
	out := &registerOutput{}
	out.Body.Device, out.Body.Links = toDevice(d), toLinks(links)
	out.Body.Token, out.Body.TokenExpiresAt = token.Value, token.Expires
	return out, nil
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.Devices(ctx, auth.Caller(ctx), Filter{
		Role: store.DeviceRole(in.Role), Status: store.DeviceStatus(in.Status), LinkedWith: in.LinkedWith,
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toDevice, func(d store.Device) store.Cursor {
		return store.Cursor{CreatedAt: d.CreatedAt, ID: d.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*deviceOutput, error) {
	d, err := s.Device(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &deviceOutput{Body: toDevice(d)}, nil
}

func (s *Service) handleUpdate(ctx context.Context, in *updateInput) (*deviceOutput, error) {
	d, err := s.Update(ctx, auth.Caller(ctx), in.ID, store.DeviceChange{
		Name: in.Body.Name, Platform: in.Body.Platform, AppVersion: in.Body.AppVersion, PushToken: in.Body.PushToken,
		Role: as[store.DeviceRole](in.Body.Role), RecordingPolicy: as[store.RecordingPolicy](in.Body.RecordingPolicy),
	})
	if err != nil {
		return nil, err
	}
	return &deviceOutput{Body: toDevice(d)}, nil
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) handleRotate(ctx context.Context, in *idInput) (*tokenOutput, error) {
	d, token, err := s.Rotate(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &tokenOutput{}
	out.Body.Device, out.Body.Token, out.Body.TokenExpiresAt = toDevice(d), token.Value, token.Expires
	return out, nil
}

func (s *Service) handleHeartbeat(ctx context.Context, in *idInput) (*heartbeatOutput, error) {
	d, err := s.Heartbeat(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &heartbeatOutput{}
	out.Body.Device = toDevice(d)
	return out, nil
}

// as converts an optional string to the named type of the row.
func as[T ~string](v *string) *T {
	if v == nil {
		return nil
	}
	t := T(*v)
	return &t
}
