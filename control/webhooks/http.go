package webhooks

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

// Webhook is a webhook as its user sees it.
type Webhook struct {
	ID             string    `json:"id"`
	Name           string    `json:"name"`
	Kind           string    `json:"kind" enum:"webhook,ntfy"`
	URL            string    `json:"url"`
	Secret         string    `json:"secret,omitempty" doc:"Verifies the messages (Standard Webhooks); shown when it is made"`
	EventTypes     []string  `json:"eventTypes" nullable:"false" doc:"Empty for all"`
	Enabled        bool      `json:"enabled"`
	DisabledReason string    `json:"disabledReason,omitempty" doc:"gone: the receiver answered 410"`
	CreatedAt      time.Time `json:"createdAt"`
	UpdatedAt      time.Time `json:"updatedAt"`
}

func toWebhook(w store.Webhook) Webhook {
	types := w.EventTypes
	if types == nil {
		types = []string{}
	}
	return Webhook{
		ID: w.ID, Name: w.Name, Kind: string(w.Kind), URL: w.URL, EventTypes: types, Enabled: w.Enabled,
		DisabledReason: w.DisabledReason, CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt,
	}
}

// Delivery is one message to a webhook, as its user sees it.
type Delivery struct {
	ID             string          `json:"id"`
	WebhookID      string          `json:"webhookId"`
	MessageID      string          `json:"messageId" doc:"The webhook-id header; the same in a replay"`
	Type           string          `json:"type"`
	Payload        json.RawMessage `json:"payload"`
	Status         string          `json:"status" enum:"queued,sent,failed" doc:"failed is a dead letter"`
	Attempts       int             `json:"attempts"`
	ResponseStatus int             `json:"responseStatus,omitempty" doc:"HTTP status of the last answer"`
	ResponseMS     int64           `json:"responseMs,omitempty"`
	Error          string          `json:"error,omitempty" doc:"Of the last attempt: unreachable, address_not_allowed, refused, gone, not_sendable, disabled, stopped, lost"` //nolint:lll // a tag has no lines
	NextAttemptAt  time.Time       `json:"nextAttemptAt,omitzero"`
	SentAt         time.Time       `json:"sentAt,omitzero"`
	CreatedAt      time.Time       `json:"createdAt"`
}

func toDelivery(d store.Delivery) Delivery {
	return Delivery{
		ID: d.ID, WebhookID: d.WebhookID, MessageID: d.MessageID, Type: d.Type, Payload: d.Payload, Status: string(d.Status),
		Attempts: d.Attempts, ResponseStatus: d.ResponseStatus, ResponseMS: d.ResponseTime.Milliseconds(), Error: d.Error,
		NextAttemptAt: d.NextAttemptAt, SentAt: d.SentAt, CreatedAt: d.CreatedAt,
	}
}

type createInput struct {
	Body struct {
		Name        string   `json:"name" minLength:"1" maxLength:"100" pattern:"\\S"`
		Kind        string   `json:"kind,omitempty" enum:"webhook,ntfy" default:"webhook"`
		URL         string   `json:"url" minLength:"1" maxLength:"2048" doc:"Of ntfy: the topic, https://ntfy.sh/my-topic"`
		AccessToken string   `json:"accessToken,omitempty" maxLength:"256" doc:"Of a protected ntfy topic" pattern:"^[!-~]*$"`
		EventTypes  []string `json:"eventTypes,omitempty" maxItems:"16" enum:"motion:started,motion:ended,stream:requested,stream:started,stream:ended" doc:"Empty for all"` //nolint:lll // a tag has no lines
	}
}

type updateInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Name        *string   `json:"name,omitempty" minLength:"1" maxLength:"100" pattern:"\\S"`
		URL         *string   `json:"url,omitempty" minLength:"1" maxLength:"2048"`
		AccessToken *string   `json:"accessToken,omitempty" maxLength:"256" pattern:"^[!-~]*$"`
		EventTypes  *[]string `json:"eventTypes,omitempty" maxItems:"16" enum:"motion:started,motion:ended,stream:requested,stream:started,stream:ended"` //nolint:lll // a tag has no lines
		Enabled     *bool     `json:"enabled,omitempty"`
	}
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type webhookOutput struct{ Body Webhook }

type listInput struct {
	rest.PageQuery
	Kind    string `query:"kind" enum:"webhook,ntfy"`
	Enabled string `query:"enabled" enum:"true,false"`
}

type listOutput struct{ Body rest.List[Webhook] }

type deliveriesInput struct {
	ID string `path:"id" maxLength:"64"`
	rest.PageQuery
	Status string `query:"status" enum:"queued,sent,failed"`
	Type   string `query:"type" maxLength:"64"`
}

type deliveriesOutput struct{ Body rest.List[Delivery] }

type deliveryInput struct {
	ID         string `path:"id" maxLength:"64"`
	DeliveryID string `path:"deliveryId" maxLength:"64"`
}

