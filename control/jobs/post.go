package jobs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/store"
)

// Mail is a queue of messages for receivers that may be away.
type Mail[J any] interface {
	Claim(ctx context.Context, c store.Claim) ([]J, error)
	// Settle writes down how an attempt ended. It returns store.ErrConflict when
	// the message is not in that attempt any more.
	Settle(ctx context.Context, message J, o store.DeliveryOutcome) error
	Prune(ctx context.Context, before time.Time, limit int) (int64, error)
	Stats(ctx context.Context) (store.QueueStats, error)
	// About returns a message's id and the number of the attempt that it is in.
	About(message J) (id string, attempt int)
	// Try makes one attempt, within half the lease. The error is for the log;
	// the result says what follows from it.
	Try(ctx context.Context, message J) (Result, error)
}

// Result is how an attempt ended.
type Result struct {
	Reason string        // why it failed; empty: sent
	Final  bool          // there is no use in another attempt
	After  time.Duration // the receiver wants to be left alone for that long
	Status int           // that the receiver answered, 0 for none
	Took   time.Duration
}

// Why an attempt failed, whatever the message; part of the API.
const (
	ReasonStopped = "stopped" // this server did, in the middle
	ReasonLost    = "lost"    // the last of its attempts did not come back
)

// Patience is how often and how long it is tried. Every number has a default.
type Patience struct {
	Interval    time.Duration // between looks that nobody asked for; 10 s
	MaxAttempts int           // before a message is a dead letter; 8
	FirstPause  time.Duration // after the first attempt, doubled with each; 10 s
	LongestWait time.Duration // between two attempts; 15 min
	Lease       time.Duration // a worker that died gives its messages back after that; 1 min
	Concurrency int           // messages sent at a time; 32
	Keep        time.Duration // of what was sent, and of dead letters; 30 days
}

func (p Patience) withDefaults() Patience {
	p.MaxAttempts = cmp.Or(p.MaxAttempts, 8)
	p.FirstPause = cmp.Or(p.FirstPause, 10*time.Second)
	p.LongestWait = cmp.Or(p.LongestWait, 15*time.Minute)
	p.Lease = cmp.Or(p.Lease, time.Minute)
	p.Keep = cmp.Or(p.Keep, 30*24*time.Hour)
	return p
}

// PostConfig is what a Post is made of.
type PostConfig struct {
	Patience
	Name   string           // of the queue, one token; the same in every process
	Bus    Bus              // may be nil
	Logger *slog.Logger     // may be nil
	Now    func() time.Time // time.Now if nil
}

// Post sends the messages of a queue: again and again while that fails, with
// growing pauses, until they are dead letters. It is safe for concurrent use.
type Post[J any] struct {
	cfg    PostConfig
	log    *slog.Logger
	mail   Mail[J]
	worker *Worker[J]

	sent, retried, dead, stale atomic.Uint64
}

// PostStats is the state of a queue, and what this process counted since
// NewPost.
type PostStats struct {
	Queued    int64         `help:"Messages that wait"`
	Sent      int64         `help:"Messages sent, of what is kept"`
	Dead      int64         `help:"Dead letters"`
	OldestAge time.Duration `help:"Age of the oldest message that waits"`

	Running      int    `help:"Messages being sent"`
	TotalSent    uint64 `help:"Messages that their receiver took"`
	TotalRetried uint64 `help:"Attempts that failed and will be repeated"`
	TotalDead    uint64 `help:"Messages that became dead letters"`
	TotalStale   uint64 `help:"Attempts whose lease ended before they did"`
}

const (
	settlePause = 200 * time.Millisecond
	stopTimeout = 1500 * time.Millisecond // for the last word when the worker stops
	pruneBatch  = 1000
)

// NewPost returns a Post; the caller runs its Run.
func NewPost[J any](c PostConfig, m Mail[J]) *Post[J] {
	c.Patience = c.withDefaults()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	p := &Post[J]{cfg: c, log: c.Logger, mail: m}
	p.worker = New(Config{
		Name: c.Name, Bus: c.Bus, Interval: c.Interval, Concurrency: c.Concurrency, Logger: c.Logger, Prune: p.prune,
	}, round[J]{p})
	return p
}

// Run sends what is due until ctx ends.
func (p *Post[J]) Run(ctx context.Context) error { return p.worker.Run(ctx) }

