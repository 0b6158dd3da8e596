package commands

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

// Command is a command as clients see it, in answers and in events.
type Command struct {
	ID             string          `json:"id"`
	SourceDeviceID string          `json:"sourceDeviceId"`
	TargetDeviceID string          `json:"targetDeviceId"`
	CommandType    string          `json:"commandType"`
	Payload        json.RawMessage `json:"payload"`
	Status         string          `json:"status" enum:"queued,sent,acknowledged,rejected,failed"`
	RetryCount     int             `json:"retryCount" doc:"How often it was delivered again"`
	Result         json.RawMessage `json:"result,omitempty"`
	Error          string          `json:"error,omitempty"`
	SentAt         time.Time       `json:"sentAt,omitzero"`
	AckAt          time.Time       `json:"ackAt,omitzero"`
	CreatedAt      time.Time       `json:"createdAt"`
}

func toCommand(c store.Command) Command {
	payload := c.Payload
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	return Command{
		ID: c.ID, SourceDeviceID: c.SourceDeviceID, TargetDeviceID: c.TargetDeviceID,
		CommandType: c.CommandType, Payload: payload, Status: string(c.Status), RetryCount: c.RetryCount,
		Result: c.Result, Error: c.Error, SentAt: c.SentAt, AckAt: c.AckAt, CreatedAt: c.CreatedAt,
	}
}

type sendInput struct {
	Body struct {
		SourceDeviceID string          `json:"sourceDeviceId,omitempty" maxLength:"64" doc:"Needed with a session"`
		TargetDeviceID string          `json:"targetDeviceId" minLength:"1" maxLength:"64"`
		CommandType    string          `json:"commandType" pattern:"^[a-z][a-z0-9_]{0,63}$"`
		Payload        json.RawMessage `json:"payload,omitempty" doc:"An object of at most 8 KiB"`
	}
}

type ackInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Status string          `json:"status" enum:"acknowledged,rejected"`
		Result json.RawMessage `json:"result,omitempty" doc:"Any JSON of at most 8 KiB"`
		Error  string          `json:"error,omitempty" maxLength:"1000"`
	}
}

type commandInput struct {
	ID string `path:"id" maxLength:"64"`
}

type commandOutput struct{ Body Command }

type listInput struct {
	rest.PageQuery
	DeviceID    string `query:"deviceId" maxLength:"64" doc:"From or to this device"`
	Status      string `query:"status" enum:"queued,sent,acknowledged,rejected,failed"`
	CommandType string `query:"commandType" maxLength:"64"`
}

func (in *listInput) filter() store.CommandFilter {
	f := store.CommandFilter{Status: store.CommandStatus(in.Status), CommandType: in.CommandType}
	if in.DeviceID != "" {
		f.DeviceIDs = []string{in.DeviceID}
	}
	return f
}

type listOutput struct{ Body rest.List[Command] }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("commands")
	send := op(http.MethodPost, "/commands", "Send a command to a camera", auth.Either)
	send.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(send, exampleSend, exampleSent), s.handleSend,
		ErrWrongRole, ErrNotLinked, ErrNoSource, ErrBadJSON, rest.ErrNotFound, rest.ErrLimitReached, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, "/commands", "List commands, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, "/commands/{id}", "Get a command", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodPost, "/commands/{id}/ack", "Answer a command", auth.Device), s.handleAck,
		ErrBadAck, ErrBadJSON, ErrEnded)
	rest.Register(api, op(http.MethodPost, "/commands/{id}/cancel", "Take a command back before it is answered", auth.Either),
		s.handleCancel, ErrEnded, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPost, "/commands/{id}/retry", "Send a command again that nobody answered", auth.Either),
		s.handleRetry, ErrNotDead, ErrNotLinked, rest.ErrLimitReached, auth.ErrForbidden)
	remove := op(http.MethodDelete, "/commands/{id}", "Delete a command that has ended", auth.Either)
	remove.DefaultStatus = http.StatusNoContent
	rest.Register(api, remove, s.handleDelete, ErrPending, auth.ErrForbidden)
}

func (s *Service) handleSend(ctx context.Context, in *sendInput) (*commandOutput, error) {
	return answer(s.Send(ctx, auth.Caller(ctx), Request{
		SourceDeviceID: in.Body.SourceDeviceID, TargetDeviceID: in.Body.TargetDeviceID,
		CommandType: in.Body.CommandType, Payload: in.Body.Payload,
	}))
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.Commands(ctx, auth.Caller(ctx), in.filter(), page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toCommand, func(c store.Command) store.Cursor {
		return store.Cursor{CreatedAt: c.CreatedAt, ID: c.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *commandInput) (*commandOutput, error) {
	return answer(s.Command(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleCancel(ctx context.Context, in *commandInput) (*commandOutput, error) {
	return answer(s.Cancel(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleRetry(ctx context.Context, in *commandInput) (*commandOutput, error) {
	return answer(s.Retry(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleDelete(ctx context.Context, in *commandInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func (s *Service) handleAck(ctx context.Context, in *ackInput) (*commandOutput, error) {
	return answer(s.Ack(ctx, auth.Caller(ctx), in.ID, Answer{
		Status: store.CommandStatus(in.Body.Status), Result: in.Body.Result, Error: in.Body.Error,
	}))
}

func answer(c store.Command, err error) (*commandOutput, error) {
	if err != nil {
		return nil, err
	}
	return &commandOutput{Body: toCommand(c)}, nil
}
