package recordings

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

// Recording is a recording as clients see it.
type Recording struct {
	ID                string    `json:"id"`
	CameraDeviceID    string    `json:"cameraDeviceId"`
	RequesterDeviceID string    `json:"requesterDeviceId,omitempty" doc:"The client whose stream that was"`
	StreamID          string    `json:"streamId,omitempty" doc:"The stream that watched when it began"`
	MediaSessionID    string    `json:"mediaSessionId"`
	Status            string    `json:"status" enum:"recording,ready,failed,awaiting_upload"`
	ContentType       string    `json:"contentType"`
	DurationMS        int64     `json:"durationMs,omitempty"`
	Size              int64     `json:"size,omitempty" doc:"Bytes; of an awaited upload, what was asked for"`
	Error             string    `json:"error,omitempty" doc:"Why it failed: no_media, not_started, object_lost, storage_failed, not_uploaded"`
	StartedAt         time.Time `json:"startedAt"`
	EndedAt           time.Time `json:"endedAt,omitzero"`
	CreatedAt         time.Time `json:"createdAt"`
}

func toRecording(r store.Recording) Recording {
	return Recording{
		ID: r.ID, CameraDeviceID: r.CameraDeviceID, RequesterDeviceID: r.RequesterDeviceID, StreamID: r.StreamID,
		MediaSessionID: r.MediaSessionID, Status: string(r.Status), ContentType: r.ContentType, DurationMS: r.Duration.Milliseconds(),
		Size: r.Size, Error: r.Error, StartedAt: r.StartedAt, EndedAt: r.EndedAt, CreatedAt: r.CreatedAt,
	}
}

type listInput struct {
	rest.PageQuery
	CameraDeviceID string `query:"cameraDeviceId" maxLength:"64"`
	StreamID       string `query:"streamId" maxLength:"64"`
	Status         string `query:"status" enum:"recording,ready,failed,awaiting_upload"`
}

type listOutput struct{ Body rest.List[Recording] }

type recordingInput struct {
	ID string `path:"id" maxLength:"64"`
}

type recordingOutput struct{ Body Recording }

type downloadInput struct {
	ID         string `path:"id" maxLength:"64"`
	Attachment bool   `query:"attachment" doc:"The URL offers a file to keep instead of showing it"`
}

// DownloadURL is where to get the file of a recording.
type DownloadURL struct {
	URL         string    `json:"url" doc:"Answers GET, also with Range, without any credentials"`
	ExpiresAt   time.Time `json:"expiresAt"`
	ContentType string    `json:"contentType"`
	Size        int64     `json:"size" doc:"Bytes"`
}

type downloadOutput struct{ Body DownloadURL }

type uploadInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		ContentType string `json:"contentType,omitempty" enum:"video/webm,video/mp4,video/x-matroska" default:"video/webm"`
		Size        int64  `json:"size" minimum:"1" maximum:"5368709120" doc:"Bytes, exactly"`
	}
}

// UploadURL is how to upload the file of a recording.
type UploadURL struct {
	URL       string            `json:"url" doc:"Takes one PUT, without any credentials"`
	Method    string            `json:"method" enum:"PUT"`
	Headers   map[string]string `json:"headers" doc:"To send with it"`
	ExpiresAt time.Time         `json:"expiresAt"`
}

type uploadOutput struct{ Body UploadURL }

type finalizeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body *struct {
		ObjectKey  string `json:"objectKey,omitempty" maxLength:"512" doc:"Left out, or the recording's; sim/... stands for an empty file"`
		DurationMS int64  `json:"durationMs,omitempty" minimum:"0" maximum:"604800000"`
	}
}