// Notify has the workers of every process look at the queue, because a
// transaction that is committed has added to it.
func (p *Post[J]) Notify(ctx context.Context) { p.worker.Notify(ctx) }

// Stats returns the state of the queue and the counters.
func (p *Post[J]) Stats(ctx context.Context) (PostStats, error) {
	q, err := p.mail.Stats(ctx)
	if err != nil {
		return PostStats{}, err
	}
	stats := PostStats{
		Queued: q.Queued, Sent: q.Sent, Dead: q.Failed, Running: p.worker.Running(),
		TotalSent: p.sent.Load(), TotalRetried: p.retried.Load(), TotalDead: p.dead.Load(), TotalStale: p.stale.Load(),
	}
	if !q.Oldest.IsZero() {
		stats.OldestAge = max(0, p.now().Sub(q.Oldest))
	}
	return stats, nil
}

func (p *Post[J]) prune(ctx context.Context) error {
	for {
		n, err := p.mail.Prune(ctx, p.now().Add(-p.cfg.Keep), pruneBatch)
		if err != nil || n < pruneBatch {
			return err
		}
	}
}

func (p *Post[J]) now() time.Time { return p.cfg.Now().UTC().Truncate(time.Millisecond) }

// round is the Post as its worker sees it.
type round[J any] struct{ *Post[J] }

// Claim takes messages that are due.
func (r round[J]) Claim(ctx context.Context, limit int) ([]J, error) {
	now := r.now()
	return r.mail.Claim(ctx, store.Claim{At: now, Until: now.Add(r.cfg.Lease), Limit: limit})
}

// Run makes one attempt to send a message and writes down how that ended.
func (r round[J]) Run(ctx context.Context, message J) {
	id, attempt := r.mail.About(message)
	if attempt > r.cfg.MaxAttempts { // whoever made the last one died with it
		r.settle(ctx, message, Result{Reason: ReasonLost, Final: true})
		return
	}
	result, err := r.try(ctx, message)
	switch {
	case err != nil && ctx.Err() != nil:
		result = Result{Reason: ReasonStopped}
	case err != nil:
		r.log.InfoContext(ctx, "message not sent", slog.String("queue", r.cfg.Name), slog.String("message", id),
			slog.Int("attempt", attempt), slog.Any("err", err))
	}
	r.settle(ctx, message, result)
}

// try gives an attempt half the lease, which must outlive it.
func (r round[J]) try(ctx context.Context, message J) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Lease/2)
	defer cancel()
	return r.mail.Try(ctx, message)
}

// settle writes down how an attempt ended. It does so also when the worker
// stops: what was sent must not be sent again by the next one.
func (p *Post[J]) settle(ctx context.Context, message J, r Result) {
	within := p.cfg.Lease / 4 // what an attempt leaves of it at least, halved
	if ctx.Err() != nil {
		within = stopTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	id, attempt := p.mail.About(message)
	o := p.outcome(attempt, r)
	err := Insist(ctx, settlePause, func() error { return p.mail.Settle(ctx, message, o) })
	switch {
	case errors.Is(err, store.ErrConflict): // deleted, or the lease ended and another worker has it
		p.stale.Add(1)
	case err != nil: // the lease will end
		p.log.ErrorContext(ctx, "message not settled", slog.String("queue", p.cfg.Name), slog.String("message", id), slog.Any("err", err))
	case o.Status == store.WorkSent:
		p.sent.Add(1)
	case o.Status == store.WorkFailed:
		p.dead.Add(1)
	default:
		p.retried.Add(1)
	}
}

// outcome says what follows from the result of an attempt.
func (p *Post[J]) outcome(attempt int, r Result) store.DeliveryOutcome {
	now := p.now()
	o := store.DeliveryOutcome{
		Outcome:        store.Outcome{Status: store.WorkSent, Error: r.Reason, At: now},
		ResponseStatus: r.Status, ResponseTime: r.Took,
	}
	switch {
	case r.Reason == "":
	case r.Reason == ReasonStopped:
		o.Status, o.NextAttemptAt = store.WorkQueued, now
	case r.Final || attempt >= p.cfg.MaxAttempts:
		o.Status = store.WorkFailed
	default:
		pause := max(r.After, Backoff(attempt, p.cfg.FirstPause, p.cfg.LongestWait))
		o.Status, o.NextAttemptAt = store.WorkQueued, now.Add(pause)
	}
	return o
}
