// Package videos keeps files that users and their devices upload, through
// signed URLs that lead to the object store.
package videos

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Rows are the videos in the database.
type Rows interface {
	CreateVideo(ctx context.Context, v store.Video, limit int, by store.Actor) error
	FinishVideo(ctx context.Context, userID, id string, size int64, at time.Time, by store.Actor) (store.Video, error)
	FailVideo(ctx context.Context, userID, id string, at time.Time) error
	Video(ctx context.Context, userID, id string) (store.Video, error)
	Videos(ctx context.Context, userID string, by store.VideoFilter, p store.Page) ([]store.Video, error)
	ExpiredVideos(ctx context.Context, before time.Time, limit int) ([]store.Video, error)
	DeleteVideo(ctx context.Context, userID, id string, by store.Actor) error
}

// Links tell who may see what.
type Links interface {
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
}

// Accesses remember who got to see what.
type Accesses interface {
	NoteAccess(ctx context.Context, by store.Actor, ownerUserID, target, verb, id string, details map[string]any) error
}

// Store is what videos needs from the database.
type Store interface {
	Rows
	Links
	Accesses
}

// Objects is where videos lie. Its errors wrap fs.ErrNotExist for an object
// that is not there. A URL that begins with a slash is one of this server.
type Objects interface {
	SignPut(ctx context.Context, key string, o PutOptions) (SignedPut, error)
	SignGet(ctx context.Context, key string, o GetOptions) (url string, expires time.Time, err error)
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	Delete(ctx context.Context, key string) error
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

// GetOptions are what a signed URL says beside its object.
type GetOptions struct {
	TTL      time.Duration
	Filename string // offered as a download under this name; empty shows it inline
	Grant    string // by whose right it is given out
}

// ObjectInfo describes an object.
type ObjectInfo struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	ModTime     time.Time
}

// Config is what a Service is made of. Every number has a default.
type Config struct {
	Store   Store
	Objects Objects
	Bucket  string      // written into the rows; empty for objects on disk
	Public  rest.Public // where signed URLs lead that are this server's
	Logger  *slog.Logger
	Now     func() time.Time // time.Now if nil

	URLTTL time.Duration // how long a signed URL works; 1 h
	// Grace is how long after its URL ended an upload may still be under way.
	// Default 1 h.
	Grace    time.Duration
	Interval time.Duration // between looks for uploads that did not come; 30 s
}

// Service is the feature. It is safe for concurrent use.
type Service struct {
	cfg Config
	log *slog.Logger
}

const (
	maxAwaiting  = 50 // videos of one user
	expiredBatch = 256
	tickTimeout  = 30 * time.Second
)

var (
	// ErrTooMany reports one upload more than a user may have begun.
	ErrTooMany = fault.New(fault.TooMany, "too_many_uploads", "Finish your other uploads first, or wait until they expire.")
	// ErrNotReady reports a video whose upload has not come.
	ErrNotReady = fault.New(fault.Conflict, "video_not_ready", "This video has not been uploaded yet.")
	// ErrAwaiting reports a wish to delete what may still be uploaded.
	ErrAwaiting = fault.New(fault.Conflict, "video_awaiting_upload", "This video can be deleted once its upload has ended or expired.")
	// ErrEnded reports a second end of an upload.
	ErrEnded = fault.New(fault.Conflict, "video_ended", "The upload of this video has ended already.")
	// ErrGone reports an object that is lost.
	ErrGone = fault.New(fault.Gone, "video_gone", "The file of this video is gone.")
	// ErrStorage reports an object store that does not answer.
	ErrStorage = fault.New(fault.Unavailable, "storage_unavailable", "The storage does not answer. Try again.")
)

// New returns the feature; the caller runs its Run.
func New(c Config) *Service {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.URLTTL = cmp.Or(c.URLTTL, time.Hour)
	c.Grace = cmp.Or(c.Grace, time.Hour)
	c.Interval = cmp.Or(c.Interval, 30*time.Second)
	return &Service{cfg: c, log: c.Logger}
}

