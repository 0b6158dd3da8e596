package videos

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

// Video is a video as clients see it.
type Video struct {
	ID          string    `json:"id"`
	DeviceID    string    `json:"deviceId,omitempty"`
	EventID     string    `json:"eventId,omitempty"`
	Name        string    `json:"name"`
	Status      string    `json:"status" enum:"awaiting_upload,ready,failed"`
	ContentType string    `json:"contentType"`
	Size        int64     `json:"size" doc:"Bytes; as announced until it is ready"`
	ExpiresAt   time.Time `json:"expiresAt,omitzero" doc:"Until when the upload may begin"`
	CreatedAt   time.Time `json:"createdAt"`
	UpdatedAt   time.Time `json:"updatedAt"`
}

func toVideo(v store.Video) Video {
	return Video{
		ID: v.ID, DeviceID: v.DeviceID, EventID: v.EventID, Name: v.Name, Status: string(v.Status), ContentType: v.ContentType,
		Size: v.Size, ExpiresAt: v.ExpiresAt, CreatedAt: v.CreatedAt, UpdatedAt: v.UpdatedAt,
	}
}

type createInput struct {
	Body struct {
		Name        string `json:"name" minLength:"1" maxLength:"200" pattern:"^[^/\\\\\\x00-\\x1f]+$" doc:"Of the file"`
		ContentType string `json:"contentType" enum:"video/webm,video/mp4,video/x-matroska,video/quicktime,image/jpeg,image/png,image/webp"`
		Size        int64  `json:"size" minimum:"1" maximum:"5368709120" doc:"Bytes, exactly"`
		DeviceID    string `json:"deviceId,omitempty" maxLength:"64" doc:"Whose video it is; a device's own when it asks itself"`
		EventID     string `json:"eventId,omitempty" maxLength:"64" doc:"What it shows"`
	}
}

// Upload is how to upload the file of a video.
type Upload struct {
	URL       string            `json:"url" doc:"Takes one PUT, without any credentials"`
	Method    string            `json:"method" enum:"PUT"`
	Headers   map[string]string `json:"headers" doc:"To send with it"`
	ExpiresAt time.Time         `json:"expiresAt"`
}

type createOutput struct {
	Body struct {
		Video  Video  `json:"video"`
		Upload Upload `json:"upload"`
	}
}

type idInput struct {
	ID string `path:"id" maxLength:"64"`
}

type videoOutput struct{ Body Video }

type listInput struct {
	rest.PageQuery
	DeviceID string `query:"deviceId" maxLength:"64"`
	EventID  string `query:"eventId" maxLength:"64"`
	Status   string `query:"status" enum:"awaiting_upload,ready,failed"`
}

type listOutput struct{ Body rest.List[Video] }

type downloadInput struct {
	ID         string `path:"id" maxLength:"64"`
	Attachment bool   `query:"attachment" doc:"The URL offers a file to keep instead of showing it"`
}

// DownloadURL is where to get the file of a video.
type DownloadURL struct {
	URL         string    `json:"url" doc:"Answers GET, also with Range, without any credentials"`
	ExpiresAt   time.Time `json:"expiresAt"`
	ContentType string    `json:"contentType"`
	Size        int64     `json:"size" doc:"Bytes"`
}

type downloadOutput struct{ Body DownloadURL }

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("videos")
	const one = "/videos/{id}"
	create := op(http.MethodPost, "/videos/upload-url", "Get a URL to upload a video to", auth.Either)
	create.DefaultStatus = http.StatusCreated
	rest.Register(api, rest.Shown(create, exampleCreate, ""), s.handleCreate,
		ErrTooMany, ErrStorage, rest.ErrNotFound, rest.ErrStorageLimit, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, "/videos", "List videos, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, one, "Get a video", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodPost, one+"/complete", "Say that a video is uploaded", auth.Either), s.handleComplete,
		ErrEnded, ErrNotReady, ErrStorage, auth.ErrForbidden)
	rest.Register(api, op(http.MethodGet, one+"/download-url", "Get a URL of the file", auth.Either), s.handleDownload,
		ErrNotReady, ErrGone, ErrStorage)
	rest.Register(api, op(http.MethodDelete, one, "Delete a video and its file", auth.Either), s.handleDelete,
		ErrAwaiting, ErrStorage, rest.ErrState, auth.ErrForbidden)
}

func (s *Service) handleCreate(ctx context.Context, in *createInput) (*createOutput, error) {
	v, signed, err := s.Create(ctx, auth.Caller(ctx), Request{
		Name: in.Body.Name, ContentType: in.Body.ContentType, Size: in.Body.Size, DeviceID: in.Body.DeviceID, EventID: in.Body.EventID,
	})
	if err != nil {
		return nil, err
	}
	out := &createOutput{}
	out.Body.Video = toVideo(v)
	out.Body.Upload = Upload{
		URL: s.cfg.Public.Absolute(ctx, signed.URL), Method: http.MethodPut, Headers: signed.Header, ExpiresAt: signed.Expires,
	}
	return out, nil
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.List(ctx, auth.Caller(ctx), store.VideoFilter{
		OfDeviceID: in.DeviceID, EventID: in.EventID, Status: store.VideoStatus(in.Status),
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toVideo, func(v store.Video) store.Cursor {
		return store.Cursor{CreatedAt: v.CreatedAt, ID: v.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *idInput) (*videoOutput, error) {
	return answer(s.Video(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleComplete(ctx context.Context, in *idInput) (*videoOutput, error) {
	return answer(s.Complete(ctx, auth.Caller(ctx), in.ID))
}

func (s *Service) handleDownload(ctx context.Context, in *downloadInput) (*downloadOutput, error) {
	d, err := s.Download(ctx, auth.Caller(ctx), in.ID, in.Attachment)
	if err != nil {
		return nil, err
	}
	d.URL = s.cfg.Public.Absolute(ctx, d.URL)
	return &downloadOutput{Body: DownloadURL(d)}, nil
}

func (s *Service) handleDelete(ctx context.Context, in *idInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}

func answer(v store.Video, err error) (*videoOutput, error) {
	if err != nil {
		return nil, err
	}
	return &videoOutput{Body: toVideo(v)}, nil
}