// Mount adds the routes of this package.
func (s *Service) Mount(_ fiber.Router, api huma.API) {
	op := rest.Operations("recordings")
	const one = "/recordings/{id}"
	remove := op(http.MethodDelete, one, "Delete a recording and its file", auth.Session)
	remove.DefaultStatus = http.StatusNoContent
	rest.Register(api, op(http.MethodGet, "/recordings", "List recordings, newest first", auth.Either), s.handleList)
	rest.Register(api, op(http.MethodGet, one, "Get a recording", auth.Either), s.handleGet)
	rest.Register(api, op(http.MethodGet, one+"/download-url", "Get a URL of the file", auth.Either), s.handleDownload,
		ErrNotReady, ErrGone, ErrStorage)
	upload := op(http.MethodPost, one+"/upload-url", "Get a URL to upload the file to", auth.Device)
	rest.Register(api, rest.Shown(upload, exampleUpload, ""), s.handleUpload,
		ErrNotAwaiting, ErrStorage, rest.ErrStorageLimit, auth.ErrForbidden)
	rest.Register(api, op(http.MethodPost, one+"/finalize", "Say that the file is uploaded", auth.Device), s.handleFinalize,
		ErrNotAwaiting, ErrNoObject, ErrObjectKey, ErrStorage, rest.ErrStorageLimit, auth.ErrForbidden)
	again := op(http.MethodPost, one+"/await-upload", "Await an upload once more that did not come", auth.Either)
	again.Description = "The camera is not told. One that keeps a file which was not awaited any more looks now and then whether it is " +
		"(GET /recordings?status=awaiting_upload), and then asks for a new URL: those of before lead to nothing."
	rest.Register(api, again, s.handleAwait, ErrNotFailed, auth.ErrForbidden)
	rest.Register(api, remove, s.handleDelete, ErrNotReady, ErrStorage, rest.ErrState)
}

func (s *Service) handleList(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := in.Page()
	if err != nil {
		return nil, err
	}
	rows, err := s.List(ctx, auth.Caller(ctx), store.RecordingFilter{
		CameraDeviceID: in.CameraDeviceID, StreamID: in.StreamID, Status: store.RecordingStatus(in.Status),
	}, page)
	if err != nil {
		return nil, err
	}
	return &listOutput{Body: rest.ListOf(in.PageQuery, rows, toRecording, func(r store.Recording) store.Cursor {
		return store.Cursor{CreatedAt: r.CreatedAt, ID: r.ID}
	})}, nil
}

func (s *Service) handleGet(ctx context.Context, in *recordingInput) (*recordingOutput, error) {
	r, err := s.Recording(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: toRecording(r)}, nil
}

func (s *Service) handleDownload(ctx context.Context, in *downloadInput) (*downloadOutput, error) {
	d, err := s.Download(ctx, auth.Caller(ctx), in.ID, in.Attachment)
	if err != nil {
		return nil, err
	}
	d.URL = s.Public.Absolute(ctx, d.URL)
	return &downloadOutput{Body: DownloadURL(d)}, nil
}

func (s *Service) handleUpload(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	signed, err := s.UploadURL(ctx, auth.Caller(ctx), in.ID, in.Body.ContentType, in.Body.Size)
	if err != nil {
		return nil, err
	}
	return &uploadOutput{Body: UploadURL{
		URL: s.Public.Absolute(ctx, signed.URL), Method: http.MethodPut, Headers: signed.Header, ExpiresAt: signed.Expires,
	}}, nil
}

func (s *Service) handleFinalize(ctx context.Context, in *finalizeInput) (*recordingOutput, error) {
	var key string
	var duration time.Duration
	if in.Body != nil {
		key, duration = in.Body.ObjectKey, time.Duration(in.Body.DurationMS)*time.Millisecond
	}
	r, err := s.Finalize(ctx, auth.Caller(ctx), in.ID, key, duration)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: toRecording(r)}, nil
}

func (s *Service) handleAwait(ctx context.Context, in *recordingInput) (*recordingOutput, error) {
	r, err := s.Await(ctx, auth.Caller(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &recordingOutput{Body: toRecording(r)}, nil
}

func (s *Service) handleDelete(ctx context.Context, in *recordingInput) (*struct{}, error) {
	return nil, s.Delete(ctx, auth.Caller(ctx), in.ID)
}
