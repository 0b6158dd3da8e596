package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type usersInput struct {
	rest.PageQuery
	Text string `query:"text" maxLength:"254" doc:"Part of an address or a name"`
}

type devicesInput struct {
	rest.PageQuery
	UserID string `query:"userId" maxLength:"64"`
}

type auditInput struct {
	rest.PageQuery
	UserID string `query:"userId" maxLength:"64"`
}

type (
	overviewOutput struct{ Body Overview }
	usersOutput    struct{ Body rest.List[User] }
	devicesOutput  struct{ Body rest.List[Device] }
	auditOutput    struct{ Body rest.List[AuditEntry] }
	liveOutput     struct{ Body Live }
	linkOutput     struct{ Body Link }
)

func (s *Service) mountAPI(api huma.API) {
	op := s.operation
	rest.Register(api, op(http.MethodGet, "/overview", "Count what there is"), s.overview)
	rest.Register(api, op(http.MethodGet, "/users", "List users, newest first"), s.users)
	rest.Register(api, op(http.MethodGet, "/devices", "List devices, newest first"), s.devices)
	rest.Register(api, op(http.MethodGet, "/live", "List open media sessions and streams"), s.live)
	rest.Register(api, op(http.MethodGet, "/audit", "List what was done to anybody's things, newest first"), s.audit)
	rest.Register(api, op(http.MethodPost, "/users/{id}/reset-link", "Make a link to choose a new password"), s.resetLink)
	s.mountJobs(api)
	s.mountDeeds(api)
}

// deed is an operation that does something to the thing with an id.
type deed struct {
	method, path, summary string
	do                    func(ctx context.Context, id string) error
	refusals              []*fault.Error
}

func (s *Service) mountDeeds(api huma.API) {
	unchanged := []*fault.Error{errUnchanged}
	for _, d := range []deed{
		{http.MethodPost, "/users/{id}/disable", "Shut a user out", s.setDisabled(true), unchanged},
		{http.MethodPost, "/users/{id}/enable", "Let a user in again", s.setDisabled(false), unchanged},
		{http.MethodPost, "/users/{id}/sign-out", "Sign a user and all the user's devices out", func(ctx context.Context, id string) error {
			return s.cfg.Store.RevokeUser(ctx, id, s.actor(ctx))
		}, nil},
		{http.MethodDelete, "/users/{id}", "Delete a user and all that is the user's", func(ctx context.Context, id string) error {
			return s.cfg.Accounts.DeleteUser(ctx, id, s.actor(ctx))
		}, nil},
		{http.MethodPost, "/devices/{id}/revoke", "Make a device's tokens worthless", s.revokeDevice, nil},
		{http.MethodDelete, "/devices/{id}", "Delete a device", s.deleteDevice, nil},
		{http.MethodPost, "/streams/{id}/end", "End a stream", s.endStream, []*fault.Error{errStreamOver}},
		{http.MethodPost, "/media-sessions/{id}/end", "End a media session and its streams", func(ctx context.Context, id string) error {
			return over(s.cfg.Streams.EndMediaSession(ctx, id, reasonAdmin, s.actor(ctx)), errMediaOver)
		}, []*fault.Error{errMediaOver}},
	} {
		operation := s.operation(d.method, d.path, d.summary)
		operation.DefaultStatus = http.StatusNoContent
		rest.Register(api, operation, func(ctx context.Context, in *idInput) (*struct{}, error) {
			return nil, d.do(ctx, in.ID)
		}, d.refusals...)
	}
}

// setDisabled returns what shuts a user out, or lets one in.
func (s *Service) setDisabled(disabled bool) func(ctx context.Context, id string) error {
	return func(ctx context.Context, id string) error {
		err := s.cfg.Store.SetUserDisabled(ctx, id, disabled, s.actor(ctx))
		if errors.Is(err, store.ErrConflict) {
			return errUnchanged.With(err)
		}
		return err
	}
}

func (s *Service) overview(ctx context.Context, _ *struct{}) (*overviewOutput, error) {
	t, err := s.cfg.Store.Totals(ctx, s.cfg.Now().Add(-s.cfg.OnlineStale))
	if err != nil {
		return nil, err
	}
	return &overviewOutput{Body: Overview{
		Version: s.cfg.Version, StartedAt: s.since.UTC(), Users: t.Users, Devices: t.Devices, Online: t.Online,
		Streams: t.Streams, MediaSessions: t.MediaSessions, Recordings: t.Recordings, RecordedBytes: t.RecordedBytes,
	}}, nil
}

func (s *Service) users(ctx context.Context, in *usersInput) (*usersOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Store.AllUsers(ctx, in.Text, page)
	if err != nil {
		return nil, err
	}
	return &usersOutput{Body: rest.ListOf(in.PageQuery, rows, toUser, func(u store.UserSummary) store.Cursor {
		return store.Cursor{CreatedAt: u.CreatedAt, ID: u.ID}
	})}, nil
}

func (s *Service) devices(ctx context.Context, in *devicesInput) (*devicesOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Store.AllDevices(ctx, in.UserID, page)
	if err != nil {
		return nil, err
	}
	return &devicesOutput{Body: rest.ListOf(in.PageQuery, rows, s.toDevice, func(d store.DeviceSummary) store.Cursor {
		return store.Cursor{CreatedAt: d.CreatedAt, ID: d.ID}
	})}, nil
}

func (s *Service) audit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.cfg.Store.AuditEntries(ctx, in.UserID, store.AuditFilter{}, page)
	if err != nil {
		return nil, err
	}
	return &auditOutput{Body: rest.ListOf(in.PageQuery, rows, toAuditEntry, func(e store.AuditEntry) store.Cursor {
		return store.Cursor{CreatedAt: e.CreatedAt, ID: e.ID}
	})}, nil
}

func (s *Service) live(ctx context.Context, _ *struct{}) (*liveOutput, error) {
	sessions, err := s.cfg.Store.OpenMediaSessions(ctx)
	if err != nil {
		return nil, err
	}
	streams, err := s.cfg.Store.OpenStreams(ctx)
	if err != nil {
		return nil, err
	}
	devices, err := s.cfg.Store.LiveDevices(ctx)
	if err != nil {
		return nil, err
	}
	return &liveOutput{Body: toLive(sessions, streams, devices)}, nil
}

func (s *Service) resetLink(ctx context.Context, in *idInput) (*linkOutput, error) {
	link, expires, err := s.cfg.Accounts.ResetLink(ctx, in.ID, s.actor(ctx))
	if err != nil {
		return nil, err
	}
	return &linkOutput{Body: Link{URL: s.cfg.Public.Absolute(ctx, link), ExpiresAt: expires.UTC().Truncate(time.Second)}}, nil
}
