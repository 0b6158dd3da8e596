// Package webhooks sends a user's events to addresses of the user's choice:
// signed JSON as Standard Webhooks describes it, or messages for an ntfy topic.
// A message is a row first; workers send it, again and again when that fails,
// and the rows are the log.
package webhooks

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/store"
)

// Rows are the webhooks in the database.
type Rows interface {
	CreateWebhook(ctx context.Context, w store.Webhook, limit int, by store.Actor) error
	Webhook(ctx context.Context, userID, id string) (store.Webhook, error)
	Webhooks(ctx context.Context, userID string, by store.WebhookFilter, p store.Page) ([]store.Webhook, error)
	UpdateWebhook(
		ctx context.Context, userID, id string, c store.WebhookChange, at time.Time, by store.Actor,
	) (store.Webhook, error)
	DisableWebhook(ctx context.Context, id, reason string, at time.Time) error
	DeleteWebhook(ctx context.Context, userID, id string, by store.Actor) error
}

// Log is what was sent, and is to be sent.
type Log interface {
	QueueMessage(ctx context.Context, userID string, m store.Message, at time.Time) error
	QueueDelivery(ctx context.Context, d store.Delivery, by store.Actor) error
	Delivery(ctx context.Context, userID, id string) (store.Delivery, error)
	Deliveries(ctx context.Context, userID string, by store.DeliveryFilter, p store.Page) ([]store.Delivery, error)
	RetryDelivery(ctx context.Context, userID, id string, at time.Time, by store.Actor) (store.Delivery, error)
	DeleteDelivery(ctx context.Context, userID, id string, by store.Actor) error
}

// Queue is the log as workers see it.
type Queue interface {
	ClaimDeliveries(ctx context.Context, c store.Claim) ([]store.Delivery, error)
	SettleDelivery(ctx context.Context, id string, claim int64, o store.DeliveryOutcome) error
	PruneDeliveries(ctx context.Context, before time.Time, limit int) (int64, error)
	DeliveryStats(ctx context.Context) (store.QueueStats, error)
}

// Store is what webhooks needs from the database.
type Store interface {
	Rows
	Log
	Queue
}

// Sender makes the requests.
type Sender interface {
	Check(rawURL string) error
	Post(ctx context.Context, rawURL string, header http.Header, body io.Reader) (outbound.Response, error)
}

// Config is what a Service is made of. Every number has a default.
type Config struct {
	Store  Store
	Sender Sender
	Bus    jobs.Bus // may be nil
	Logger *slog.Logger
	Now    func() time.Time // time.Now if nil

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
	*jobs.Post[store.Delivery]
	cfg Config
}

const (
	maxWebhooks  = 20 // of one user
	secretPrefix = "whsec_"
	secretLength = 24 // bytes
	typePing     = "ping"
)

var (
	// ErrURL reports an address that this server may not send to.
	ErrURL = fault.New(fault.Unprocessable, "invalid_url",
		"The URL must be https and public. Only the operator of this server can allow others, with OUTGOING_NETWORKS.")
	// ErrTooMany reports one webhook more than a user may have.
	ErrTooMany = fault.New(fault.Conflict, "too_many_webhooks", "An account has at most 20 webhooks.")
	// ErrTopic reports an ntfy URL without a topic.
	ErrTopic = fault.New(fault.Unprocessable, "invalid_topic", "An ntfy URL ends with a topic: https://ntfy.sh/my-topic.")
	// ErrQueued reports a wish to repeat what has not ended.
	ErrQueued = fault.New(fault.Conflict, "delivery_queued", "This delivery is still under way.")
)

// New returns the feature; the caller runs its Run.
func New(c Config) *Service {
	c = c.withDefaults()
	s := &Service{cfg: c}
	s.Post = jobs.NewPost(jobs.PostConfig{
		Patience: c.Patience, Name: "webhooks", Bus: c.Bus, Logger: c.Logger, Now: c.Now,
	}, mail{s})
	return s
}

// Send queues a message for the user's webhooks that take its type. With a
// key, it is sent once however often it is queued.
func (s *Service) Send(ctx context.Context, userID, typ, key string, data any) error {
	payload, err := json.Marshal(data)
	if err != nil {
		return err
	}
	if err := s.cfg.Store.QueueMessage(ctx, userID, store.Message{Type: typ, Payload: payload, Key: key}, s.now()); err != nil {
		return err
	}
	s.Notify(ctx)
	return nil
}

// Create adds a webhook of p's user and makes its secret.
func (s *Service) Create(ctx context.Context, p auth.Principal, w store.Webhook) (store.Webhook, error) {
	if err := s.check(w.Kind, w.URL); err != nil {
		return store.Webhook{}, err
	}
	now := s.now()
	w.ID, w.UserID, w.Enabled, w.CreatedAt, w.UpdatedAt = store.NewID(), p.UserID, true, now, now
	w.EventTypes = tidy(w.EventTypes)
	if w.Kind == store.KindWebhook {
		w.Secret, w.AccessToken = newSecret(), ""
	}
	err := s.cfg.Store.CreateWebhook(ctx, w, maxWebhooks, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Webhook{}, ErrTooMany.With(err)
	}
	return w, err
}

func (s *Service) check(kind store.WebhookKind, url string) error {
	if err := s.cfg.Sender.Check(url); err != nil {
		return ErrURL.With(err)
	}
	if kind == store.KindNtfy {
		if _, _, err := splitTopic(url); err != nil {
			return err
		}
	}
	return nil
}

// tidy sorts types and drops doubles.
func tidy(types []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(types)))
}

