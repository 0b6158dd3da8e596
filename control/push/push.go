// Package push tells devices that are not connected what happens: by Web Push,
// to the browsers that subscribed. What is to be sent is a row first; workers
// send it, again and again when it fails, and keep what nobody takes as dead
// letters.
package push

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/store"
)

// Rows are the pushes in the database, as their owners see them.
type Rows interface {
	QueuePush(ctx context.Context, p store.Push, key string, by store.Actor) (store.Push, error)
	Push(ctx context.Context, userID, deviceID, id string) (store.Push, error)
	Pushes(ctx context.Context, userID string, by store.PushFilter, p store.Page) ([]store.Push, error)
	RetryPush(ctx context.Context, userID, deviceID, id string, at time.Time, by store.Actor) (store.Push, error)
	HastenPushes(ctx context.Context, userID, deviceID string, at time.Time) (int64, error)
	DeletePush(ctx context.Context, userID, deviceID, id string, by store.Actor) error
}

// Queue is the pushes as workers see them.
type Queue interface {
	ClaimPushes(ctx context.Context, c store.Claim) ([]store.Push, error)
	SettlePush(ctx context.Context, id string, claim int64, o store.Outcome) error
	PrunePushes(ctx context.Context, before time.Time, limit int) (int64, error)
	PushStats(ctx context.Context) (store.QueueStats, error)
}

// Subscriptions say where a device's browser takes messages.
type Subscriptions interface {
	Device(ctx context.Context, userID, id string) (store.Device, error)
	SetPushSubscription(ctx context.Context, s store.PushSubscription, by store.Actor) error
	PushSubscription(ctx context.Context, userID, deviceID string) (store.PushSubscription, error)
	DeletePushSubscription(ctx context.Context, userID, deviceID string, by store.Actor) error
	ForgetPushEndpoint(ctx context.Context, endpoint string) error
}

// Store is what push needs from the database.
type Store interface {
	Rows
	Queue
	Subscriptions
}

// Sender makes the requests to push services.
type Sender interface {
	Check(rawURL string) error
	Post(ctx context.Context, rawURL string, header http.Header, body io.Reader) (outbound.Response, error)
}

// Identity is how push services know this server.
type Identity interface {
	PublicKey() string
	Authorization(endpoint string, now time.Time) (string, error)
}

// Config is what a Service is made of. Every number has a default.
type Config struct {
	Store    Store
	Sender   Sender
	Identity Identity
	Bus      jobs.Bus // may be nil
	Logger   *slog.Logger
	Now      func() time.Time // time.Now if nil

	jobs.Patience
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Service is the feature. It is safe for concurrent use.
type Service struct {
	*jobs.Post[store.Push]
	cfg       Config
	log       *slog.Logger
	forgotten atomic.Uint64
}

// Stats is the state of the queue, and what this process counted since New.
type Stats struct {
	jobs.PostStats
	TotalForgotten uint64 `help:"Subscriptions that their push service knew no more"`
}

// ErrNotFailed reports a wish to send again what is not a dead letter.
var ErrNotFailed = fault.New(fault.Conflict, "push_not_failed", "Only a push that has failed can be sent again.")

// typeTest is the type of a push that a device is sent to try it out.
const typeTest = "test"

// New returns the feature; the caller runs its Run.
func New(c Config) *Service {
	c = c.withDefaults()
	s := &Service{cfg: c, log: c.Logger}
	s.Post = jobs.NewPost(jobs.PostConfig{
		Patience: c.Patience, Name: "push", Bus: c.Bus, Logger: c.Logger, Now: c.Now,
	}, mail{s})
	return s
}

// Message is what a device is to be told.
type Message struct {
	UserID   string
	DeviceID string
	Type     string
	Key      string // however often it is queued, a device is told once; may be empty
	Data     any    // becomes a JSON object
}

// Send queues a message for a device that is not connected. It returns
// store.ErrConflict for a key that is queued already, or was, and
// store.ErrNotFound for a device that has no subscription: there is nowhere to
// send to, and a row of it would only be a dead letter.
func (s *Service) Send(ctx context.Context, m Message, by store.Actor) (store.Push, error) {
	payload, err := json.Marshal(m.Data)
	if err != nil {
		return store.Push{}, err
	}
	if _, err := s.cfg.Store.PushSubscription(ctx, m.UserID, m.DeviceID); err != nil {
		return store.Push{}, err
	}
	p, err := s.cfg.Store.QueuePush(ctx, store.Push{
		OwnerUserID: m.UserID, RecipientDeviceID: m.DeviceID, Type: m.Type, Payload: payload, CreatedAt: s.now(),
	}, m.Key, by)
	if err != nil {
		return store.Push{}, err
	}
	s.Notify(ctx)
	return p, nil
}

// List lists pushes, to a device only its own.
func (s *Service) List(ctx context.Context, p auth.Principal, f store.PushFilter, page store.Page) ([]store.Push, error) {
	if p.DeviceID != "" {
		f.RecipientDeviceID = p.DeviceID
	}
	return s.cfg.Store.Pushes(ctx, p.UserID, f, page)
}

// Push returns a push that p may see.
func (s *Service) Push(ctx context.Context, p auth.Principal, id string) (store.Push, error) {
	return s.cfg.Store.Push(ctx, p.UserID, p.DeviceID, id)
}

// Dispatch makes what waits for its next attempt due now, and returns how many
// pushes those are.
func (s *Service) Dispatch(ctx context.Context, p auth.Principal) (int64, error) {
	n, err := s.cfg.Store.HastenPushes(ctx, p.UserID, p.DeviceID, s.now())
	if err != nil {
		return 0, err
	}
	s.Notify(ctx)
	return n, nil
}

// Retry queues a dead letter again.
func (s *Service) Retry(ctx context.Context, p auth.Principal, id string) (store.Push, error) {
	push, err := s.cfg.Store.RetryPush(ctx, p.UserID, p.DeviceID, id, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Push{}, ErrNotFailed.With(err)
	}
	if err != nil {
		return store.Push{}, err
	}
	s.Notify(ctx)
	return push, nil
}

// Delete deletes a push.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	return s.cfg.Store.DeletePush(ctx, p.UserID, p.DeviceID, id, p.Actor())
}

// Stats returns the state of the queue and the counters.
func (s *Service) Stats(ctx context.Context) (Stats, error) {
	stats, err := s.Post.Stats(ctx)
	return Stats{PostStats: stats, TotalForgotten: s.forgotten.Load()}, err
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
