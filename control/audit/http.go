package audit

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Entry is an audit entry as clients see it.
type Entry struct {
	ID            string          `json:"id"`
	Action        string          `json:"action" example:"recording.download" doc:"What was done: the target's type and a verb"`
	TargetType    string          `json:"targetType" example:"recording"`
	TargetID      string          `json:"targetId"`
	ActorUserID   string          `json:"actorUserId,omitempty" doc:"Left out when it was the server or its administrator"`
	ActorDeviceID string          `json:"actorDeviceId,omitempty" doc:"The device that did it, when it was one"`
	IPAddress     string          `json:"ipAddress,omitempty" example:"203.0.113.7"`
	Metadata      json.RawMessage `json:"metadata,omitempty" doc:"An object that says more"`
	CreatedAt     time.Time       `json:"createdAt"`
}

func toEntry(e store.AuditEntry) Entry {
	return Entry{
		ID: e.ID, Action: e.Action, TargetType: e.TargetType, TargetID: e.TargetID, ActorUserID: e.ActorUserID,
		ActorDeviceID: e.ActorDeviceID, IPAddress: e.IPAddress, Metadata: e.Metadata, CreatedAt: e.CreatedAt,
	}
}

type listInput struct {
	rest.PageQuery
	Action        string    `query:"action" maxLength:"64" pattern:"^[a-z_]+\\.[a-z_]*$" doc:"One action, or all of a type: \"device.\""`
	TargetType    string    `query:"targetType" maxLength:"64" example:"recording"`
	TargetID      string    `query:"targetId" maxLength:"64"`
	ActorDeviceID string    `query:"actorDeviceId" maxLength:"64" doc:"Only what this device did"`
	Since         time.Time `query:"since" doc:"Only what was done at this time or later"`
	Until         time.Time `query:"until" doc:"Only what was done before this time"`
}

type listOutput struct{ Body rest.List[Entry] }

var errNoTime = fault.New(fault.Unprocessable, "invalid_time_range", "since must be before until.")

// Mount adds the route of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("audit")(http.MethodGet, "/audit", "List what was done, newest first", auth.Either)
	op.Description = "A user sees everything that was done to what is the user's; a device what it did, and what was done to it."
	rest.Register(api, op, s.handleList, errNoTime)
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	if !in.Since.IsZero() && !in.Until.IsZero() && !in.Since.Before(in.Until) {
		return nil, errNoTime
	}
	rows, err := s.Entries(ctx, auth.Caller(ctx), store.AuditFilter{
		Action: in.Action, TargetType: in.TargetType, TargetID: in.TargetID, ActorDeviceID: in.ActorDeviceID,
		Since: in.Since, Until: in.Until,
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toEntry, func(e store.AuditEntry) store.Cursor {
		return store.Cursor{CreatedAt: e.CreatedAt, ID: e.ID}
	})}, nil
}