func newSecret() string {
	secret := make([]byte, secretLength)
	rand.Read(secret)
	return secretPrefix + base64.StdEncoding.EncodeToString(secret)
}

// Webhook returns a webhook of p's user.
func (s *Service) Webhook(ctx context.Context, p auth.Principal, id string) (store.Webhook, error) {
	return s.cfg.Store.Webhook(ctx, p.UserID, id)
}

// List lists the webhooks of p's user that pass the filter.
func (s *Service) List(ctx context.Context, p auth.Principal, by store.WebhookFilter, page store.Page) ([]store.Webhook, error) {
	return s.cfg.Store.Webhooks(ctx, p.UserID, by, page)
}

// Update changes a webhook of p's user.
func (s *Service) Update(ctx context.Context, p auth.Principal, id string, c store.WebhookChange) (store.Webhook, error) {
	w, err := s.cfg.Store.Webhook(ctx, p.UserID, id)
	if err != nil {
		return store.Webhook{}, err
	}
	if c.URL != nil {
		if err := s.check(w.Kind, *c.URL); err != nil {
			return store.Webhook{}, err
		}
	}
	if c.EventTypes != nil {
		types := tidy(*c.EventTypes)
		c.EventTypes = &types
	}
	return s.cfg.Store.UpdateWebhook(ctx, p.UserID, id, c, s.now(), p.Actor())
}

// Rotate gives a webhook a new secret; the old one ends at once.
func (s *Service) Rotate(ctx context.Context, p auth.Principal, id string) (store.Webhook, error) {
	secret := newSecret()
	return s.cfg.Store.UpdateWebhook(ctx, p.UserID, id, store.WebhookChange{Secret: &secret}, s.now(), p.Actor())
}

// Delete deletes a webhook of p's user and its log.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	return s.cfg.Store.DeleteWebhook(ctx, p.UserID, id, p.Actor())
}

// Ping queues a message that says nothing, also for a webhook that is disabled.
func (s *Service) Ping(ctx context.Context, p auth.Principal, id string) (store.Delivery, error) {
	return s.queue(ctx, p, store.Delivery{WebhookID: id, MessageID: store.NewID(), Type: typePing, Payload: json.RawMessage("{}")})
}

// Replay sends a message of the log once more, with the same message id. One
// that was sent becomes a delivery of its own; a dead letter is queued again
// itself, and is none any more.
func (s *Service) Replay(ctx context.Context, p auth.Principal, webhookID, id string) (store.Delivery, error) {
	d, err := s.Delivery(ctx, p, webhookID, id)
	if err != nil {
		return store.Delivery{}, err
	}
	if d.Status == store.WorkQueued {
		return store.Delivery{}, ErrQueued
	}
	if d.Status == store.WorkFailed {
		return s.retry(ctx, p, id)
	}
	return s.queue(ctx, p, store.Delivery{WebhookID: d.WebhookID, MessageID: d.MessageID, Type: d.Type, Payload: d.Payload})
}

func (s *Service) queue(ctx context.Context, p auth.Principal, d store.Delivery) (store.Delivery, error) {
	now := s.now()
	d.ID, d.UserID, d.Status, d.NextAttemptAt, d.CreatedAt, d.UpdatedAt = store.NewID(), p.UserID, store.WorkQueued, now, now, now
	if err := s.cfg.Store.QueueDelivery(ctx, d, p.Actor()); err != nil {
		return store.Delivery{}, err
	}
	s.Notify(ctx)
	return d, nil
}

// retry queues a dead letter again.
func (s *Service) retry(ctx context.Context, p auth.Principal, id string) (store.Delivery, error) {
	d, err := s.cfg.Store.RetryDelivery(ctx, p.UserID, id, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) { // somebody was faster
		return store.Delivery{}, ErrQueued.With(err)
	}
	if err != nil {
		return store.Delivery{}, err
	}
	s.Notify(ctx)
	return d, nil
}

// DeleteDelivery deletes a message from the log; one that waits is not sent.
func (s *Service) DeleteDelivery(ctx context.Context, p auth.Principal, webhookID, id string) error {
	if _, err := s.Delivery(ctx, p, webhookID, id); err != nil {
		return err
	}
	return s.cfg.Store.DeleteDelivery(ctx, p.UserID, id, p.Actor())
}

// Delivery returns a delivery of a webhook of p's user.
func (s *Service) Delivery(ctx context.Context, p auth.Principal, webhookID, id string) (store.Delivery, error) {
	d, err := s.cfg.Store.Delivery(ctx, p.UserID, id)
	if err == nil && d.WebhookID != webhookID {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Delivery{}, err
	}
	return d, nil
}

// Deliveries lists the log of a webhook of p's user.
func (s *Service) Deliveries(
	ctx context.Context, p auth.Principal, f store.DeliveryFilter, page store.Page,
) ([]store.Delivery, error) {
	if _, err := s.cfg.Store.Webhook(ctx, p.UserID, f.WebhookID); err != nil {
		return nil, err
	}
	return s.cfg.Store.Deliveries(ctx, p.UserID, f, page)
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// splitTopic divides an ntfy URL into the server's and the topic.
func splitTopic(url string) (server, topic string, err error) {
	i := strings.LastIndexByte(url, '/')
	server, topic = url[:i+1], url[i+1:]
	if topic == "" || len(topic) > 64 || strings.HasSuffix(server, "://") || strings.ContainsAny(topic, "?#%") {
		return "", "", ErrTopic
	}
	return server, topic, nil
}
