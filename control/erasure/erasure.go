// Package erasure deletes what users who were deleted left in the object store,
// and what came by a URL to upload it that outlived its video or recording.
package erasure

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/store"
)

// Store is what erasure needs of the database. What is to be erased is found
// there, so nothing is forgotten by a process that ends.
type Store interface {
	Erasures(ctx context.Context, after string, limit int) ([]store.Erasure, error)
	Erase(ctx context.Context, e store.Erasure) error

	DoomedObjects(ctx context.Context, at time.Time, limit int) ([]string, error)
	ForgetDoomed(ctx context.Context, key string) error
	PostponeDoomed(ctx context.Context, key string, until time.Time) error
}

// Objects is what erasure needs of the object store.
type Objects interface {
	// Delete removes an object; one that does not exist is no error.
	Delete(ctx context.Context, key string) error
}

// Config is what a Service needs. Store and Objects have no default.
type Config struct {
	Store   Store
	Objects Objects
	Logger  *slog.Logger     // may be nil
	Now     func() time.Time // time.Now if nil
}

const (
	interval = time.Minute
	batch    = 100
	patience = 10 * time.Second // for one object
	// maxHanging is how many objects in a row may use that up before a sweep
	// takes it for the store's fault, and leaves the rest for later.
	maxHanging = 3
)

// Service is the feature. It is safe for concurrent use, and several processes
// may do the same work: deleting twice does no harm.
type Service struct {
	cfg   Config
	log   *slog.Logger
	nudge chan struct{}

	behind  string // the last erasure that a sweep which was given up has tried; belongs to Run
	hanging int    // objects in a row that did not answer; belongs to Run

	erased, failed atomic.Uint64
}

// New returns the feature.
func New(cfg Config) *Service {
	s := &Service{cfg: cfg, log: cfg.Logger, nudge: make(chan struct{}, 1)}
	if s.cfg.Now == nil {
		s.cfg.Now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Nudge tells that a user was deleted.
func (s *Service) Nudge() {
	select {
	case s.nudge <- struct{}{}:
	default: // told already
	}
}

// Stats counts objects since the start; one that failed is tried again.
type Stats struct {
	Erased uint64 `help:"Objects without a row erased"`
	Failed uint64 `help:"Attempts to erase an object that failed"`
}

// Stats returns the counters.
func (s *Service) Stats() Stats { return Stats{Erased: s.erased.Load(), Failed: s.failed.Load()} }

// Run erases once a minute, and after a Nudge, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		s.sweep(ctx)
		s.sweepDoomed(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.nudge:
		}
	}
}

// sweep tries everything once. An object that cannot be deleted keeps nothing
// behind it from being; while the store hangs, the next sweep goes on where this
// one was given up.
func (s *Service) sweep(ctx context.Context) {
	s.hanging = 0
	for {
		list, err := s.cfg.Store.Erasures(ctx, s.behind, batch)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "erasures not found", slog.Any("err", err))
		}
		if err != nil || len(list) == 0 {
			s.behind = ""
			return
		}
		for _, e := range list {
			s.behind = e.ID
			err := s.erase(ctx, e)
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				s.failed.Add(1)
				s.log.WarnContext(ctx, "object of a deleted user not erased",
					slog.String("table", e.Table), slog.String("id", e.ID), slog.Any("err", err))
				if s.hangs(err) {
					return
				}
			default:
				s.hanging = 0
				s.erased.Add(1)
			}
		}
	}
}

// hangs counts objects of which the store says nothing, and tells when it is
// the store that hangs.
func (s *Service) hangs(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		s.hanging++
	} else {
		s.hanging = 0
	}
	return s.hanging >= maxHanging
}

// erase deletes the object first: what is interrupted before the row is gone
// is done again.
func (s *Service) erase(ctx context.Context, e store.Erasure) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.cfg.Objects.Delete(ctx, e.ObjectKey); err != nil {
		return err
	}
	return s.cfg.Store.Erase(ctx, e)
}

// sweepDoomed deletes what is due. What cannot be deleted comes again in a
// later sweep: this one ends, however slow the object store is.
func (s *Service) sweepDoomed(ctx context.Context) {
	due := s.cfg.Now()
	s.hanging = 0
	for ctx.Err() == nil {
		keys, err := s.cfg.Store.DoomedObjects(ctx, due, batch)
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "doomed objects not found", slog.Any("err", err))
		}
		if err != nil || len(keys) == 0 {
			return
		}
		for _, key := range keys {
			if s.hanging >= maxHanging {
				return
			}
			if err := s.eraseDoomed(ctx, key); err != nil {
				if ctx.Err() == nil {
					s.log.WarnContext(ctx, "doomed object not written down", slog.String("object_key", key), slog.Any("err", err))
				}
				return // the database, or the process, is on its way out
			}
		}
	}
}

// eraseDoomed fails only with the database.
func (s *Service) eraseDoomed(ctx context.Context, key string) error {
	deleting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.cfg.Objects.Delete(deleting, key); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.failed.Add(1)
		s.hangs(err)
		s.log.WarnContext(ctx, "object behind an expired upload URL not erased", slog.String("object_key", key), slog.Any("err", err))
		return s.cfg.Store.PostponeDoomed(ctx, key, s.cfg.Now().Add(interval))
	}
	if err := s.cfg.Store.ForgetDoomed(ctx, key); err != nil {
		return err
	}
	s.hanging = 0
	s.erased.Add(1)
	return nil
}
