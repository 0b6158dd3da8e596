// Package ops tells operators and their machines whether the server lives and
// whether it can work.
package ops

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// Check asks one thing that the server depends on whether it works. Ping must
// be safe for concurrent use with everything but itself.
type Check struct {
	Name string
	Ping func(context.Context) error
}

// Config is what a Service needs.
type Config struct {
	Checks  []Check
	Timeout time.Duration // of all checks together; 3 s if zero
	// Warnings names what works, but not for everybody; may be nil.
	Warnings func() []string
	Metrics  http.Handler // answers /ops/metrics; may be nil
	Logger   *slog.Logger
}

const defaultTimeout = 3 * time.Second

// Service answers whether the server is live and ready.
type Service struct {
	checks  []*check
	timeout time.Duration
	metrics http.Handler
	warn    func() []string
	log     *slog.Logger
}

// check runs one Ping at a time, so that a dependency that hangs costs one
// goroutine however often it is asked about.
type check struct {
	Check
	slot chan struct{}
}

// New returns a Service.
func New(cfg Config) *Service {
	s := &Service{timeout: cfg.Timeout, metrics: cfg.Metrics, warn: cfg.Warnings, log: cfg.Logger}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range cfg.Checks {
		s.checks = append(s.checks, &check{Check: c, slot: make(chan struct{}, 1)})
	}
	return s
}

// Result is what one check found.
type Result struct {
	Name    string
	Err     error
	Latency time.Duration
}

// Ready runs all checks at once and returns their results in the order of the
// Config, at the latest when the timeout has passed. A check that ignores its
// context counts as failed then, and is not run again before it returns.
func (s *Service) Ready(ctx context.Context) []Result {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	results := make([]Result, len(s.checks))
	var wait sync.WaitGroup
	for i, c := range s.checks {
		wait.Go(func() {
			start := time.Now()
			err := c.run(ctx)
			results[i] = Result{Name: c.Name, Err: err, Latency: time.Since(start)}
			if err != nil {
				s.log.WarnContext(ctx, "check failed", slog.String("check", c.Name), slog.Any("err", err))
			}
		})
	}
	wait.Wait()
	return results
}

func (c *check) run(ctx context.Context) error {
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.slot }()
		done <- c.Ping(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
