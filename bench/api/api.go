// Package api measures SecureCam's API as clients see it: how many requests a
// server answers, how long they take, and what idle gateway connections cost.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/bench/measure"
)

// Config says what to measure.
type Config struct {
	// URL is the server, without rate limits and open for sign-ups. Cameras
	// connect to CameraURL, another process of the same installation, if that is
	// not empty.
	URL, CameraURL string
	PID            int           // the server's process on this machine, for its memory; 0 without
	Duration       time.Duration // of each step
	Workers        int           // at once, in each step
	Connections    int           // idle ones; 0 leaves them out
	Progress       func(step string)
}

// Step is what one kind of request took.
type Step struct {
	Name      string        `json:"name"`
	Count     uint64        `json:"count"`
	PerSecond float64       `json:"perSecond"`
	Median    time.Duration `json:"medianNs"`
	P99       time.Duration `json:"p99Ns"`
	Max       time.Duration `json:"maxNs"`
}

// Idle is what connections cost that are open and silent.
type Idle struct {
	Connections int           `json:"connections"`
	Before      int64         `json:"rssBefore"` // bytes
	After       int64         `json:"rssAfter"`
	SetUp       time.Duration `json:"setUpNs"` // of all of them, registrations apart
}

// Each returns the memory of one connection in bytes.
func (i Idle) Each() int64 {
	if i.Connections == 0 {
		return 0
	}
	return (i.After - i.Before) / int64(i.Connections)
}

// Result is everything that was measured.
type Result struct {
	Machine measure.Machine `json:"machine"`
	Workers int             `json:"workers"`
	Steps   []Step          `json:"steps"`
	Idle    *Idle           `json:"idle,omitempty"`
}

// Run measures one step after the other. The users and devices that it makes
// stay: give it a server that nobody else needs.
func Run(ctx context.Context, c Config) (Result, error) {
	c.URL = strings.TrimSuffix(c.URL, "/")
	c.CameraURL = strings.TrimSuffix(c.CameraURL, "/")
	if c.CameraURL == "" {
		c.CameraURL = c.URL
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	r := &run{Config: c, transport: &http.Transport{MaxIdleConnsPerHost: 2 * c.Workers, MaxConnsPerHost: 4 * c.Workers}}
	defer r.transport.CloseIdleConnections()
	result := Result{Machine: measure.ThisMachine(), Workers: c.Workers}
	for _, step := range []func(context.Context) ([]Step, error){r.signIn, r.deviceList, r.commands} {
		steps, err := step(ctx)
		if err != nil {
			return result, err
		}
		result.Steps = append(result.Steps, steps...)
	}
	if c.Connections > 0 {
		idle, err := r.idle(ctx)
		if err != nil {
			return result, err
		}
		result.Idle = &idle
	}
	return result, nil
}

type run struct {
	Config
	transport *http.Transport
}

const password = "correct horse battery staple"

// signUp makes a user of its own, with the browser that signed up.
func (r *run) signUp(ctx context.Context) (email string, browser caller, err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", caller{}, err
	}
	email = "bench-" + strings.ToLower(rand.Text()) + "@example.org"
	browser = caller{base: r.URL, http: &http.Client{Jar: jar, Transport: r.transport, Timeout: time.Minute}}
	account := map[string]string{"name": "Bench", "email": email, "password": password}
	return email, browser, browser.call(ctx, "POST", "/api/auth/sign-up/email", account, nil)
}

// signIn has one user sign in again and again.
func (r *run) signIn(ctx context.Context) ([]Step, error) {
	r.Progress("sign-in")
	email, _, err := r.signUp(ctx)
	if err != nil {
		return nil, err
	}
	c := caller{base: r.URL, http: &http.Client{Transport: r.transport, Timeout: time.Minute}}
	step, err := r.repeat(ctx, "sign-in", func(ctx context.Context, _ int) error {
		return c.call(ctx, "POST", "/api/auth/sign-in/email", map[string]string{"email": email, "password": password}, nil)
	})
	return []Step{step}, err
}

// deviceList reads a list of ten devices with the session cookie.
func (r *run) deviceList(ctx context.Context) ([]Step, error) {
	r.Progress("device list")
	_, browser, err := r.signUp(ctx)
	if err != nil {
		return nil, err
	}
	for range 10 {
		if _, err := browser.register(ctx, "camera"); err != nil {
			return nil, err
		}
	}
	step, err := r.repeat(ctx, "device list", func(ctx context.Context, _ int) error {
		return browser.call(ctx, "GET", "/devices", nil, nil)
	})
	return []Step{step}, err
}

// repeat has the workers do one thing for the run's duration.
func (r *run) repeat(ctx context.Context, name string, do func(ctx context.Context, worker int) error) (Step, error) {
	var took measure.Histogram
	began := time.Now()
	err := r.work(ctx, func(ctx context.Context, worker int) error {
		before := time.Now()
		if err := do(ctx, worker); err != nil {
			return err
		}
		took.Add(time.Since(before))
		return nil
	})
	return stepOf(name, &took, time.Since(began)), err
}

// work calls f on every worker until the duration is over or a call fails.
func (r *run) work(ctx context.Context, f func(ctx context.Context, worker int) error) error {
	until := time.Now().Add(r.Duration)
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for worker := range r.Workers {
		wg.Go(func() {
			for time.Now().Before(until) && failed.Load() == nil && ctx.Err() == nil {
				if err := f(ctx, worker); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

func stepOf(name string, took *measure.Histogram, d time.Duration) Step {
	return Step{
		Name: name, Count: took.Count(), PerSecond: float64(took.Count()) / d.Seconds(),
		Median: took.Quantile(0.5), P99: took.Quantile(0.99), Max: took.Max(),
	}
}

var errLost = errors.New("api: what was sent did not arrive")

// text says a step in one line of a table.
func (s Step) text() string {
	return fmt.Sprintf("| %s | %d | %.0f | %.2f | %.2f | %.1f |", s.Name, s.Count, s.PerSecond,
		milliseconds(s.Median), milliseconds(s.P99), milliseconds(s.Max))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Text returns the result as a table.
func (r Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d at a time\n\n| request | count | a second | median ms | p99 ms | max ms |\n|---|---|---|---|---|---|\n", r.Workers)
	for _, s := range r.Steps {
		b.WriteString(s.text() + "\n")
	}
	if i := r.Idle; i != nil {
		fmt.Fprintf(&b, "\n%d idle gateway connections, opened in %.1f s", i.Connections, i.SetUp.Seconds())
		if i.After > 0 {
			fmt.Fprintf(&b, ": RSS %.1f -> %.1f MiB, %.1f KiB each", mib(i.Before), mib(i.After), float64(i.Each())/1024)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
