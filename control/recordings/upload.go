package recordings

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Uploads are the recordings that cameras make themselves, in the database.
type Uploads interface {
	FinalizeRecording(ctx context.Context, known store.Recording, u store.Uploaded, at time.Time, by store.Actor) (store.Recording, error)
	GiveUpRecording(ctx context.Context, known store.Recording, reason string, at time.Time) error
	StaleUploads(ctx context.Context, before time.Time, limit int) ([]store.Recording, error)
	ReserveUpload(ctx context.Context, userID, id string, size int64) error
	AwaitUpload(ctx context.Context, userID, id string, at time.Time, by store.Actor) (store.Recording, error)
}

// Inbox is where cameras upload to.
type Inbox interface {
	// SignPut returns how anybody may PUT the object until then. A URL that
	// begins with a slash is one of this server.
	SignPut(ctx context.Context, key string, o PutOptions) (SignedPut, error)
	// Put makes a small object.
	Put(ctx context.Context, key, contentType string, data []byte) error
}

// PutOptions are what a signed URL allows to upload.
type PutOptions struct {
	TTL         time.Duration
	ContentType string
	Size        int64  // bytes, exactly
	Grant       string // by whose right it is given out
}

// SignedPut is how to upload an object.
type SignedPut struct {
	URL     string
	Header  map[string]string
	Expires time.Time
}

var (
	// ErrNotAwaiting reports an upload for a recording that needs none.
	ErrNotAwaiting = fault.New(fault.Conflict, "recording_not_awaiting_upload", "This recording awaits no upload.")
	// ErrNotFailed reports a wish to await what came, or was never to come.
	ErrNotFailed = fault.New(fault.Conflict, "recording_not_failed",
		"Only a recording whose upload did not come can await it again, and only while its camera is there.")
	// ErrNoObject reports an end of an upload that did not come.
	ErrNoObject = fault.New(fault.Conflict, "upload_missing", "The file of this recording has not been uploaded yet.")
	// ErrObjectKey reports a key that is not the recording's.
	ErrObjectKey = fault.New(fault.Unprocessable, "invalid_object_key", "The object key must be the recording's own, or begin with sim/.")
)

// reasonNotUploaded is why an upload failed; part of the API.
const reasonNotUploaded = "not_uploaded"

// simPrefix begins the keys of recordings that a simulated camera pretends to
// have made.
const simPrefix = "sim/"

const (
	staleBatch    = 256
	uploadTimeout = 30 * time.Second
)

// UploadURL returns how the camera p may upload a recording that awaits it.
func (s *Service) UploadURL(ctx context.Context, p auth.Principal, id, contentType string, size int64) (SignedPut, error) {
	r, err := s.own(ctx, p, id)
	if err != nil {
		return SignedPut{}, err
	}
	err = s.Store.ReserveUpload(ctx, p.UserID, id, size)
	if errors.Is(err, store.ErrConflict) {
		return SignedPut{}, ErrNotAwaiting.With(err)
	}
	if err != nil {
		return SignedPut{}, err
	}
	signed, err := s.Objects.SignPut(ctx, r.ObjectKey, PutOptions{
		TTL: s.URLTTL, ContentType: contentType, Size: size, Grant: p.Grant(r.CameraDeviceID).String(),
	})
	if err != nil {
		return SignedPut{}, ErrStorage.With(err)
	}
	return signed, nil
}

// own returns a recording of the camera p.
func (s *Service) own(ctx context.Context, p auth.Principal, id string) (store.Recording, error) {
	if p.Role != store.RoleCamera {
		return store.Recording{}, auth.ErrForbidden
	}
	r, err := s.Store.Recording(ctx, p.UserID, id)
	if err == nil && r.CameraDeviceID != p.DeviceID {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Recording{}, err
	}
	return r, nil
}

