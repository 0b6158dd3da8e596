// Package jobs works through durable queues: it claims rows, runs each, and
// looks again when it is woken or after a while. Rows are the truth; waking
// only saves time.
package jobs

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/store"
)

// Bus wakes workers, in whichever process.
type Bus interface {
	Wake(ctx context.Context, queue string) error
	Wakes(queue string) (wakes <-chan struct{}, stop func() error, err error)
}

// Queue is the rows of one kind of work.
type Queue[J any] interface {
	// Claim takes at most limit jobs that are due, for this worker alone. It may
	// leave some until one of those is done that are being done.
	Claim(ctx context.Context, limit int) ([]J, error)
	// Run does one job and writes down how it ended. ctx ends when the worker
	// stops: a job that is cut off gives itself back.
	Run(ctx context.Context, job J)
}

// Config is how a Worker works. Every number has a default.
type Config struct {
	Name        string        // of the queue, one token; the same in every process
	Bus         Bus           // may be nil
	Interval    time.Duration // between looks that nobody asked for; 10 s
	Concurrency int           // jobs at a time; 32
	Logger      *slog.Logger

	// Prune, unless nil, is called every hour to delete what is too old.
	Prune func(ctx context.Context) error
}

// Worker works through a queue. Several workers, of this process or of others,
// may share one.
type Worker[J any] struct {
	cfg     Config
	queue   Queue[J]
	wake    chan struct{}
	running atomic.Int64
	failing bool // belongs to Run
}

const (
	claimTimeout  = 10 * time.Second
	pruneTimeout  = time.Minute
	pruneInterval = time.Hour
)

// New returns a Worker; the caller runs its Run.
func New[J any](c Config, q Queue[J]) *Worker[J] {
	if c.Interval <= 0 {
		c.Interval = 10 * time.Second
	}
	if c.Concurrency <= 0 {
		c.Concurrency = 32
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker[J]{cfg: c, queue: q, wake: make(chan struct{}, 1)}
}

// Notify makes every worker of the queue look now, in whichever process. It is
// for after the commit that added a job. When the bus fails, this process looks
// and the others do at their next interval.
func (w *Worker[J]) Notify(ctx context.Context) {
	w.Wake()
	if w.cfg.Bus == nil {
		return
	}
	if err := w.cfg.Bus.Wake(ctx, w.cfg.Name); err != nil {
		w.cfg.Logger.WarnContext(ctx, "workers not woken", slog.String("queue", w.cfg.Name), slog.Any("err", err))
	}
}

// Wake makes this worker look now. It never blocks.
func (w *Worker[J]) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // it is about to look anyhow
	}
}

// Running returns how many jobs are being done.
func (w *Worker[J]) Running() int { return int(w.running.Load()) }

// Run works until ctx ends, and waits for the jobs that it began.
func (w *Worker[J]) Run(ctx context.Context) error {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	others, stop := w.listen(ctx)
	defer stop()
	if w.cfg.Prune != nil {
		jobs.Go(func() { w.prune(ctx) })
	}
	done := make(chan struct{}, w.cfg.Concurrency)
	tick := time.NewTicker(w.cfg.Interval)
	defer tick.Stop()
	free := w.cfg.Concurrency
	for {
		if free += take(done); free > 0 {
			claimed := w.claim(ctx, free)
			free -= len(claimed)
			for _, job := range claimed {
				w.running.Add(1)
				jobs.Go(func() {
					defer func() { done <- struct{}{}; w.running.Add(-1) }()
					w.run(ctx, job)
				})
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			free++ // a queue that is fair between users may have held some back
		case <-w.wake:
		case <-others:
		case <-tick.C:
		}
	}
}

// take returns how many have come in, without waiting for more: what ended
// during a claim is worth one other, which costs as much for one as for many.
func take(done <-chan struct{}) (n int) {
	for {
		select {
		case <-done:
			n++
		default:
			return n
		}
	}
}

// run does one job and survives its panic: the job comes back when its lease
// ends, until it has no attempts left.
func (w *Worker[J]) run(ctx context.Context, job J) {
	defer func() {
		if v := recover(); v != nil {
			w.cfg.Logger.ErrorContext(ctx, "job panicked", slog.String("queue", w.cfg.Name), slog.Any("panic", v),
				slog.String("stack", string(debug.Stack())))
		}
	}()
	w.queue.Run(ctx, job)
}

// listen returns the wake-ups of other processes, until stop.
func (w *Worker[J]) listen(ctx context.Context) (wakes <-chan struct{}, stop func()) {
	if w.cfg.Bus == nil {
		return nil, func() {}
	}
	wakes, end, err := w.cfg.Bus.Wakes(w.cfg.Name)
	if err != nil {
		w.cfg.Logger.WarnContext(ctx, "queue is only looked at now and then", slog.String("queue", w.cfg.Name), slog.Any("err", err))
		return nil, func() {}
	}
	return wakes, func() {
		if err := end(); err != nil {
			w.cfg.Logger.WarnContext(ctx, "queue not unsubscribed", slog.String("queue", w.cfg.Name), slog.Any("err", err))
		}
	}
}

func (w *Worker[J]) prune(ctx context.Context) {
	tick := time.NewTicker(pruneInterval)
	defer tick.Stop()
	for {
		pruneCtx, cancel := context.WithTimeout(ctx, pruneTimeout)
		err := w.cfg.Prune(pruneCtx)
		cancel()
		if err != nil && ctx.Err() == nil {
			w.cfg.Logger.WarnContext(ctx, "queue not pruned", slog.String("queue", w.cfg.Name), slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// claim logs an outage once, not each time.
func (w *Worker[J]) claim(ctx context.Context, limit int) []J {
	claimCtx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	claimed, err := w.queue.Claim(claimCtx, limit)
	switch {
	case err != nil && ctx.Err() != nil: // stopping
	case err != nil && !w.failing:
		w.failing = true
		w.cfg.Logger.WarnContext(ctx, "queue not read", slog.String("queue", w.cfg.Name), slog.Any("err", err))
	case err == nil && w.failing:
		w.failing = false
		w.cfg.Logger.InfoContext(ctx, "queue read again", slog.String("queue", w.cfg.Name))
	}
	return claimed
}

// Backoff returns how long to wait after the given number of attempts: first
// doubled each time up to most, half of it by chance, so that what failed
// together does not come back together.
func Backoff(attempts int, first, most time.Duration) time.Duration {
	pause := first
	for range attempts - 1 {
		if pause *= 2; pause >= most {
			pause = most
			break
		}
	}
	return pause/2 + rand.N(pause/2+1)
}

// Insist repeats a change until it succeeds, is final, or ctx ends: what was
// done and not written down would be done again.
func Insist(ctx context.Context, pause time.Duration, change func() error) error {
	for {
		err := change()
		if err == nil || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}
