// Package recordings records what cameras publish, and gives their owner the
// results.
package recordings

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

// Rows are the recordings in the database while they are made.
type Rows interface {
	CreateRecording(ctx context.Context, r store.Recording, by store.Actor) error
	FinishRecording(ctx context.Context, id, contentType string, duration time.Duration, size int64, at time.Time) error
	FailRecording(ctx context.Context, id, reason string, at time.Time) error
	UnfinishedRecordings(ctx context.Context, nodeID string) ([]store.Recording, error)
}

// Library is the recordings of a user.
type Library interface {
	Recording(ctx context.Context, userID, id string) (store.Recording, error)
	Recordings(ctx context.Context, userID string, f store.RecordingFilter, p store.Page) ([]store.Recording, error)
	DeleteRecording(ctx context.Context, userID, id string, by store.Actor) (store.Recording, error)
	NoteAccess(ctx context.Context, by store.Actor, ownerUserID, target, verb, id string, details map[string]any) error
}

// Sources tell who publishes a media session, who watches it and who may.
type Sources interface {
	MediaSession(ctx context.Context, id string) (store.MediaSession, error)
	DeviceByID(ctx context.Context, id string) (store.Device, error)
	FirstWatcher(ctx context.Context, mediaSessionID string) (store.Stream, error)
	ActiveLink(ctx context.Context, cameraID, clientID string) (store.Link, error)
}

// Store is what recordings needs from the database.
type Store interface {
	Rows
	Library
	Sources
	Uploads
}

// Recorder records media sessions into objects.
type Recorder interface {
	// Start begins to record a media session into the object key.
	Start(ctx context.Context, mediaSessionID, key string) (Running, error)
	// Recover completes an object that a killed process left. Its error wraps
	// fs.ErrNotExist when there is nothing unfinished.
	Recover(ctx context.Context, key string) (Result, error)
}

// Running is a recording that goes on.
type Running interface {
	// Stop completes the object. It may return both a Result and the error for
	// which the recording is shorter than it should be.
	Stop(ctx context.Context) (Result, error)
}

// Breakable is a Running that can tell before Stop that it has broken, such as
// when there was no room for it. The Service then begins another: at once
// after ErrInterrupted, else after a while.
type Breakable interface {
	// Err returns why it broke, nil while it goes on.
	Err() error
}

// ErrInterrupted is the Err of a recording whose camera now sends something
// that does not fit the same file.
var ErrInterrupted = errors.New("recordings: the camera's media changed")

// Result is what a recording came to.
type Result struct {
	Duration time.Duration
	Size     int64 // bytes
	Empty    bool  // nothing came to be recorded, and there is no object
}

// Objects is where recordings lie. Its errors wrap fs.ErrNotExist for an
// object that is not there.
type Objects interface {
	Inbox
	Stat(ctx context.Context, key string) (ObjectInfo, error)
	// SignGet returns a URL that lets anybody read the object until expires. A
	// URL that begins with a slash is one of this server. An empty filename
	// shows the object inline, any other offers a download.
	SignGet(ctx context.Context, key string, o SignOptions) (url string, expires time.Time, err error)
	// Delete removes the object and what a killed process left of it.
	Delete(ctx context.Context, key string) error
}

// SignOptions are what a signed URL says beside its object.
type SignOptions struct {
	TTL      time.Duration
	Filename string
	Grant    string // by whose right it is given out
}

// ObjectInfo describes an object.
type ObjectInfo struct {
	Key         string
	Size        int64 // bytes
	ContentType string
	ModTime     time.Time
}

// Config is what a Service is made of. Store, Objects and Recorder are
// required.
type Config struct {
	Store    Store
	Objects  Objects
	Recorder Recorder
	Logger   *slog.Logger
	Now      func() time.Time // the clock of rows, time.Now if nil
	Public   rest.Public      // where signed URLs lead that are this server's

	NodeID string // the same after a restart: it says whose unfinished recordings are whose
	Bucket string // written into the rows; empty for objects on disk

	SegmentLength time.Duration // after which a recording rolls over, 1 h when zero
	Interval      time.Duration // how often each media session is looked at, 5 s when zero
	RestartPause  time.Duration // between a recording that broke and the next one, 1 min when zero
	URLTTL        time.Duration // how long a signed URL works, 2 h when zero

	UploadStale    time.Duration // after which an upload that did not come is given up, 30 min when zero
	UploadInterval time.Duration // how often those are looked for, 30 s when zero
}

const (
	defaultSegmentLength = time.Hour
	defaultInterval      = 5 * time.Second
	defaultRestartPause  = time.Minute
	defaultURLTTL        = 2 * time.Hour
	defaultUploadStale   = 30 * time.Minute
	defaultUploadLook    = 30 * time.Second
)

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.SegmentLength == 0 {
		c.SegmentLength = defaultSegmentLength
	}
	if c.Interval == 0 {
		c.Interval = defaultInterval
	}
	if c.RestartPause == 0 {
		c.RestartPause = defaultRestartPause
	}
	if c.URLTTL == 0 {
		c.URLTTL = defaultURLTTL
	}
	if c.UploadStale == 0 {
		c.UploadStale = defaultUploadStale
	}
	if c.UploadInterval == 0 {
		c.UploadInterval = defaultUploadLook
	}
	return c
}

// Service records media sessions, each at most once at a time. It is safe for
// concurrent use.
type Service struct {
	Config

	spawn  func(f func(ctx context.Context)) // runs f in a goroutine that Close waits for
	cancel context.CancelFunc                // ends the contexts of spawn
	tasks  sync.WaitGroup

	mu       sync.Mutex // guards closed and sessions
	closed   bool
	sessions map[string]chan struct{} // what is published, by media session; closed to stop
}

// New returns a Service that records nothing yet.
func New(c Config) *Service {
	s := &Service{Config: c.withDefaults(), sessions: make(map[string]chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.spawn = func(f func(context.Context)) { s.tasks.Go(func() { f(ctx) }) }
	return s
}

// PublisherUp says that a camera publishes a media session. It is recorded,
// as its camera's policy wants, until Ended. A second call changes nothing.
func (s *Service) PublisherUp(mediaSessionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.sessions[mediaSessionID]; known || s.closed {
		return
	}
	stop := make(chan struct{})
	s.sessions[mediaSessionID] = stop
	s.spawn(func(ctx context.Context) {
		s.record(ctx, mediaSessionID, stop)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sessions[mediaSessionID] == stop {
			delete(s.sessions, mediaSessionID)
		}
	})
}

// Ended says that a media session is over. Its recording is completed in the
// background.
func (s *Service) Ended(mediaSessionID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop, known := s.sessions[mediaSessionID]; known {
		delete(s.sessions, mediaSessionID)
		close(stop)
	}
}

// Recover completes what this node was recording when it was killed: it reads
// which recordings those are and goes on in the background. Call it before
// the first PublisherUp.
func (s *Service) Recover(ctx context.Context) error {
	rows, err := s.Store.UnfinishedRecordings(ctx, s.NodeID)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(rows) == 0 {
		return nil
	}
	s.spawn(func(ctx context.Context) {
		for _, row := range rows {
			s.recover(ctx, row)
		}
	})
	return nil
}

// Close stops every recording and waits until all are complete. When ctx ends
// first, what is not complete is left to the next Recover.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for id, stop := range s.sessions {
		delete(s.sessions, id)
		close(stop)
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() { // ends with the tasks, which cancel ends
		s.tasks.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.cancel()
	<-done
	return err
}