// Finalize makes a recording of the camera p ready, once its object is there. A
// key that begins with sim/ stands for what a simulated camera would have
// uploaded: an empty file takes its place. Otherwise the key, unless empty, must
// be the recording's own.
func (s *Service) Finalize(ctx context.Context, p auth.Principal, id, objectKey string, duration time.Duration) (store.Recording, error) {
	r, err := s.own(ctx, p, id)
	if err != nil {
		return store.Recording{}, err
	}
	if r.Status != store.RecordingAwaitingUpload {
		return store.Recording{}, ErrNotAwaiting
	}
	uploaded := store.Uploaded{ContentType: contentType, Duration: duration}
	switch {
	case strings.HasPrefix(objectKey, simPrefix), objectKey == "" && strings.HasPrefix(r.ObjectKey, simPrefix):
		// Not the key that was asked for: another camera may have that one.
		uploaded.ObjectKey, uploaded.Size = simPrefix+r.CameraDeviceID+"/"+r.ID+".webm", int64(len(emptyWebM))
		err := s.Objects.Put(ctx, uploaded.ObjectKey, contentType, []byte(emptyWebM))
		if err != nil && !errors.Is(err, fs.ErrExist) { // that is there from an earlier try
			return store.Recording{}, ErrStorage.With(err)
		}
	case objectKey != "" && objectKey != r.ObjectKey:
		return store.Recording{}, ErrObjectKey
	default:
		info, err := s.Objects.Stat(ctx, r.ObjectKey)
		if errors.Is(err, fs.ErrNotExist) {
			return store.Recording{}, ErrNoObject.With(err)
		}
		if err != nil {
			return store.Recording{}, ErrStorage.With(err)
		}
		uploaded.ContentType, uploaded.Size = info.ContentType, info.Size
	}
	r, err = s.Store.FinalizeRecording(ctx, r, uploaded, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Recording{}, ErrNotAwaiting.With(err)
	}
	if err == nil {
		s.Logger.InfoContext(ctx, "recording uploaded", attrs(r, slog.Int64("bytes", r.Size))...)
	}
	return r, err
}

// Await has a recording, whose upload did not come, await it once more, on
// behalf of its user or of the camera that has it still.
func (s *Service) Await(ctx context.Context, p auth.Principal, id string) (store.Recording, error) {
	if p.DeviceID != "" {
		if _, err := s.own(ctx, p, id); err != nil {
			return store.Recording{}, err
		}
	}
	r, err := s.Store.AwaitUpload(ctx, p.UserID, id, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Recording{}, ErrNotFailed.With(err)
	}
	return r, err
}

// GivenUp returns when an upload that is awaited since then is given up.
func (s *Service) GivenUp(since time.Time) time.Time { return since.Add(s.UploadStale) }

// emptyWebM is a WebM file with nothing in it: a head that says so (RFC 8794,
// section 11.2.1), and a segment of no bytes.
const emptyWebM = "\x1a\x45\xdf\xa3\x9f" + // EBML, 31 bytes
	"\x42\x86\x81\x01" + "\x42\xf7\x81\x01" + "\x42\xf2\x81\x04" + "\x42\xf3\x81\x08" + // versions and largest lengths
	"\x42\x82\x84webm" + "\x42\x87\x81\x04" + "\x42\x85\x81\x02" + // DocType
	"\x18\x53\x80\x67\x80" // Segment

// RunUploads gives up uploads that are overdue, until ctx ends. Several
// processes may run it, since each recording is changed by one.
func (s *Service) RunUploads(ctx context.Context) error {
	tick := time.NewTicker(s.UploadInterval)
	defer tick.Stop()
	for failing := false; ; {
		tickCtx, cancel := context.WithTimeout(ctx, uploadTimeout)
		err := s.sweepUploads(tickCtx)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil: // stopping
		case err != nil && !failing:
			failing = true
			s.Logger.WarnContext(ctx, "stale uploads not given up", slog.Any("err", err))
		case err == nil && failing:
			failing = false
			s.Logger.InfoContext(ctx, "stale uploads given up again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Service) sweepUploads(ctx context.Context) error {
	stale, err := s.Store.StaleUploads(ctx, s.now().Add(-s.UploadStale), staleBatch)
	if err != nil {
		return err
	}
	var failed error // the others can be settled all the same
	for _, r := range stale {
		failed = errors.Join(failed, s.settleUpload(ctx, r))
	}
	return failed
}

// settleUpload fails a recording without an object. A camera that died between
// its upload and saying so has made one all the same.
func (s *Service) settleUpload(ctx context.Context, r store.Recording) error {
	info, err := s.Objects.Stat(ctx, r.ObjectKey)
	switch {
	case err == nil:
		_, err = s.Store.FinalizeRecording(ctx, r, store.Uploaded{ContentType: info.ContentType, Size: info.Size}, s.now(), store.Actor{})
	case errors.Is(err, fs.ErrNotExist):
		s.Logger.InfoContext(ctx, "recording failed", attrs(r, slog.String("reason", reasonNotUploaded))...)
		err = s.Store.GiveUpRecording(ctx, r, reasonNotUploaded, s.now())
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) { // settled by somebody else
		return nil
	}
	return err
}