// Request is a wish to upload.
type Request struct {
	Name        string
	ContentType string
	Size        int64
	DeviceID    string // a device may name itself only
	EventID     string
}

// Create makes a video that awaits its upload, and says how to do that.
func (s *Service) Create(ctx context.Context, p auth.Principal, r Request) (store.Video, SignedPut, error) {
	if p.DeviceID != "" {
		if r.DeviceID != "" && r.DeviceID != p.DeviceID {
			return store.Video{}, SignedPut{}, auth.ErrForbidden
		}
		r.DeviceID = p.DeviceID
	}
	id, now := store.NewID(), s.now()
	v := store.Video{
		ID: id, UserID: p.UserID, DeviceID: r.DeviceID, EventID: r.EventID, Name: r.Name, Status: store.VideoAwaitingUpload,
		ObjectKey: "videos/" + p.UserID + "/" + id + extension(r.ContentType), Bucket: s.cfg.Bucket, ContentType: r.ContentType,
		Size: r.Size, CreatedAt: now, UpdatedAt: now,
	}
	signed, err := s.cfg.Objects.SignPut(ctx, v.ObjectKey, PutOptions{
		TTL: s.cfg.URLTTL, ContentType: r.ContentType, Size: r.Size, Grant: p.Grant(r.DeviceID).String(),
	})
	if err != nil {
		return store.Video{}, SignedPut{}, ErrStorage.With(err)
	}
	v.ExpiresAt = signed.Expires
	err = s.cfg.Store.CreateVideo(ctx, v, maxAwaiting, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Video{}, SignedPut{}, ErrTooMany.With(err)
	}
	if err != nil {
		return store.Video{}, SignedPut{}, err
	}
	return v, signed, nil
}

// extension is for people who look at the objects.
func extension(contentType string) string {
	_, sub, _ := strings.Cut(contentType, "/")
	switch sub {
	case "webm", "mp4", "jpeg", "png", "webp":
		return "." + sub
	case "quicktime":
		return ".mov"
	case "x-matroska":
		return ".mkv"
	default:
		return ""
	}
}

// Complete makes a video ready whose upload has come.
func (s *Service) Complete(ctx context.Context, p auth.Principal, id string) (store.Video, error) {
	v, err := s.own(ctx, p, id)
	if err != nil {
		return store.Video{}, err
	}
	if v.Status != store.VideoAwaitingUpload {
		return store.Video{}, ErrEnded
	}
	info, err := s.cfg.Objects.Stat(ctx, v.ObjectKey)
	if errors.Is(err, fs.ErrNotExist) {
		return store.Video{}, ErrNotReady.With(err)
	}
	if err != nil {
		return store.Video{}, ErrStorage.With(err)
	}
	v, err = s.cfg.Store.FinishVideo(ctx, p.UserID, id, info.Size, s.now(), p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Video{}, ErrEnded.With(err)
	}
	return v, err
}

// own returns a video that p uploads: a user's, a device's own.
func (s *Service) own(ctx context.Context, p auth.Principal, id string) (store.Video, error) {
	v, err := s.cfg.Store.Video(ctx, p.UserID, id)
	if err == nil && p.DeviceID != "" && p.DeviceID != v.DeviceID {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Video{}, err
	}
	return v, nil
}

// Video returns a video that p may see: a user's own, a device's own, or that
// of a camera which a client is linked with.
func (s *Service) Video(ctx context.Context, p auth.Principal, id string) (store.Video, error) {
	v, err := s.cfg.Store.Video(ctx, p.UserID, id)
	if err != nil {
		return store.Video{}, err
	}
	if p.DeviceID != "" && p.DeviceID != v.DeviceID {
		if _, err := s.cfg.Store.ActiveLink(ctx, v.DeviceID, p.DeviceID); err != nil {
			return store.Video{}, err
		}
	}
	return v, nil
}

