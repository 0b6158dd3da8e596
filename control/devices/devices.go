// Package devices keeps a user's cameras and clients: who they are, which
// tokens they hold and whether they are online.
package devices

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Store is what devices needs from the database.
type Store interface {
	RegisterDevice(ctx context.Context, d store.Device, by store.Actor) ([]store.Link, error)
	Device(ctx context.Context, userID, id string) (store.Device, error)
	Devices(ctx context.Context, userID string, by store.DeviceFilter, p store.Page) ([]store.Device, error)
	UpdateDevice(ctx context.Context, userID, id string, c store.DeviceChange, by store.Actor) (store.Device, error)
	SetDeviceKey(ctx context.Context, userID, id, keyID string, by store.Actor) error
	DeleteDevice(ctx context.Context, userID, id string, by store.Actor) error
	SetPresence(ctx context.Context, deviceID string, status store.DeviceStatus, at time.Time) error
}

// Tokens issues device tokens.
type Tokens interface {
	IssueDeviceToken(d store.Device) (token string, expires time.Time, err error)
}

// Config holds what devices needs.
type Config struct {
	Store  Store
	Tokens Tokens
	Logger *slog.Logger     // may be nil
	Now    func() time.Time // time.Now if nil
	// OnlineStale is how long a device counts as online after it was last
	// seen; 90 s if zero.
	OnlineStale time.Duration
}

// Service is the feature.
type Service struct {
	cfg Config
	log *slog.Logger
}

const defaultOnlineStale = 90 * time.Second

// ErrBusy reports a change of role while the device streams.
var ErrBusy = fault.New(fault.Conflict, "device_streaming", "End the device's streams before changing its role.")

// New returns the feature.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnlineStale <= 0 {
		cfg.OnlineStale = defaultOnlineStale
	}
	return &Service{cfg: cfg, log: cfg.Logger}
}

// Token is a device token and its end.
type Token struct {
	Value   string
	Expires time.Time
}

// Register adds a device for p's user, linked with all devices of the opposite
// role, and returns its first token. d needs a name and a role. A camera is
// recorded while clients watch, unless d says otherwise.
func (s *Service) Register(ctx context.Context, p auth.Principal, d store.Device) (store.Device, Token, []store.Link, error) {
	now := s.now()
	d.ID, d.UserID, d.TokenKeyID = store.NewID(), p.UserID, store.NewID()
	d.Status, d.LastSeenAt, d.CreatedAt, d.UpdatedAt = store.DeviceOnline, now, now, now
	d.RecordingPolicy = policy(d.Role, d.RecordingPolicy)
	links, err := s.cfg.Store.RegisterDevice(ctx, d, p.Actor())
	if err != nil {
		return store.Device{}, Token{}, nil, err
	}
	token, err := s.issue(d)
	if err != nil {
		return store.Device{}, Token{}, nil, err
	}
	s.log.Info("device registered", slog.String("device", d.ID), slog.String("role", string(d.Role)))
	return d, token, links, nil
}

// policy returns how a device that gets a role is recorded.
func policy(role store.DeviceRole, wanted store.RecordingPolicy) store.RecordingPolicy {
	if role == store.RoleClient {
		return store.RecordOff
	}
	return cmp.Or(wanted, store.RecordSession)
}

// Device returns a device of p's user.
func (s *Service) Device(ctx context.Context, p auth.Principal, id string) (store.Device, error) {
	d, err := s.cfg.Store.Device(ctx, p.UserID, id)
	return s.seen(d), err
}

// Filter narrows a list of devices; the zero value does not.
type Filter struct {
	Role       store.DeviceRole
	Status     store.DeviceStatus // as the devices themselves show it
	LinkedWith string             // only those that this device has an active link with
}

// Devices lists the devices of p's user that pass the filter.
func (s *Service) Devices(ctx context.Context, p auth.Principal, by Filter, page store.Page) ([]store.Device, error) {
	f := store.DeviceFilter{
		Role: by.Role, Status: by.Status, OnlineSince: s.now().Add(-s.cfg.OnlineStale), LinkedWith: by.LinkedWith,
	}
	list, err := s.cfg.Store.Devices(ctx, p.UserID, f, page)
	for i := range list {
		list[i] = s.seen(list[i])
	}
	return list, err
}

// Update changes a device. A device whose role changes needs a new token: its
// old one no longer holds, and what it opened ends with it. It is recorded as if it had been
// registered in its new role.
func (s *Service) Update(ctx context.Context, p auth.Principal, id string, c store.DeviceChange) (store.Device, error) {
	before, err := s.cfg.Store.Device(ctx, p.UserID, id)
	if err != nil || c == (store.DeviceChange{}) {
		return s.seen(before), err
	}
	if c.Role != nil && *c.Role != before.Role {
		var wanted store.RecordingPolicy
		if c.RecordingPolicy != nil {
			wanted = *c.RecordingPolicy
		}
		wanted = policy(*c.Role, wanted)
		c.RecordingPolicy = &wanted
	}
	d, err := s.cfg.Store.UpdateDevice(ctx, p.UserID, id, c, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Device{}, ErrBusy.With(err)
	}
	if err != nil {
		return store.Device{}, err
	}
	return s.seen(d), nil
}

// Delete removes a device and ends whatever it holds.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	if err := s.cfg.Store.DeleteDevice(ctx, p.UserID, id, p.Actor()); err != nil {
		return err
	}
	s.log.Info("device deleted", slog.String("device", id))
	return nil
}

// Rotate returns a new token and revokes all older ones, with the connections
// and streams that they opened.
func (s *Service) Rotate(ctx context.Context, p auth.Principal, id string) (store.Device, Token, error) {
	if err := s.cfg.Store.SetDeviceKey(ctx, p.UserID, id, store.NewID(), p.Actor()); err != nil {
		return store.Device{}, Token{}, err
	}
	d, err := s.cfg.Store.Device(ctx, p.UserID, id)
	if err != nil {
		return store.Device{}, Token{}, err
	}
	token, err := s.issue(d)
	return s.seen(d), token, err
}

// Heartbeat records that the device p is online. It is for devices that hold
// no gateway connection; those that do need none.
func (s *Service) Heartbeat(ctx context.Context, p auth.Principal, id string) (store.Device, error) {
	d, err := s.cfg.Store.Device(ctx, p.UserID, id)
	if err != nil {
		return store.Device{}, err
	}
	if d.ID != p.DeviceID {
		return store.Device{}, auth.ErrForbidden
	}
	d.Status, d.LastSeenAt = store.DeviceOnline, s.now()
	if err := s.cfg.Store.SetPresence(ctx, id, d.Status, d.LastSeenAt); err != nil {
		return store.Device{}, err
	}
	return d, nil
}

// seen returns d with its effective status: what has not been renewed for too
// long is no longer true, as when a node or the whole process was killed.
func (s *Service) seen(d store.Device) store.Device {
	if s.now().Sub(d.LastSeenAt) > s.cfg.OnlineStale {
		d.Status = store.DeviceOffline
	}
	return d
}

func (s *Service) issue(d store.Device) (Token, error) {
	value, expires, err := s.cfg.Tokens.IssueDeviceToken(d)
	return Token{Value: value, Expires: expires}, err
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
