package streams

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Stream is a stream session as clients see it, in answers and in events.
type Stream struct {
	ID                string    `json:"id"`
	CameraDeviceID    string    `json:"cameraDeviceId"`
	RequesterDeviceID string    `json:"requesterDeviceId"`
	Status            string    `json:"status" enum:"requested,streaming,completed,cancelled,failed"`
	Reason            string    `json:"reason,omitempty"`
	MediaProvider     string    `json:"mediaProvider"`
	MediaSessionID    string    `json:"mediaSessionId,omitempty" doc:"Set once the stream is streaming"`
	CreatedAt         time.Time `json:"createdAt"`
	StartedAt         time.Time `json:"startedAt,omitzero"`
	EndedAt           time.Time `json:"endedAt,omitzero"`
}

func toStream(s store.Stream) Stream {
	return Stream{
		ID: s.ID, CameraDeviceID: s.CameraDeviceID, RequesterDeviceID: s.RequesterDeviceID,
		Status: string(s.Status), Reason: s.Reason, MediaProvider: s.MediaProvider, MediaSessionID: s.MediaSessionID,
		CreatedAt: s.CreatedAt, StartedAt: s.StartedAt, EndedAt: s.EndedAt,
	}
}

type streamOutput struct{ Body Stream }

type streamInput struct {
	ID string `path:"id" maxLength:"64"`
}

type listInput struct {
	rest.PageQuery
	CameraDeviceID    string    `query:"cameraDeviceId" maxLength:"64"`
	RequesterDeviceID string    `query:"requesterDeviceId" maxLength:"64"`
	Status            string    `query:"status" enum:"requested,streaming,completed,cancelled,failed"`
	Since             time.Time `query:"since" doc:"Requested then or later"`
	Until             time.Time `query:"until" doc:"Requested before then"`
}

type listOutput struct{ Body rest.List[Stream] }

type requestInput struct {
	Body struct {
		CameraDeviceID string `json:"cameraDeviceId" minLength:"1" maxLength:"64"`
		Reason         string `json:"reason,omitempty" maxLength:"200"`
	}
}

type endInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body *struct {
		Reason string `json:"reason,omitempty" enum:"stopped,app_closed,low_battery,device_error" doc:"Left out: who ended it"`
	}
}

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("streams")
	request := op(http.MethodPost, "/streams/request", "Ask a camera for a stream", auth.Device)
	request.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(request, exampleRequest, exampleRequested), s.handleRequest,
		ErrAlreadyOpen, ErrNotCamera, ErrNoActiveLink, auth.ErrForbidden, rest.ErrNotFound, rest.ErrLimitReached)
	rest.Register(api, op(http.MethodGet, "/streams", "List streams, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, "/streams/{id}", "Get a stream", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodPost, "/streams/{id}/accept", "Accept a requested stream", auth.Device), s.handleAccept,
		ErrNotRequested, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPost, "/streams/{id}/end", "End a stream", auth.Either), s.handleEnd,
		ErrEnded, auth.ErrForbidden)
}

func (s *Service) handleRequest(ctx context.Context, in *requestInput) (*streamOutput, error) {
	return answer(s.Request(ctx, auth.Caller(ctx), in.Body.CameraDeviceID, in.Body.Reason))
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.List(ctx, auth.Caller(ctx), store.StreamFilter{
		CameraDeviceID: in.CameraDeviceID, RequesterDeviceID: in.RequesterDeviceID, Status: store.StreamStatus(in.Status),
		Since: in.Since, Until: in.Until,
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toStream, func(st store.Stream) store.Cursor {
		return store.Cursor{CreatedAt: st.CreatedAt, ID: st.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *streamInput) (*streamOutput, error) {
	return answer(s.Stream(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleAccept(ctx context.Context, in *streamInput) (*streamOutput, error) {
	return answer(s.Accept(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleEnd(ctx context.Context, in *endInput) (*streamOutput, error) {
	var reason string
	if in.Body != nil {
		reason = in.Body.Reason
	}
	return answer(s.End(ctx, auth.Caller(ctx), in.ID, reason))
}

func answer(st store.Stream, err error) (*streamOutput, error) {
	if err != nil {
		return nil, err
	}
	return &streamOutput{Body: toStream(st)}, nil
}
