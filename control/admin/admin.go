// Package admin is the operator's view of the server, at /admin: a page and
// the API behind it. It asks for a user name and a password by HTTP Basic
// authentication, and is not there unless both are set.
//
// It sees everybody's rows, but changes them as their owners would: through
// the same methods, with entries in the owners' audit logs that name it.
package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Store is what admin needs from the database.
type Store interface {
	Totals(ctx context.Context, since time.Time) (store.Totals, error)
	AllUsers(ctx context.Context, text string, p store.Page) ([]store.UserSummary, error)
	AllDevices(ctx context.Context, userID string, p store.Page) ([]store.DeviceSummary, error)
	LiveDevices(ctx context.Context) ([]store.DeviceSummary, error)
	AllJobs(ctx context.Context, queue, status string, p store.Page) ([]store.Job, error)
	Job(ctx context.Context, queue, id string) (store.Job, error)
	DeleteFailedJob(ctx context.Context, queue string, j store.Job, by store.Actor) error
	AuditEntries(ctx context.Context, userID string, f store.AuditFilter, p store.Page) ([]store.AuditEntry, error)
	OpenStreams(ctx context.Context) ([]store.Stream, error)
	OpenMediaSessions(ctx context.Context) ([]store.MediaSession, error)
	DeviceByID(ctx context.Context, id string) (store.Device, error)

	SetUserDisabled(ctx context.Context, userID string, disabled bool, by store.Actor) error
	RevokeUser(ctx context.Context, userID string, by store.Actor) error
	SetDeviceKey(ctx context.Context, userID, id, keyID string, by store.Actor) error
	DeleteDevice(ctx context.Context, userID, id string, by store.Actor) error

	ObjectOf(ctx context.Context, key string) (store.Object, error)
	NoteAccess(ctx context.Context, by store.Actor, ownerUserID, target, verb, id string, details map[string]any) error
}

// Accounts is what accounts are made of besides rows.
type Accounts interface {
	DeleteUser(ctx context.Context, userID string, by store.Actor) error
	// ResetLink returns a path of this server, with its query.
	ResetLink(ctx context.Context, userID string, by store.Actor) (link string, expires time.Time, err error)
}

// Streams ends what goes on.
type Streams interface {
	End(ctx context.Context, p auth.Principal, id, reason string) (store.Stream, error)
	EndMediaSession(ctx context.Context, id, reason string, by store.Actor) error
}

// Pushes sends dead letters to devices again.
type Pushes interface {
	Retry(ctx context.Context, p auth.Principal, id string) (store.Push, error)
}

// Webhooks sends messages of the log again.
type Webhooks interface {
	Replay(ctx context.Context, p auth.Principal, webhookID, id string) (store.Delivery, error)
}

// Commands sends commands again that nobody answered.
type Commands interface {
	Retry(ctx context.Context, p auth.Principal, id string) (store.Command, error)
	// Due returns when a job goes out next, and when it fails; zero for never.
	Due(j store.Job) (next, fails time.Time)
}

// Recordings awaits uploads again that did not come.
type Recordings interface {
	Await(ctx context.Context, p auth.Principal, id string) (store.Recording, error)
	// GivenUp returns when an upload fails that is awaited since then.
	GivenUp(since time.Time) time.Time
}

// Objects is the object store. Its errors wrap fs.ErrNotExist and
// fs.ErrInvalid.
type Objects interface {
	List(ctx context.Context, folder, after string, limit int) ([]Entry, error)
	Stat(ctx context.Context, key string) (Object, error)
	Open(ctx context.Context, key string, off, n int64) (io.ReadCloser, error)
	Delete(ctx context.Context, key string) error
}

// Entry is one name in a folder of the object store.
type Entry struct {
	Name    string // ends with a slash for a folder
	Size    int64  // bytes
	ModTime time.Time
}

// Object describes an object.
type Object struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	ModTime     time.Time
}

// Config is what a Service needs; nothing of it has a default but the last.
type Config struct {
	Username, Password string
	Attempts           Attempts // that are wrong

	Store      Store
	Accounts   Accounts
	Streams    Streams
	Pushes     Pushes
	Webhooks   Webhooks
	Commands   Commands
	Recordings Recordings
	Objects    Objects
	Public     rest.Public // where links lead
	Version    string
	Logger     *slog.Logger

	// OnlineStale is how long a device counts as online after it was last seen.
	OnlineStale time.Duration
	Now         func() time.Time // time.Now if nil
}

// Service is the feature.
type Service struct {
	cfg   Config
	log   *slog.Logger
	guard *guard
	since time.Time
}

// reasonAdmin is why streams end that the administrator ends.
const reasonAdmin = "ended_by_admin"

// The faults of this package.
var (
	errBadKey     = fault.New(fault.Invalid, "invalid_key", "That is no name of an object.")
	errObjectGone = fault.New(fault.NotFound, "not_found", "There is no such object.")
	errStreamOver = fault.New(fault.Conflict, "stream_ended", "The stream has already ended.")
	errMediaOver  = fault.New(fault.Conflict, "media_session_ended", "The media session has already ended.")
	errUnchanged  = fault.New(fault.Conflict, "unchanged", "The user is in that state already.")
)

// New returns the feature.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, log: cfg.Logger, guard: newGuard(cfg.Username, cfg.Password, cfg.Attempts), since: cfg.Now()}
}

// actor is the administrator, as whom the audit log names it.
func (s *Service) actor(ctx context.Context) store.Actor {
	return store.Actor{Admin: s.cfg.Username, IP: rest.RequestOf(ctx).IP}
}

// as is the administrator acting for a user, or for a device of one.
func (s *Service) as(ctx context.Context, userID string) auth.Principal {
	return auth.Principal{UserID: userID, Admin: s.cfg.Username, IP: rest.RequestOf(ctx).IP}
}

// revokeDevice makes a device's tokens worthless.
func (s *Service) revokeDevice(ctx context.Context, id string) error {
	d, err := s.cfg.Store.DeviceByID(ctx, id)
	if err != nil {
		return err
	}
	return s.cfg.Store.SetDeviceKey(ctx, d.UserID, id, store.NewID(), s.actor(ctx))
}

func (s *Service) deleteDevice(ctx context.Context, id string) error {
	d, err := s.cfg.Store.DeviceByID(ctx, id)
	if err != nil {
		return err
	}
	return s.cfg.Store.DeleteDevice(ctx, d.UserID, id, s.actor(ctx))
}

// endStream ends an open stream, whoever owns it.
func (s *Service) endStream(ctx context.Context, id string) error {
	open, err := s.cfg.Store.OpenStreams(ctx)
	if err != nil {
		return err
	}
	for _, st := range open {
		if st.ID == id {
			_, err := s.cfg.Streams.End(ctx, s.as(ctx, st.OwnerUserID), id, reasonAdmin)
			return over(err, errStreamOver)
		}
	}
	return store.ErrNotFound
}

// over turns the fault of having come too late into one of this package.
func over(err error, tooLate *fault.Error) error {
	var refused *fault.Error
	if errors.As(err, &refused) && refused.Kind == fault.Conflict {
		return tooLate.With(err)
	}
	return err
}
