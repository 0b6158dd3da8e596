package streams

import (
	"context"
	"errors"
	"log/slog"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
)

// The reasons for an end that this package gives, beside the store's; they are
// API. Whoever ends a stream may say instead that it has been ReasonStopped or
// why its program had to.
const (
	ReasonCamera     = "ended_by_camera"
	ReasonViewer     = "ended_by_viewer"
	ReasonUser       = "ended_by_user"
	ReasonViewerLeft = "viewer_left"

	ReasonStopped     = "stopped"
	ReasonAppClosed   = "app_closed"
	ReasonLowBattery  = "low_battery"
	ReasonDeviceError = "device_error"

	// reasonOrphaned is told to the SFU alone.
	reasonOrphaned = "ended"
)

// orderly asks the store for the good end: completed if the stream was
// streaming, cancelled if it was only requested.
const orderly = store.StreamCompleted

// End ends the stream id on behalf of p: a requested one is cancelled, a
// streaming one completed. Without a reason the stream says who ended it. The
// SFU is told before End returns.
func (s *Service) End(ctx context.Context, p auth.Principal, id, reason string) (store.Stream, error) {
	st, err := s.Stream(ctx, p, id)
	if err != nil {
		return store.Stream{}, err
	}
	if reason == "" {
		reason = defaultReason(p, st)
	}
	ended, err := s.end(context.WithoutCancel(ctx), st, orderly, reason, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Stream{}, ErrEnded.With(err)
	}
	return ended, err
}

func defaultReason(p auth.Principal, st store.Stream) string {
	switch p.DeviceID {
	case "":
		return ReasonUser
	case st.CameraDeviceID:
		return ReasonCamera
	default:
		return ReasonViewer
	}
}

// end ends one stream: row, then SFU, then the two devices. Its ErrConflict is
// the store's: somebody else changed the stream first.
func (s *Service) end(
	ctx context.Context, st store.Stream, to store.StreamStatus, reason string, by store.Actor,
) (store.Stream, error) {
	ended, m, err := s.store.EndStream(ctx, st.OwnerUserID, st.ID, to, reason, s.now(), by)
	if err != nil {
		return store.Stream{}, err
	}
	switch {
	case m.ID != "":
		s.media.End(m.ID, reason)
	case ended.MediaSessionID != "":
		s.media.CloseViewer(ended.MediaSessionID, ended.ID, reason)
	}
	s.wakeOthers() // one of them may hold the media
	s.announceEnd(ctx, ended)
	return ended, nil
}

func (s *Service) announceEnd(ctx context.Context, st store.Stream) {
	s.log.InfoContext(ctx, "stream ended", slog.String("stream", st.ID),
		slog.String("status", string(st.Status)), slog.String("reason", st.Reason))
	s.announce(ctx, EventEnded, st, st.CameraDeviceID, st.RequesterDeviceID)
}

// OpenMedia lets the camera p go live by itself. The media session stays open
// without viewers; it is the camera's running one if there is one.
func (s *Service) OpenMedia(ctx context.Context, p auth.Principal) (store.MediaSession, error) {
	if p.Role != store.RoleCamera {
		return store.MediaSession{}, auth.ErrForbidden
	}
	if s.media.Name() == ProviderP2P {
		return store.MediaSession{}, ErrNotInP2P
	}
	m := store.MediaSession{
		ID: store.NewID(), OwnerUserID: p.UserID, CameraDeviceID: p.DeviceID, NodeID: s.cfg.NodeID,
		Continuous: true, CreatedAt: s.now(),
	}
	m, err := s.store.OpenMediaSession(ctx, m, p.Actor())
	if err != nil {
		return store.MediaSession{}, err
	}
	s.log.InfoContext(ctx, "media session open", slog.String("media_session", m.ID), slog.String("device", p.DeviceID))
	return m, nil
}

// EndMedia ends a media session of the camera p and every stream that shares
// it.
func (s *Service) EndMedia(ctx context.Context, p auth.Principal, id string) error {
	if p.Role != store.RoleCamera {
		return auth.ErrForbidden
	}
	m, err := s.store.MediaSession(ctx, id)
	if err != nil {
		return err
	}
	if m.OwnerUserID != p.UserID || m.CameraDeviceID != p.DeviceID {
		return store.ErrNotFound
	}
	err = s.endMedia(context.WithoutCancel(ctx), id, ReasonCamera, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return ErrMediaSessionEnded.With(err)
	}
	return err
}

// EndMediaSession ends a media session, whoever's, and every stream that shares
// it, on behalf of the operator.
func (s *Service) EndMediaSession(ctx context.Context, id, reason string, by store.Actor) error {
	err := s.endMedia(context.WithoutCancel(ctx), id, reason, by)
	if errors.Is(err, store.ErrConflict) {
		return ErrMediaSessionEnded.With(err)
	}
	return err
}

// endMedia ends one media session: rows, then SFU, then the devices.
func (s *Service) endMedia(ctx context.Context, id, reason string, by store.Actor) error {
	ended, err := s.store.EndMediaSession(ctx, id, reason, s.now(), by)
	if err != nil {
		return err
	}
	s.media.End(id, reason)
	s.wakeOthers()
	s.log.InfoContext(ctx, "media session ended", slog.String("media_session", id),
		slog.String("reason", reason), slog.Int("count", len(ended)))
	for _, st := range ended {
		s.announceEnd(ctx, st)
	}
	return nil
}

// lost drops the error of a change that somebody else made first: the store's
// compare-and-set decides, and what was wanted has happened.
func lost(err error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
