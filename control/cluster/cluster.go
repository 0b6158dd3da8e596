// Package cluster keeps processes from working together that do not share what
// they must: the secret that tokens are signed with, and the object store.
// Whoever comes last ends, so that a wrong setting does no harm: a process on a
// store of its own would take what others have uploaded for lost.
package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/bus"
)

// Bus reaches the other processes.
type Bus interface {
	Gather(ctx context.Context, subject string, data []byte, take func(response []byte) (enough bool)) error
	Subscribe(subject string, handle func(bus.Msg)) (bus.Subscription, error)
}

// Objects is the object store, which is known by a mark that lies in it.
type Objects interface {
	// Get returns a small object, or an error that wraps fs.ErrNotExist.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put makes an object, or returns an error that wraps fs.ErrExist when
	// there is one, or when a killed process left half of one.
	Put(ctx context.Context, key, contentType string, data []byte) error
	Delete(ctx context.Context, key string) error
}

// Config says what this process works with.
type Config struct {
	Bus      Bus
	Objects  Objects
	Node     string // names its data folder
	Database string // names the database
	Secret   string // tells one secret from another, and nothing of it
	// Private says that the bus is nobody else's, so that whoever is on it must
	// be on the same database.
	Private bool
	Logger  *slog.Logger // may be nil

	Interval time.Duration // between two looks at the others; 30 s
	Patience time.Duration // with their answers; 1 s
}

const (
	markKey     = "installation/mark"
	markType    = "text/plain"
	markTimeout = 2 * time.Second
)

// The ways in which two processes may not differ.
var (
	errNode     = errors.New("its DATA_DIR is a copy of this one's: remove secrets.env from one of them")
	errDatabase = errors.New("it has another DATABASE_URL, and nodes of a cluster need the same")
	errSecret   = errors.New("it has another BETTER_AUTH_SECRET, and processes on one database need the same")
	errObjects  = errors.New("it keeps objects elsewhere, and processes on one database need the same MINIO_ENDPOINT and MINIO_BUCKET")
)

// introduction is what a process says of itself.
type introduction struct {
	Process  string        `json:"process"`
	Node     string        `json:"node"`
	Database string        `json:"database"`
	Secret   string        `json:"secret"`
	Objects  string        `json:"objects"` // the store's mark; empty while it cannot be read
	Up       time.Duration `json:"up"`
}

// Service is this process among others. It is safe for concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	process string
	began   time.Time
}

// New returns a Service; Join comes first, then Run.
func New(cfg Config) *Service {
	cfg.Interval = cmp.Or(cfg.Interval, 30*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, time.Second)
	s := &Service{cfg: cfg, log: cfg.Logger, process: uuid.NewString(), began: time.Now()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Join fails when a process is there that this one may not work with, and has
// this one answer those that come later, as long as the bus is open.
func (s *Service) Join(ctx context.Context) error {
	if _, err := s.mark(ctx); err != nil {
		return fmt.Errorf("mark the object store: %w", err)
	}
	others, err := s.others(ctx)
	if err != nil {
		return err
	}
	own := s.introduce(ctx)
	for _, other := range others {
		if err := s.differs(own, other); err != nil {
			return err
		}
	}
	answering := context.WithoutCancel(ctx)
	_, err = s.cfg.Bus.Subscribe(bus.ProcessesTopic, func(m bus.Msg) {
		answer, err := json.Marshal(s.introduce(answering))
		if err == nil {
			err = m.Respond(answer)
		}
		if err != nil && !errors.Is(err, bus.ErrClosed) {
			s.log.Warn("process not answered", slog.Any("err", err))
		}
	})
	return err
}

// Run looks at the others until ctx ends: those who came at the same time, or
// whom the bus reaches only now, Join has not seen. It fails when this process
// has to end.
func (s *Service) Run(ctx context.Context) error {
	pause := time.NewTimer(min(s.cfg.Interval, 2*s.cfg.Patience))
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		if err := s.look(ctx); err != nil {
			return err
		}
		pause.Reset(s.cfg.Interval)
	}
}

func (s *Service) look(ctx context.Context) error {
	others, err := s.others(ctx)
	if err != nil {
		s.log.DebugContext(ctx, "other processes not asked", slog.Any("err", err)) // the bus says so itself
		return nil
	}
	own := s.introduce(ctx)
	for _, other := range others {
		err := s.differs(own, other)
		switch {
		case err == nil:
		case own.younger(other):
			return err
		default:
			s.log.WarnContext(ctx, "another process has wrong settings, and should have ended", slog.Any("err", err))
		}
	}
	return nil
}

// younger says which of two processes ends. Answers take their time: within a
// few seconds age says nothing.
func (i introduction) younger(than introduction) bool {
	if d := than.Up - i.Up; d.Abs() > 5*time.Second {
		return d > 0
	}
	return i.Process > than.Process
}

// differs returns why the two may not work together.
func (s *Service) differs(own, other introduction) error {
	var why error
	switch {
	case own.Database != other.Database && !s.cfg.Private:
		return nil // an installation that has nothing to do with this one
	case own.Database != other.Database:
		why = errDatabase
	case own.Node == other.Node:
		why = errNode
	case own.Secret != other.Secret:
		why = errSecret
	case own.Objects != other.Objects && own.Objects != "" && other.Objects != "":
		why = errObjects
	default:
		return nil
	}
	return fmt.Errorf("node %s is not like this one: %w", other.Node, why)
}

// others returns who else is there, as far as they answer in time.
func (s *Service) others(ctx context.Context) ([]introduction, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Patience)
	defer cancel()
	var found []introduction
	err := s.cfg.Bus.Gather(ctx, bus.ProcessesTopic, nil, func(response []byte) bool {
		var other introduction
		if err := json.Unmarshal(response, &other); err != nil {
			s.log.WarnContext(ctx, "process not understood", slog.Any("err", err))
		} else if other.Process != s.process {
			found = append(found, other)
		}
		return false
	})
	if errors.Is(err, bus.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return found, err
}

func (s *Service) introduce(ctx context.Context) introduction {
	mark, err := s.mark(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "object store's mark not read", slog.Any("err", err))
	}
	return introduction{
		Process: s.process, Node: s.cfg.Node, Database: s.cfg.Database, Secret: s.cfg.Secret, Objects: mark, Up: time.Since(s.began),
	}
}

// mark returns what the object store is known by. It is read each time: an
// administrator may have deleted it, and somebody made another.
func (s *Service) mark(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	mark, err := s.cfg.Objects.Get(ctx, markKey)
	if !errors.Is(err, fs.ErrNotExist) {
		return string(mark), err
	}
	put := func() error { return s.cfg.Objects.Put(ctx, markKey, markType, []byte(uuid.NewString())) }
	if err = put(); errors.Is(err, fs.ErrExist) {
		if mark, err = s.cfg.Objects.Get(ctx, markKey); err == nil {
			return string(mark), nil // somebody else was faster
		}
		if err = s.cfg.Objects.Delete(ctx, markKey); err == nil { // half of one, of a process that was killed
			err = put()
		}
	}
	if err != nil {
		return "", err
	}
	mark, err = s.cfg.Objects.Get(ctx, markKey)
	return string(mark), err
}
