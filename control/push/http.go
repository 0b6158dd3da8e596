package push

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Notification is a push as clients see it.
type Notification struct {
	ID                string          `json:"id"`
	RecipientDeviceID string          `json:"recipientDeviceId"`
	EventID           string          `json:"eventId,omitempty"`
	Type              string          `json:"type" doc:"motion:started, stream:requested, stream:ended or test"`
	Payload           json.RawMessage `json:"payload"`
	Status            string          `json:"status" enum:"queued,sent,failed" doc:"failed is a dead letter"`
	Attempts          int             `json:"attempts"`
	Error             string          `json:"error,omitempty" doc:"Of the last attempt: no_subscription, subscription_gone, subscription_invalid, message_too_long, unreachable, address_not_allowed, refused:STATUS, stopped, lost"` //nolint:lll // a tag has no lines
	NextAttemptAt     time.Time       `json:"nextAttemptAt,omitzero"`
	SentAt            time.Time       `json:"sentAt,omitzero"`
	CreatedAt         time.Time       `json:"createdAt"`
}

func toPush(p store.Push) Notification {
	return Notification{
		ID: p.ID, RecipientDeviceID: p.RecipientDeviceID, EventID: p.EventID, Type: p.Type, Payload: p.Payload,
		Status: string(p.Status), Attempts: p.Attempts, Error: p.Error, NextAttemptAt: p.NextAttemptAt, SentAt: p.SentAt,
		CreatedAt: p.CreatedAt,
	}
}

// Subscription is what a browser's PushSubscription.toJSON() gives.
type Subscription struct {
	Endpoint       string           `json:"endpoint" minLength:"1" maxLength:"2048"`
	ExpirationTime *int64           `json:"expirationTime,omitempty" nullable:"true" doc:"Ignored: push services tell when it is over"`
	Keys           SubscriptionKeys `json:"keys"`
}

// SubscriptionKeys are its keys, base64url.
type SubscriptionKeys struct {
	P256dh string `json:"p256dh" minLength:"1" maxLength:"128"`
	Auth   string `json:"auth" minLength:"1" maxLength:"64"`
}

// DeviceSubscription is a device's subscription as its owner sees it. The keys
// stay here: who has them and the endpoint can write to the browser.
type DeviceSubscription struct {
	DeviceID  string    `json:"deviceId"`
	Endpoint  string    `json:"endpoint"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

func toSubscription(s store.PushSubscription) *subscriptionOutput {
	return &subscriptionOutput{Body: DeviceSubscription{
		DeviceID: s.DeviceID, Endpoint: s.Endpoint, CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}}
}

type listInput struct {
	rest.PageQuery
	RecipientDeviceID string `query:"recipientDeviceId" maxLength:"64"`
	Status            string `query:"status" enum:"queued,sent,failed"`
	Type              string `query:"type" maxLength:"64"`
}

type listOutput struct {
	Body rest.List[Notification]
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type pushOutput struct{ Body Notification }

type dispatchOutput struct {
	Body struct {
		Dispatched int64 `json:"dispatched" doc:"How many pushes are sent now instead of later"`
	}
}

type keyOutput struct {
	Body struct {
		PublicKey string `json:"publicKey" doc:"The applicationServerKey of PushManager.subscribe, base64url"`
	}
}

type subscribeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body Subscription
}

type subscriptionOutput struct{ Body DeviceSubscription }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("push-notifications")
	const one = "/push-notifications/{id}"
	rest.Register(api, op(http.MethodGet, "/push-notifications", "List pushes, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, "/push-notifications/vapid-public-key",
		"Get the key that browsers subscribe with", nil), s.handleKey)
	rest.Register(api, op(http.MethodPost, "/push-notifications/dispatch",
		"Send what waits for its next attempt now", auth.Either), s.handleDispatch)
	rest.Register(api, op(http.MethodGet, one, "Get a push", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodPost, one+"/retry", "Send a dead letter again", auth.Either), s.handleRetry,
		ErrNotFailed)
	rest.Register(api, op(http.MethodDelete, one, "Delete a push", auth.Either), s.handleDelete)

	const sub = "/devices/{id}/push-subscription"
	test := op(http.MethodPost, sub+"/test", "Send a device a message to try it out", auth.Either)
	test.DefaultStatus = http.StatusAccepted
	rest.Register(api, op(http.MethodPut, sub, "Have a browser take a device's messages", auth.Either), s.handleSubscribe,
		ErrEndpoint, ErrKeys, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, sub, "Get a device's push subscription", auth.Either), s.handleSubscription,
		auth.ErrForbidden)
	rest.Register(api, op(http.MethodDelete, sub, "End a device's push subscription", auth.Either), s.handleUnsubscribe,
		auth.ErrForbidden)
	rest.Register(api, test, s.handleTest, auth.ErrForbidden)
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.List(ctx, auth.Caller(ctx), store.PushFilter{
		RecipientDeviceID: in.RecipientDeviceID, Status: store.WorkStatus(in.Status), Type: in.Type,
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toPush, func(p store.Push) store.Cursor {
		return store.Cursor{CreatedAt: p.CreatedAt, ID: p.ID}
	})}, nil
}

func (s *Service) handleKey(context.Context, *struct{}) (*keyOutput, error) {
	out := &keyOutput{}
	out.Body.PublicKey = s.cfg.Identity.PublicKey()
	return out, nil
}

func (s *Service) handleDispatch(ctx context.Context, _ *struct{}) (*dispatchOutput, error) {
	n, err := s.Dispatch(ctx, auth.Caller(ctx))
	if err != nil {
		return nil, err
	}
	out := &dispatchOutput{}
	out.Body.Dispatched = n
	return out, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*pushOutput, error) {
	return answer(s.Push(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleRetry(ctx context.Context, in *idInput) (*pushOutput, error) {
	return answer(s.Retry(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) handleSubscribe(ctx context.Context, in *subscribeInput) (*subscriptionOutput, error) {
	sub, err := s.Subscribe(ctx, auth.Caller(ctx), store.PushSubscription{
		DeviceID: in.ID, Endpoint: in.Body.Endpoint, P256dh: in.Body.Keys.P256dh, AuthSecret: in.Body.Keys.Auth,
	})
	if err != nil {
		return nil, err
	}
	return toSubscription(sub), nil
}

func (s *Service) handleSubscription(ctx context.Context, in *idInput) (*subscriptionOutput, error) {
	sub, err := s.Subscription(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return toSubscription(sub), nil
}

func (s *Service) handleUnsubscribe(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Unsubscribe(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) handleTest(ctx context.Context, in *idInput) (*pushOutput, error) {
	return answer(s.Test(ctx, auth.Caller(ctx), in.ID))
}

func answer(p store.Push, err error) (*pushOutput, error) {
	if err != nil {
		return nil, err
	}
	return &pushOutput{Body: toPush(p)}, nil
}
