package recordings

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// What can be wrong with a wish for a recording.
var (
	ErrNotReady = fault.New(fault.Conflict, "recording_not_ready", "This recording is not ready.")
	ErrGone     = fault.New(fault.Gone, "recording_gone", "The file of this recording is gone.")
	ErrStorage  = fault.New(fault.Unavailable, "storage_unavailable", "The storage does not answer. Try again.")
)

// List returns the recordings that p may see: a user's own, a camera's own, or
// those of the cameras that a client is linked with.
func (s *Service) List(
	ctx context.Context, p auth.Principal, f store.RecordingFilter, page store.Page,
) ([]store.Recording, error) {
	f.DeviceID = p.DeviceID
	return s.Store.Recordings(ctx, p.UserID, f, page)
}

// Recording returns a recording that p may see. A client may see what cameras
// recorded whoever watched: it may watch them live, most of what they record
// continuously nobody asked for, and a client that a person replaced must not
// take its recordings with it. What ends that is the link's end, not the
// requester's.
func (s *Service) Recording(ctx context.Context, p auth.Principal, id string) (store.Recording, error) {
	r, err := s.Store.Recording(ctx, p.UserID, id)
	if err != nil {
		return store.Recording{}, err
	}
	if p.DeviceID != "" && p.DeviceID != r.CameraDeviceID {
		if _, err := s.Store.ActiveLink(ctx, r.CameraDeviceID, p.DeviceID); err != nil {
			return store.Recording{}, err
		}
	}
	return r, nil
}

// Download is how to get the file of a recording.
type Download struct {
	URL         string // begins with a slash when it is one of this server
	ExpiresAt   time.Time
	ContentType string
	Size        int64
}

// Download returns a URL of a recording that is ready, for watching or, with a
// file name, for keeping.
func (s *Service) Download(ctx context.Context, p auth.Principal, id string, keep bool) (Download, error) {
	r, err := s.Recording(ctx, p, id)
	if err != nil {
		return Download{}, err
	}
	if r.Status != store.RecordingReady {
		return Download{}, ErrNotReady
	}
	info, err := s.Objects.Stat(ctx, r.ObjectKey)
	if errors.Is(err, fs.ErrNotExist) {
		return Download{}, ErrGone.With(err)
	}
	if err != nil {
		return Download{}, ErrStorage.With(err)
	}
	filename := ""
	if keep {
		filename = "securecam-" + r.StartedAt.UTC().Format("2006-01-02T15-04-05Z") + ".webm"
	}
	url, expires, err := s.Objects.SignGet(ctx, r.ObjectKey, SignOptions{
		TTL: s.URLTTL, Filename: filename, Grant: p.Grant(r.CameraDeviceID).String(),
	})
	if err != nil {
		return Download{}, ErrStorage.With(err)
	}
	err = s.Store.NoteAccess(ctx, p.Actor(), r.OwnerUserID, "recording", store.AuditDownload, r.ID, map[string]any{"keep": keep})
	if err != nil {
		return Download{}, err
	}
	return Download{URL: url, ExpiresAt: expires, ContentType: info.ContentType, Size: info.Size}, nil
}

// Delete deletes a recording that has ended. The object goes first: what is
// interrupted between the two is deleted by trying again.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	r, err := s.Recording(ctx, p, id)
	if err != nil {
		return err
	}
	if r.Status != store.RecordingReady && r.Status != store.RecordingFailed {
		return ErrNotReady
	}
	if err := s.Objects.Delete(ctx, r.ObjectKey); err != nil {
		return ErrStorage.With(err)
	}
	_, err = s.Store.DeleteRecording(ctx, p.UserID, id, p.Actor())
	return err
}
