// Package limit bounds how often somebody may do something, in all processes
// of an installation together.
//
// Counts are those of fixed windows: the bus adds them up exactly. While it
// cannot be reached each process counts by itself, so that a limit holds for
// each of them, and nobody is kept out by an outage.
package limit

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/control/fault"
)

// Counter adds up, in all processes together; *bus.Counters does.
type Counter interface {
	Add(ctx context.Context, key string, period int64, n int) (sum int64, err error)
}

// ErrTooMany refuses what is done too often.
var ErrTooMany = fault.New(fault.TooMany, "rate_limited", "Too many requests. Please try again later.")

// Config is what a Limiter needs. Counter and Window have no default.
type Config struct {
	Counter Counter
	Window  time.Duration
	Now     func() time.Time // time.Now if nil
	Logger  *slog.Logger     // may be nil
}

const (
	patience = 2 * time.Second // with a bus that is there and does not answer
	pause    = 5 * time.Second // before the bus is asked again
	// maxLocal is how many keys a process counts by itself; more of them are
	// let through and counted as such.
	maxLocal = 100_000
)

// Limiter counts in windows of one length. It is safe for concurrent use.
type Limiter struct {
	counter Counter
	window  time.Duration
	now     func() time.Time
	log     *slog.Logger

	refused, local, uncounted atomic.Uint64
	until                     atomic.Int64 // unix nanoseconds; the bus is left alone before

	mu     sync.Mutex // guards what follows
	period int64
	counts map[string]int64
}

// Stats counts since the start.
type Stats struct {
	Refused   uint64 `help:"Tries over a limit"`
	Local     uint64 `help:"Tries that this process counted alone, for want of the bus"`
	Uncounted uint64 `help:"Tries let through, because that counted too many keys already"`
}

// New returns a Limiter.
func New(cfg Config) *Limiter {
	l := &Limiter{counter: cfg.Counter, window: cfg.Window, now: cfg.Now, log: cfg.Logger, counts: map[string]int64{}}
	if l.now == nil {
		l.now = time.Now
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Result is what a Limiter says of one try.
type Result struct {
	Allowed   bool
	Limit     int
	Remaining int
	Reset     time.Duration // until the window ends

	period int64 // the window
}

// Take counts a try of key under a rule that allows limit in a window. A limit
// of zero or less is none.
func (l *Limiter) Take(ctx context.Context, rule, key string, limit int) Result {
	return l.take(ctx, rule, key, limit, 1)
}

// Check says what Take would have said last: nothing is counted.
func (l *Limiter) Check(ctx context.Context, rule, key string, limit int) Result {
	return l.take(ctx, rule, key, limit, 0)
}

func (l *Limiter) take(ctx context.Context, rule, key string, limit, n int) Result {
	now := l.now()
	period := now.UnixNano() / int64(l.window)
	r := Result{Allowed: true, Limit: limit, period: period, Reset: time.Duration((period+1)*int64(l.window) - now.UnixNano())}
	if limit <= 0 {
		return r
	}
	sum := l.add(ctx, rule+"\x00"+key, period, n)
	r.Remaining = int(max(0, int64(limit)-sum))
	if r.Allowed = sum <= int64(limit); !r.Allowed {
		l.refused.Add(1)
	}
	return r
}

// GiveBack takes back a try that Take has counted, in the window where it was:
// the next one has nothing to give.
func (l *Limiter) GiveBack(ctx context.Context, rule, key string, taken Result) {
	if taken.Limit > 0 {
		l.add(context.WithoutCancel(ctx), rule+"\x00"+key, taken.period, -1)
	}
}

// Forget takes back what was counted of key in this window.
func (l *Limiter) Forget(ctx context.Context, rule, key string) {
	period := l.now().UnixNano() / int64(l.window)
	ctx, key = context.WithoutCancel(ctx), rule+"\x00"+key
	if sum := l.add(ctx, key, period, 0); sum > 0 {
		l.add(ctx, key, period, int(-sum))
	}
}

// Window returns the length of the windows.
func (l *Limiter) Window() time.Duration { return l.window }

// Stats returns the counters.
func (l *Limiter) Stats() Stats {
	return Stats{Refused: l.refused.Load(), Local: l.local.Load(), Uncounted: l.uncounted.Load()}
}

func (l *Limiter) add(ctx context.Context, key string, period int64, n int) int64 {
	now := l.now().UnixNano()
	if now >= l.until.Load() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		sum, err := l.counter.Add(ctx, key, period, n)
		if err == nil {
			return sum
		}
		l.log.WarnContext(ctx, "limits are counted by each process alone", slog.Any("err", err))
		l.until.Store(now + int64(pause))
	}
	l.local.Add(1)
	return l.addLocally(key, period, n)
}

func (l *Limiter) addLocally(key string, period int64, n int) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 0 && period != l.period {
		return 0 // its window has ended
	}
	if period != l.period {
		l.period = period
		clear(l.counts)
	}
	sum, known := l.counts[key]
	if !known && len(l.counts) >= maxLocal {
		l.uncounted.Add(1)
		return 0
	}
	sum += int64(n)
	l.counts[key] = sum
	return sum
}

// Attempts limits by kind, for features that name what they count.
type Attempts struct {
	Limiter *Limiter
	Limits  map[string]int // by kind; a kind without one is not limited
}

// Take counts an attempt of a kind by key, and returns what takes it back when
// it did no harm. It returns a fault of kind fault.TooMany when there were too
// many.
func (a Attempts) Take(ctx context.Context, kind, key string) (giveBack func(context.Context), err error) {
	r := a.Limiter.Take(ctx, kind, key, a.Limits[kind])
	if !r.Allowed {
		return nil, ErrTooMany.After(r.Reset)
	}
	return func(ctx context.Context) { a.Limiter.GiveBack(ctx, kind, key, r) }, nil
}

// Check returns what Take would have returned last, and counts nothing.
func (a Attempts) Check(ctx context.Context, kind, key string) error {
	if r := a.Limiter.Check(ctx, kind, key, a.Limits[kind]); !r.Allowed {
		return ErrTooMany.After(r.Reset)
	}
	return nil
}

// Forget takes back all attempts of a kind by key.
func (a Attempts) Forget(ctx context.Context, kind, key string) {
	if a.Limits[kind] > 0 {
		a.Limiter.Forget(ctx, kind, key)
	}
}

// Headers returns the RateLimit-Policy and RateLimit fields of an answer
// (draft-ietf-httpapi-ratelimit-headers) for the result of a rule.
func (r Result) Headers(rule string, window time.Duration) (policy, state string) {
	seconds := func(d time.Duration) string { return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10) }
	return `"` + rule + `";q=` + strconv.Itoa(r.Limit) + ";w=" + seconds(window),
		`"` + rule + `";r=` + strconv.Itoa(r.Remaining) + ";t=" + seconds(r.Reset)
}
