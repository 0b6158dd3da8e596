// Package links decides which camera and client of a user may talk.
package links

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Store is what links needs from the database.
type Store interface {
	Device(ctx context.Context, userID, id string) (store.Device, error)
	Link(ctx context.Context, userID, id string) (store.Link, error)
	Links(ctx context.Context, userID string, by store.LinkFilter, p store.Page) ([]store.Link, error)
	CreateLink(ctx context.Context, l store.Link, by store.Actor) (store.Link, error)
	RevokeLink(ctx context.Context, userID, id string, by store.Actor) error
}

// Config holds what links needs.
type Config struct {
	Store  Store
	Logger *slog.Logger     // may be nil
	Now    func() time.Time // time.Now if nil
}

// Service is the feature.
type Service struct {
	cfg Config
	log *slog.Logger
}

var (
	// ErrWrongRole reports a pair that is not a camera and a client.
	ErrWrongRole = fault.New(fault.Unprocessable, "wrong_role", "A link is between a camera and a client.")
	// ErrLinked reports a pair that is linked already.
	ErrLinked = fault.New(fault.Conflict, "already_linked", "These devices are linked already.")
	// ErrRevoked reports a link that was revoked before.
	ErrRevoked = fault.New(fault.Conflict, "link_revoked", "That link is revoked already.")
)

// New returns the feature.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger}
}

// Link returns a link of p's user; to a device only its own.
func (s *Service) Link(ctx context.Context, p auth.Principal, id string) (store.Link, error) {
	l, err := s.cfg.Store.Link(ctx, p.UserID, id)
	if err == nil && p.DeviceID != "" && p.DeviceID != l.CameraDeviceID && p.DeviceID != l.ClientDeviceID {
		return store.Link{}, store.ErrNotFound
	}
	return l, err
}

// Links lists the links of p's user that pass the filter, to a device only its
// own.
func (s *Service) Links(ctx context.Context, p auth.Principal, by store.LinkFilter, page store.Page) ([]store.Link, error) {
	if p.DeviceID != "" {
		if by.DeviceID != "" && by.DeviceID != p.DeviceID {
			return nil, nil
		}
		by.DeviceID = p.DeviceID
	}
	return s.cfg.Store.Links(ctx, p.UserID, by, page)
}

// Create links a camera and a client of p's user.
func (s *Service) Create(ctx context.Context, p auth.Principal, cameraID, clientID string) (store.Link, error) {
	camera, err := s.cfg.Store.Device(ctx, p.UserID, cameraID)
	if err != nil {
		return store.Link{}, err
	}
	client, err := s.cfg.Store.Device(ctx, p.UserID, clientID)
	if err != nil {
		return store.Link{}, err
	}
	if camera.Role != store.RoleCamera || client.Role != store.RoleClient {
		return store.Link{}, ErrWrongRole
	}
	now := s.cfg.Now().UTC().Truncate(time.Millisecond)
	l, err := s.cfg.Store.CreateLink(ctx, store.Link{
		ID: store.NewID(), OwnerUserID: p.UserID, CameraDeviceID: cameraID, ClientDeviceID: clientID,
		Status: store.LinkActive, CreatedAt: now, UpdatedAt: now,
	}, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Link{}, ErrLinked.With(err)
	}
	return l, err
}

// Revoke ends a link of p's user and the streams over it.
func (s *Service) Revoke(ctx context.Context, p auth.Principal, id string) error {
	err := s.cfg.Store.RevokeLink(ctx, p.UserID, id, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return ErrRevoked.With(err)
	}
	if err != nil {
		return err
	}
	s.log.Info("device link revoked", slog.String("link", id))
	return nil
}
