// Package revoke ends, on every process, what was opened by a right that does
// not stand any more: connections, media sessions, relays, downloads.
//
// The store writes a row in the transaction that takes a right away. The bus
// only tells the processes to look: a lost message costs time, never a
// revocation.
package revoke

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/control/bus"
	"github.com/securecam/securecam/store"
)

// Store keeps the revocations.
type Store interface {
	// Revocations lists what was revoked at since or later, oldest first.
	Revocations(ctx context.Context, since time.Time) ([]store.Revocation, error)
	DeleteRevocations(ctx context.Context, before time.Time) (int64, error)
}

// Bus reaches the other processes.
type Bus interface {
	Publish(ctx context.Context, subject string, data []byte) error
	Subscribe(subject string, handle func(bus.Msg)) (bus.Subscription, error)
}

// Holder ends what this process holds by a right that was revoked. It is called
// on one goroutine, at least once for each revocation, and must not block for
// long. Revocations from before the process began are told, too.
type Holder func(store.Revocation)

// Config is what a Service needs.
type Config struct {
	Store   Store
	Bus     Bus
	Holders []Holder
	Logger  *slog.Logger     // may be nil
	Now     func() time.Time // time.Now if nil

	// Remember is how long a revocation is kept, longer than anything lives
	// that was signed; 8 days if zero.
	Remember time.Duration
	// Interval is how often to look without having been told; 5 s if zero.
	Interval time.Duration
}

const (
	// queue is what the processes wake each other for.
	queue = "revocations"

	defaultRemember = 8 * 24 * time.Hour
	defaultInterval = 5 * time.Second
	sweepInterval   = time.Hour
	lookTimeout     = 5 * time.Second
	retryPause      = 250 * time.Millisecond
	// overlap is how far back each look goes. Rows appear when their
	// transactions end, and in the time of the process that wrote them.
	overlap = 2 * time.Minute
)

// Stats counts what a Service has done.
type Stats struct {
	Applied  uint64 // revocations told to the holders
	Late     uint64 `help:"Revocations of which the bus brought no news: found only by looking now and then"`
	Failures uint64 // looks that failed
}

// Service tells the holders of one process. Wake, Stats and Run may be called
// from anywhere, Run once.
type Service struct {
	cfg   Config
	log   *slog.Logger
	woken chan struct{}
	seen  map[string]time.Time // ids of the overlap; of Load, then of Run

	applied, late, failures atomic.Uint64
}

// New returns a Service.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Remember <= 0 {
		cfg.Remember = defaultRemember
	}
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	return &Service{cfg: cfg, log: cfg.Logger, woken: make(chan struct{}, 1), seen: map[string]time.Time{}}
}

// Wake tells every process that something was revoked. It never blocks.
func (s *Service) Wake() {
	s.nudge()
	// Others look by themselves soon if they do not hear this.
	if err := s.cfg.Bus.Publish(context.Background(), bus.WakeTopic(queue), nil); err != nil {
		s.log.Warn("revocation not announced", slog.Any("err", err))
	}
}

func (s *Service) nudge() {
	select {
	case s.woken <- struct{}{}:
	default: // a look is due already
	}
}

// Stats returns the counters.
func (s *Service) Stats() Stats {
	return Stats{Applied: s.applied.Load(), Late: s.late.Load(), Failures: s.failures.Load()}
}

// Load tells the holders what is remembered. It comes before anything can be
// opened, and before Run.
func (s *Service) Load(ctx context.Context) error {
	return s.look(ctx, s.cfg.Now().Add(-s.cfg.Remember), false)
}

// Run tells the holders of every revocation, on whichever process, until ctx
// ends.
func (s *Service) Run(ctx context.Context) error {
	sub, err := s.cfg.Bus.Subscribe(bus.WakeTopic(queue), func(bus.Msg) { s.nudge() })
	if err != nil {
		return err
	}
	defer func() {
		if err := sub.Unsubscribe(); err != nil {
			s.log.Warn("revocations not unsubscribed", slog.Any("err", err))
		}
	}()
	tick := time.NewTicker(s.cfg.Interval)
	defer tick.Stop()
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for failing, untold := false, false; ; {
		err := s.lookNow(ctx, untold)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			s.log.WarnContext(ctx, "revocations not read", slog.Any("err", err))
		}
		failing = err != nil
		if untold, err = s.wait(ctx, failing, tick.C, sweep.C); err != nil {
			return nil
		}
	}
}

// wait returns when it is time for the next look, or ctx's error. untold says
// that nobody asked for it.
func (s *Service) wait(ctx context.Context, failing bool, tick, sweep <-chan time.Time) (untold bool, err error) {
	var retry <-chan time.Time
	if failing {
		retry = time.After(retryPause)
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-s.woken:
	case <-retry:
	case <-tick:
		select {
		case <-s.woken: // both came while this process stood still
		default:
			untold = true
		}
	case <-sweep:
		s.sweep(ctx)
	}
	return untold, nil
}

func (s *Service) lookNow(ctx context.Context, untold bool) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	return s.look(ctx, s.cfg.Now().Add(-overlap), untold)
}

// look tells the holders what was revoked since then and is new to them. What
// it finds untold, and so long afterwards that the news cannot be on its way,
// is late.
func (s *Service) look(ctx context.Context, since time.Time, untold bool) error {
	list, err := s.cfg.Store.Revocations(ctx, since)
	if err != nil {
		s.failures.Add(1)
		return err
	}
	for _, r := range list {
		if _, known := s.seen[r.ID]; known {
			continue
		}
		s.seen[r.ID] = r.CreatedAt
		s.applied.Add(1)
		if untold && s.cfg.Now().Sub(r.CreatedAt) >= s.cfg.Interval/2 {
			s.late.Add(1)
		}
		s.log.InfoContext(ctx, "revoked", slog.String("kind", string(r.Kind)), slog.String("target", r.TargetID),
			slog.String("user", r.OwnerUserID))
		for _, hold := range s.cfg.Holders {
			hold(r)
		}
	}
	forget := s.cfg.Now().Add(-2 * overlap)
	for id, at := range s.seen {
		if at.Before(forget) {
			delete(s.seen, id)
		}
	}
	return nil
}

func (s *Service) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	n, err := s.cfg.Store.DeleteRevocations(ctx, s.cfg.Now().Add(-s.cfg.Remember))
	if err != nil && !errors.Is(err, context.Canceled) {
		s.log.WarnContext(ctx, "old revocations not deleted", slog.Any("err", err))
	}
	if n > 0 {
		s.log.InfoContext(ctx, "old revocations deleted", slog.Int64("count", n))
	}
}