// List lists the videos that p may see, as Video says.
func (s *Service) List(ctx context.Context, p auth.Principal, f store.VideoFilter, page store.Page) ([]store.Video, error) {
	f.DeviceID = p.DeviceID
	return s.cfg.Store.Videos(ctx, p.UserID, f, page)
}

// Download is how to get the file of a video.
type Download struct {
	URL         string
	ExpiresAt   time.Time
	ContentType string
	Size        int64
}

// Download returns a URL of a video that is ready, for watching or for keeping.
func (s *Service) Download(ctx context.Context, p auth.Principal, id string, keep bool) (Download, error) {
	v, err := s.Video(ctx, p, id)
	if err != nil {
		return Download{}, err
	}
	if v.Status != store.VideoReady {
		return Download{}, ErrNotReady
	}
	info, err := s.cfg.Objects.Stat(ctx, v.ObjectKey)
	if errors.Is(err, fs.ErrNotExist) {
		return Download{}, ErrGone.With(err)
	}
	if err != nil {
		return Download{}, ErrStorage.With(err)
	}
	o := GetOptions{TTL: s.cfg.URLTTL, Grant: p.Grant(v.DeviceID).String()}
	if keep {
		o.Filename = v.Name
	}
	url, expires, err := s.cfg.Objects.SignGet(ctx, v.ObjectKey, o)
	if err != nil {
		return Download{}, ErrStorage.With(err)
	}
	err = s.cfg.Store.NoteAccess(ctx, p.Actor(), v.UserID, "video", store.AuditDownload, v.ID, map[string]any{"keep": keep})
	if err != nil {
		return Download{}, err
	}
	return Download{URL: url, ExpiresAt: expires, ContentType: info.ContentType, Size: info.Size}, nil
}

// Delete deletes a video whose upload has ended. The object goes first: what is
// interrupted between the two is deleted by trying again.
func (s *Service) Delete(ctx context.Context, p auth.Principal, id string) error {
	v, err := s.own(ctx, p, id)
	if err != nil {
		return err
	}
	if v.Status == store.VideoAwaitingUpload {
		return ErrAwaiting
	}
	if err := s.cfg.Objects.Delete(ctx, v.ObjectKey); err != nil {
		return ErrStorage.With(err)
	}
	return s.cfg.Store.DeleteVideo(ctx, p.UserID, id, p.Actor())
}

// Run settles uploads that nobody completed, until ctx ends. Several processes
// may run it, since each video is changed by one.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	for failing := false; ; {
		tickCtx, cancel := context.WithTimeout(ctx, tickTimeout)
		err := s.sweep(tickCtx)
		cancel()
		switch {
		case err != nil && ctx.Err() != nil: // stopping
		case err != nil && !failing:
			failing = true
			s.log.WarnContext(ctx, "expired uploads not settled", slog.Any("err", err))
		case err == nil && failing:
			failing = false
			s.log.InfoContext(ctx, "expired uploads settled again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Service) sweep(ctx context.Context) error {
	expired, err := s.cfg.Store.ExpiredVideos(ctx, s.now().Add(-s.cfg.Grace), expiredBatch)
	if err != nil {
		return err
	}
	var failed error // the others can be settled all the same
	for _, v := range expired {
		failed = errors.Join(failed, s.settle(ctx, v))
	}
	return failed
}

// settle fails a video without an object. Who uploaded it and did not say so
// has made one all the same.
func (s *Service) settle(ctx context.Context, v store.Video) error {
	info, err := s.cfg.Objects.Stat(ctx, v.ObjectKey)
	switch {
	case err == nil:
		_, err = s.cfg.Store.FinishVideo(ctx, v.UserID, v.ID, info.Size, s.now(), store.Actor{})
	case errors.Is(err, fs.ErrNotExist):
		s.log.InfoContext(ctx, "video expired", slog.String("video", v.ID))
		err = s.cfg.Store.FailVideo(ctx, v.UserID, v.ID, s.now())
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) { // settled by somebody else
		return nil
	}
	return err
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }
