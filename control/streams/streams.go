// Package streams runs stream sessions: one client watching one camera, from
// request to end, and the media sessions that they share.
//
// A stream goes requested -> streaming -> completed or failed, or requested
// -> cancelled or failed. Every transition is one compare-and-set in the
// store; devices and the SFU hear of it after the commit, never before.
package streams

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// The faults of this package.
var (
	ErrAlreadyOpen       = fault.New(fault.Conflict, "stream_already_open", "This device already has an open stream with that camera.")
	ErrNotRequested      = fault.New(fault.Conflict, "stream_not_requested", "Only a requested stream can be accepted.")
	ErrEnded             = fault.New(fault.Conflict, "stream_ended", "The stream has already ended.")
	ErrNotCamera         = fault.New(fault.Unprocessable, "not_a_camera", "That device is not a camera.")
	ErrNoActiveLink      = fault.New(fault.Forbidden, "no_active_link", "The two devices have no active link.")
	ErrNotInP2P          = fault.New(fault.Conflict, "not_in_p2p", "Devices send media to each other here: a camera is live while watched.")
	ErrMediaSessionEnded = fault.New(fault.Conflict, "media_session_ended", "The media session has already ended.")
)

// commandStartStream is the command that asks a camera to accept a stream.
const commandStartStream = "start_stream"

// Transitions are the changes of state that a stream can go through.
type Transitions interface {
	RequestStream(ctx context.Context, s store.Stream, cmd store.Command, by store.Actor) (store.Stream, error)
	AcceptStream(
		ctx context.Context, cameraID, id string, m store.MediaSession, by store.Actor,
	) (store.Stream, store.MediaSession, error)
	EndStream(
		ctx context.Context, userID, id string, status store.StreamStatus, reason string, at time.Time, by store.Actor,
	) (store.Stream, store.MediaSession, error)
}

// Streams reads stream sessions.
type Streams interface {
	Stream(ctx context.Context, userID, id string) (store.Stream, error)
	Streams(ctx context.Context, userID string, by store.StreamFilter, p store.Page) ([]store.Stream, error)
	OpenStreams(ctx context.Context) ([]store.Stream, error)
}

// MediaSessions opens, reads and ends media sessions.
type MediaSessions interface {
	OpenMediaSession(ctx context.Context, m store.MediaSession, by store.Actor) (store.MediaSession, error)
	EndMediaSession(ctx context.Context, id, reason string, at time.Time, by store.Actor) ([]store.Stream, error)
	MediaSession(ctx context.Context, id string) (store.MediaSession, error)
	OpenMediaSessions(ctx context.Context) ([]store.MediaSession, error)
}

// Leases keep a node's media sessions from being ended by other nodes.
type Leases interface {
	RenewMediaSessions(ctx context.Context, nodeID string, at time.Time) error
}

// Devices reads devices.
type Devices interface {
	Device(ctx context.Context, userID, id string) (store.Device, error)
}

// Store is what streams needs from the database.
type Store interface {
	Transitions
	Streams
	MediaSessions
	Leases
	Devices
}

// Commands delivers a command whose row is already committed.
type Commands interface {
	Dispatch(ctx context.Context, c store.Command)
}

// Bus wakes this package on other nodes.
type Bus interface {
	Wake(ctx context.Context, queue string) error
	Wakes(queue string) (wakes <-chan struct{}, stop func() error, err error)
}

// wakeQueue is this package's on the bus: rows have changed that a node's media
// may have to follow.
const wakeQueue = "streams"

// Config is what a Service is made of. Every period has a default.
type Config struct {
	Store    Store
	Gateway  Gateway
	Commands Commands
	Media    Provider
	Bus      Bus      // nil when this process is alone
	Notifier Notifier // nil notifies nobody
	Logger   *slog.Logger

	// NodeID names this process among those on one database, the same after a
	// restart: a media session is judged by the node whose SFU has it. It may be
	// empty when there is one process only.
	NodeID string
	// Now is the clock that rows and periods are measured with; nil is time.Now.
	Now func() time.Time
	// AcceptTimeout fails a request that its camera did not accept. Default 60 s.
	AcceptTimeout time.Duration
	// PublisherTimeout ends a media session without a publisher. Default 30 s.
	PublisherTimeout time.Duration
	// ViewerTimeout completes a stream that nobody watches. Default 60 s.
	ViewerTimeout time.Duration
	// Interval is how often Run compares the rows with the SFU. Default 2 s.
	Interval time.Duration
	// RenewInterval is how often Run says that this node still runs. Default 15 s.
	RenewInterval time.Duration
	// LeaseTimeout ends the media sessions of another node that has not said so
	// for that long; several times RenewInterval. Default 1 min.
	LeaseTimeout time.Duration
	// SignalsPerSecond bounds what one connection may signal on average, five
	// times as much at once. Default 20; gateway.AnyNumber bounds nothing.
	SignalsPerSecond int
	// EndingsPerTick bounds how many rows one comparison may end. Default 256.
	EndingsPerTick int
}

// Service runs the stream sessions. It is safe for concurrent use.
type Service struct {
	store    Store
	gateway  Gateway
	commands Commands
	media    Provider
	log      *slog.Logger
	cfg      Config

	startedAt time.Time
	nudges    chan struct{}
	mu        sync.Mutex // guards seen
	seen      sightings
	// What follows belongs to Run.
	open    map[string]store.Stream // by the last comparison, and whose end is not told yet
	renewed time.Time               // when this node last said that it runs
	leases  map[string]lease        // of other nodes, by node
	failing bool
}

// New returns a Service; the caller runs its Run.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	c.SignalsPerSecond = cmp.Or(c.SignalsPerSecond, 20)
	orDefault(&c.AcceptTimeout, time.Minute)
	orDefault(&c.PublisherTimeout, 30*time.Second)
	orDefault(&c.ViewerTimeout, time.Minute)
	orDefault(&c.Interval, 2*time.Second)
	orDefault(&c.RenewInterval, 15*time.Second)
	orDefault(&c.LeaseTimeout, time.Minute)
	if c.EndingsPerTick <= 0 {
		c.EndingsPerTick = 256
	}
	s := &Service{
		store: c.Store, gateway: c.Gateway, commands: c.Commands, media: c.Media, log: c.Logger, cfg: c,
		nudges: make(chan struct{}, 1),
		seen:   sightings{publisher: map[string]time.Time{}, viewer: map[string]time.Time{}},
	}
	s.startedAt = s.now()
	s.signals(c.Gateway)
	return s
}

func orDefault(d *time.Duration, value time.Duration) {
	if *d <= 0 {
		*d = value
	}
}

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// Request asks a camera for a stream on behalf of the client device p. The
// stream is streaming at once if the camera already publishes; else it is
// requested, and the camera gets a start_stream command.
func (s *Service) Request(ctx context.Context, p auth.Principal, cameraID, reason string) (store.Stream, error) {
	if p.Role != store.RoleClient {
		return store.Stream{}, auth.ErrForbidden
	}
	camera, err := s.store.Device(ctx, p.UserID, cameraID)
	if err != nil {
		return store.Stream{}, err
	}
	if camera.Role != store.RoleCamera {
		return store.Stream{}, ErrNotCamera
	}
	now := s.now()
	st := store.Stream{
		ID: store.NewID(), OwnerUserID: p.UserID, CameraDeviceID: cameraID, RequesterDeviceID: p.DeviceID,
		Status: store.StreamRequested, Reason: reason, MediaProvider: s.media.Name(), CreatedAt: now, UpdatedAt: now,
	}
	cmd, err := startCommand(st)
	if err != nil {
		return store.Stream{}, err
	}
	st, err = s.store.RequestStream(ctx, st, cmd, p.Actor())
	switch {
	case errors.Is(err, store.ErrNotFound): // the camera exists, so it is the link that does not
		return store.Stream{}, ErrNoActiveLink.With(err)
	case errors.Is(err, store.ErrConflict):
		return store.Stream{}, s.alreadyOpen(ctx, p, cameraID, err)
	case err != nil:
		return store.Stream{}, err
	}
	s.log.InfoContext(ctx, "stream requested", slog.String("stream", st.ID),
		slog.String("device", st.CameraDeviceID), slog.String("status", string(st.Status)))
	ctx = context.WithoutCancel(ctx)
	if st.Status == store.StreamStreaming {
		s.announce(ctx, EventStarted, st, st.CameraDeviceID, st.RequesterDeviceID)
		return st, nil
	}
	s.announce(ctx, EventRequested, st, st.CameraDeviceID)
	s.commands.Dispatch(ctx, cmd)
	return st, nil
}

func startCommand(st store.Stream) (store.Command, error) {
	payload, err := json.Marshal(map[string]string{
		"streamSessionId":   st.ID,
		"requesterDeviceId": st.RequesterDeviceID,
	})
	if err != nil {
		return store.Command{}, fmt.Errorf("streams: start command: %w", err)
	}
	return store.Command{
		ID: store.NewID(), OwnerUserID: st.OwnerUserID,
		SourceDeviceID: st.RequesterDeviceID, TargetDeviceID: st.CameraDeviceID,
		CommandType: commandStartStream, Payload: payload, Status: store.CommandQueued,
		CreatedAt: st.CreatedAt, UpdatedAt: st.CreatedAt,
	}, nil
}

// alreadyOpen names the stream that is in the way, so that a client that lost
// its state finds back to it.
func (s *Service) alreadyOpen(ctx context.Context, p auth.Principal, cameraID string, cause error) error {
	// There is at most one that is open, and none that is newer.
	recent, err := s.store.Streams(ctx, p.UserID,
		store.StreamFilter{RequesterDeviceID: p.DeviceID, CameraDeviceID: cameraID}, store.Page{Limit: 1})
	if err != nil {
		return ErrAlreadyOpen.With(cause)
	}
	for _, st := range recent {
		if isOpen(st) {
			return fault.New(ErrAlreadyOpen.Kind, ErrAlreadyOpen.Code,
				"This device already has an open stream with that camera: "+st.ID).With(ErrAlreadyOpen)
		}
	}
	return ErrAlreadyOpen.With(cause)
}

func isOpen(st store.Stream) bool {
	return st.Status == store.StreamRequested || st.Status == store.StreamStreaming
}

// Accept starts the requested stream id of the camera p. It shares the
// camera's media session if one is open, else it opens one.
func (s *Service) Accept(ctx context.Context, p auth.Principal, id string) (store.Stream, error) {
	if _, err := s.Stream(ctx, p, id); err != nil {
		return store.Stream{}, err
	}
	if p.Role != store.RoleCamera {
		return store.Stream{}, auth.ErrForbidden
	}
	m := store.MediaSession{
		ID: store.NewID(), OwnerUserID: p.UserID, CameraDeviceID: p.DeviceID, NodeID: s.cfg.NodeID, CreatedAt: s.now(),
	}
	st, m, err := s.store.AcceptStream(ctx, p.DeviceID, id, m, p.Actor())
	if errors.Is(err, store.ErrConflict) {
		return store.Stream{}, ErrNotRequested.With(err)
	}
	if err != nil {
		return store.Stream{}, err
	}
	s.log.InfoContext(ctx, "stream started", slog.String("stream", st.ID),
		slog.String("media_session", m.ID), slog.String("device", p.DeviceID))
	s.announce(ctx, EventStarted, st, st.CameraDeviceID, st.RequesterDeviceID)
	return st, nil
}

// Stream returns the stream id, if p is its owner's browser or one of its two
// devices; else ErrNotFound.
func (s *Service) Stream(ctx context.Context, p auth.Principal, id string) (store.Stream, error) {
	st, err := s.store.Stream(ctx, p.UserID, id)
	if err != nil {
		return store.Stream{}, err
	}
	if p.DeviceID != "" && p.DeviceID != st.CameraDeviceID && p.DeviceID != st.RequesterDeviceID {
		return store.Stream{}, store.ErrNotFound
	}
	return st, nil
}

// List returns a page of the streams that p may see and that pass the filter,
// newest first: a device's own, or all of a user.
func (s *Service) List(ctx context.Context, p auth.Principal, by store.StreamFilter, page store.Page) ([]store.Stream, error) {
	by.DeviceID = p.DeviceID
	return s.store.Streams(ctx, p.UserID, by, page)
}
