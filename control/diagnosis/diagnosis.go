// Package diagnosis says how a stream is doing: in numbers, and in words that
// help whoever sees no picture.
package diagnosis

import (
	"context"
	"log/slog"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// Store is what diagnosis needs from the database.
type Store interface {
	Stream(ctx context.Context, userID, id string) (store.Stream, error)
	Device(ctx context.Context, userID, id string) (store.Device, error)
}

// Media is the media plane of this node.
type Media interface {
	// Facts tells of a media session, of its viewers those of one stream or all
	// for "", and whether it is here. It may wait for half a second.
	Facts(mediaSessionID, streamID string) (MediaFacts, bool)
}

// Config holds what diagnosis needs.
type Config struct {
	Store  Store
	Media  Media
	Online func(store.Device) bool // whether a device is connected
	Logger *slog.Logger            // may be nil
	Now    func() time.Time        // time.Now if nil
}

// Service is the feature. It is safe for concurrent use.
type Service struct {
	cfg     Config
	reports *reports
}

var (
	// ErrNotViewer reports statistics of a device that does not watch the stream.
	ErrNotViewer = fault.New(fault.Forbidden, "not_the_viewer", "Only the device that watches a stream reports how it plays.")
	// ErrNotStreaming reports statistics of a stream that is over, or not begun.
	ErrNotStreaming = fault.New(fault.Conflict, "not_streaming", "That stream is not streaming.")
	// ErrTooOften reports statistics that come faster than anybody reads them.
	ErrTooOften = fault.New(fault.TooMany, "too_many_reports", "One report a second is enough.").After(time.Second)
)

// New returns the feature.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg, reports: newReports()}
}

// stream returns a stream that p takes part in, or owns.
func (s *Service) stream(ctx context.Context, p auth.Principal, id string) (store.Stream, error) {
	st, err := s.cfg.Store.Stream(ctx, p.UserID, id)
	if err != nil {
		return store.Stream{}, err
	}
	if p.DeviceID != "" && p.DeviceID != st.CameraDeviceID && p.DeviceID != st.RequesterDeviceID {
		return store.Stream{}, store.ErrNotFound
	}
	return st, nil
}

// Facts gathers what is known of a stream that p takes part in, or owns. With
// everybody it is told of other viewers of the same camera too, unless p is
// but a viewer itself: the camera and the user may know of all.
func (s *Service) Facts(ctx context.Context, p auth.Principal, id string, everybody bool) (Facts, error) {
	st, err := s.stream(ctx, p, id)
	if err != nil {
		return Facts{}, err
	}
	camera, err := s.cfg.Store.Device(ctx, p.UserID, st.CameraDeviceID)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{Stream: st, CameraOnline: s.cfg.Online(camera), Now: s.cfg.Now()}
	if st.MediaSessionID != "" && st.EndedAt.IsZero() {
		viewers := st.ID
		if everybody && p.DeviceID != st.RequesterDeviceID {
			viewers = ""
		}
		if m, here := s.cfg.Media.Facts(st.MediaSessionID, viewers); here {
			f.Media = &m
		}
	}
	s.reports.tell(st.ID, &f)
	return f, nil
}

// Report keeps what the viewer's own statistics say.
func (s *Service) Report(ctx context.Context, p auth.Principal, id string, r Report) error {
	st, err := s.stream(ctx, p, id)
	switch {
	case err != nil:
		return err
	case p.DeviceID != st.RequesterDeviceID:
		return ErrNotViewer
	case st.Status != store.StreamStreaming:
		return ErrNotStreaming
	case !s.reports.keep(st.ID, r, s.cfg.Now()):
		return ErrTooOften
	}
	return nil
}

// Stats are the numbers of all viewers together, by their own reports.
func (s *Service) Stats() Stats { return s.reports.stats() }
