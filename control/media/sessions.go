package media

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// MediaSession returns a media session that p may see: a user's own, a
// camera's own, or that of a camera which a client is linked with.
func (s *Service) MediaSession(ctx context.Context, p auth.Principal, id string) (store.MediaSession, error) {
	m, err := s.store.UserMediaSession(ctx, p.UserID, id)
	if err != nil {
		return store.MediaSession{}, err
	}
	if p.DeviceID != "" && p.DeviceID != m.CameraDeviceID {
		if _, err := s.store.ActiveLink(ctx, m.CameraDeviceID, p.DeviceID); err != nil {
			return store.MediaSession{}, err
		}
	}
	return m, nil
}

// MediaSessions lists the media sessions that p may see, as MediaSession says.
func (s *Service) MediaSessions(
	ctx context.Context, p auth.Principal, by store.MediaSessionFilter, page store.Page,
) ([]store.MediaSession, error) {
	by.DeviceID = p.DeviceID
	return s.store.MediaSessions(ctx, p.UserID, by, page)
}

// mediaSession is a media session as its user and devices see it.
type mediaSession struct {
	ID             string    `json:"id"`
	CameraDeviceID string    `json:"cameraDeviceId"`
	Status         string    `json:"status" enum:"open,ended"`
	Continuous     bool      `json:"continuous" doc:"Stays open when nobody watches"`
	EndReason      string    `json:"endReason,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	EndedAt        time.Time `json:"endedAt,omitzero"`
}

func toMediaSession(m store.MediaSession) mediaSession {
	status := store.MediaSessionOpen
	if !m.EndedAt.IsZero() {
		status = store.MediaSessionEnded
	}
	return mediaSession{
		ID: m.ID, CameraDeviceID: m.CameraDeviceID, Status: string(status), Continuous: m.Continuous,
		EndReason: m.EndReason, CreatedAt: m.CreatedAt, EndedAt: m.EndedAt,
	}
}

type sessionsInput struct {
	rest.PageQuery
	CameraDeviceID string    `query:"cameraDeviceId" maxLength:"64"`
	Status         string    `query:"status" enum:"open,ended"`
	Since          time.Time `query:"since" doc:"Opened then or later"`
	Until          time.Time `query:"until" doc:"Opened before then"`
}

type sessionsOutput struct{ Body rest.List[mediaSession] }

type sessionOutput struct{ Body mediaSession }

// mountSessions adds what reads media sessions.
func (s *Service) mountSessions(api huma.API) {
	op := rest.Operations("media")
	rest.Register(api, op(http.MethodGet, "/media-sessions", "List media sessions, newest first", auth.Either), s.handleSessions)
	rest.Register(api, op(http.MethodGet, "/media-sessions/{id}", "Get a media session", auth.Either), s.handleSession)
}

func (s *Service) handleSessions(ctx context.Context, in *sessionsInput) (*sessionsOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.MediaSessions(ctx, auth.Caller(ctx), store.MediaSessionFilter{
		CameraDeviceID: in.CameraDeviceID, Status: store.MediaSessionStatus(in.Status), Since: in.Since, Until: in.Until,
	}, page)
	if err != nil {
		return nil, err
	}
	return &sessionsOutput{Body: rest.ListOf(in.PageQuery, rows, toMediaSession, func(m store.MediaSession) store.Cursor {
		return store.Cursor{CreatedAt: m.CreatedAt, ID: m.ID}
	})}, nil
}

func (s *Service) handleSession(ctx context.Context, in *idInput) (*sessionOutput, error) {
	m, err := s.MediaSession(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &sessionOutput{Body: toMediaSession(m)}, nil
}