type deliveryOutput struct{ Body Delivery }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("webhooks")
	const (
		one   = "/webhooks/{id}"
		log   = one + "/deliveries"
		entry = log + "/{deliveryId}"
	)
	with := func(status int, o huma.Operation) huma.Operation {
		o.DefaultStatus = status
		return o
	}
	create := with(http.StatusCreated, op(http.MethodPost, "/webhooks", "Have events sent somewhere", auth.Session))
	rest.Register(api, rest.Shown(create, exampleCreate, exampleCreated),
		s.handleCreate, ErrURL, ErrTopic, ErrTooMany)
	rest.Register(api, op(http.MethodGet, "/webhooks", "List webhooks, newest first", auth.Session), s.handleList)
	rest.Register(api, op(http.MethodGet, one, "Get a webhook", auth.Session), s.handleGet)
	rest.Register(api, op(http.MethodPatch, one, "Change a webhook", auth.Session), s.handleUpdate, ErrURL, ErrTopic)
	rest.Register(api, op(http.MethodDelete, one, "Delete a webhook and its log", auth.Session), s.handleDelete)
	rest.Register(api, op(http.MethodPost, one+"/secret", "Replace a webhook's secret", auth.Session), s.handleRotate)
	rest.Register(api, with(http.StatusAccepted, op(http.MethodPost, one+"/ping", "Try a webhook out", auth.Session)), s.handlePing)
	rest.Register(api, op(http.MethodGet, log, "List a webhook's deliveries, newest first", auth.Session), s.handleDeliveries)
	rest.Register(api, op(http.MethodGet, entry, "Get a delivery", auth.Session), s.handleDelivery)
	rest.Register(api, with(http.StatusAccepted, op(http.MethodPost, entry+"/replay", "Send a message again", auth.Session)),
		s.handleReplay, ErrQueued)
	rest.Register(api, with(http.StatusNoContent, op(http.MethodDelete, entry, "Delete a delivery from the log", auth.Session)),
		s.handleDeleteDelivery)
}

func (s *Service) handleCreate(ctx context.Context, in *createInput) (*webhookOutput, error) {
	return withSecret(s.Create(ctx, auth.Caller(ctx), store.Webhook{
		Name: in.Body.Name, Kind: store.WebhookKind(in.Body.Kind), URL: in.Body.URL, AccessToken: in.Body.AccessToken,
		EventTypes: in.Body.EventTypes,
	}))
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	by := store.WebhookFilter{Kind: store.WebhookKind(in.Kind)}
	if in.Enabled != "" {
		enabled := in.Enabled == "true"
		by.Enabled = &enabled
	}
	rows, err := s.List(ctx, auth.Caller(ctx), by, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toWebhook, func(w store.Webhook) store.Cursor {
		return store.Cursor{CreatedAt: w.CreatedAt, ID: w.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*webhookOutput, error) {
	return answer(s.Webhook(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleUpdate(ctx context.Context, in *updateInput) (*webhookOutput, error) {
	return answer(s.Update(ctx, auth.Caller(ctx), in.ID, store.WebhookChange{
		Name: in.Body.Name, URL: in.Body.URL, AccessToken: in.Body.AccessToken, EventTypes: in.Body.EventTypes,
		Enabled: in.Body.Enabled,
	}))
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) handleRotate(ctx context.Context, in *idInput) (*webhookOutput, error) {
	return withSecret(s.Rotate(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handlePing(ctx context.Context, in *idInput) (*deliveryOutput, error) {
	return deliveryAnswer(s.Ping(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleDeliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.Deliveries(ctx, auth.Caller(ctx), store.DeliveryFilter{
		WebhookID: in.ID, Status: store.WorkStatus(in.Status), Type: in.Type,
	}, page)
	if err != nil {
		return nil, err
	}
	return &deliveriesOutput{Body: rest.ListOf(in.PageQuery, rows, toDelivery, func(d store.Delivery) store.Cursor {
		return store.Cursor{CreatedAt: d.CreatedAt, ID: d.ID}
	})}, nil
}

func (s *Service) handleDelivery(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	return deliveryAnswer(s.Delivery(ctx, auth.Caller(ctx), in.ID, in.DeliveryID))
}

func (s *Service) handleReplay(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	return deliveryAnswer(s.Replay(ctx, auth.Caller(ctx), in.ID, in.DeliveryID))
}

func (s *Service) handleDeleteDelivery(ctx context.Context, in *deliveryInput) (*struct{}, error) {
	return nil, s.DeleteDelivery(ctx, auth.Caller(ctx), in.ID, in.DeliveryID)
}

func answer(w store.Webhook, err error) (*webhookOutput, error) {
	if err != nil {
		return nil, err
	}
	return &webhookOutput{Body: toWebhook(w)}, nil
}

// withSecret is answer for a webhook whose secret was just made.
func withSecret(w store.Webhook, err error) (*webhookOutput, error) {
	out, err := answer(w, err)
	if err == nil {
		out.Body.Secret = w.Secret
	}
	return out, err
}

func deliveryAnswer(d store.Delivery, err error) (*deliveryOutput, error) {
	if err != nil {
		return nil, err
	}
	return &deliveryOutput{Body: toDelivery(d)}, nil
}
