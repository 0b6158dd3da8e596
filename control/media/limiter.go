package media

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// How often one device may ask, a second and at once: RFC 9725, section 5 wants
// a limit on POST, PATCH and DELETE. A page that watches sixteen cameras opens
// sixteen sessions at once.
const (
	offersPerSecond, offersAtOnce   = 10, 64
	changesPerSecond, changesAtOnce = 20, 200

	// maxLimits bounds the devices that are remembered. Only devices with a
	// good token are, and those that were quiet for as long as their
	// allowance takes to fill up are forgotten first.
	maxLimits = 4096
)

// limiter limits what each of many may do.
type limiter struct {
	limit   rate.Limit
	burst   int
	refused atomic.Uint64

	mu sync.Mutex // guards by
	by map[string]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	return &limiter{limit: rate.Limit(perSecond), burst: burst, by: make(map[string]*rate.Limiter)}
}

// allow reports whether the one called name may do one thing more at now.
func (l *limiter) allow(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	of, known := l.by[name]
	if !known {
		if len(l.by) >= maxLimits {
			l.forget(now)
		}
		of = rate.NewLimiter(l.limit, l.burst)
		l.by[name] = of
	}
	allowed := of.AllowN(now, 1)
	if !allowed {
		l.refused.Add(1)
	}
	return allowed
}

// forget drops those that have their whole allowance, and all when that is
// nobody: memory comes before fairness. Caller holds mu.
func (l *limiter) forget(now time.Time) {
	for name, of := range l.by {
		if of.TokensAt(now) >= float64(l.burst) {
			delete(l.by, name)
		}
	}
	if len(l.by) >= maxLimits {
		clear(l.by)
	}
}
