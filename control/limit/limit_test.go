package limit_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is what the bus does, and may be gone.
type counter struct {
	mu    sync.Mutex
	sums  map[string]int64
	gone  atomic.Bool
	asked atomic.Int32
}

func (c *counter) Add(_ context.Context, key string, period int64, n int) (int64, error) {
	c.asked.Add(1)
	if c.gone.Load() {
		return 0, errors.New("gone")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sums == nil {
		c.sums = map[string]int64{}
	}
	key += strconv.FormatInt(period, 10)
	c.sums[key] += int64(n)
	return c.sums[key], nil
}

// clock is a time that tests move.
type clock struct{ atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.Load()) }

func newLimiter(t *testing.T, c *counter) (*limit.Limiter, *clock) {
	t.Helper()
	at := &clock{}
	at.Store(int64(1_000_000*time.Minute + 15*time.Second))
	return limit.New(limit.Config{Counter: c, Window: time.Minute, Now: at.now}), at
}

func TestLimitIsExactAcrossProcesses(t *testing.T) {
	t.Parallel()
	shared := &counter{}
	one, _ := newLimiter(t, shared)
	two, _ := newLimiter(t, shared)
	var (
		wait    sync.WaitGroup
		allowed atomic.Int32
	)
	for i := range 200 {
		l := []*limit.Limiter{one, two}[i%2]
		wait.Go(func() {
			if l.Take(t.Context(), "rule", "key", 20).Allowed {
				allowed.Add(1)
			}
		})
	}
	wait.Wait()
	if allowed.Load() != 20 || one.Stats().Refused+two.Stats().Refused != 180 {
		t.Errorf("%d were allowed, want 20", allowed.Load())
	}
	if r := one.Take(t.Context(), "rule", "another", 20); !r.Allowed || r.Remaining != 19 || r.Reset != 45*time.Second {
		t.Errorf("another key: got %+v", r)
	}
	if r := one.Take(t.Context(), "rule", "key", 0); !r.Allowed {
		t.Error("a rule that is off refuses")
	}
}

func TestCheckCountsNothing(t *testing.T) {
	t.Parallel()
	l, _ := newLimiter(t, &counter{})
	a := limit.Attempts{Limiter: l, Limits: map[string]int{"kind": 1}}
	for range 3 {
		if err := a.Check(t.Context(), "kind", "key"); err != nil {
			t.Fatal(err)
		}
	}
	for i, allowed := range []bool{true, false} {
		if _, err := a.Take(t.Context(), "kind", "key"); (err == nil) != allowed {
			t.Errorf("try %d: %v", i, err)
		}
		if err := a.Check(t.Context(), "kind", "key"); (err == nil) != allowed {
			t.Errorf("after try %d: %v", i, err)
		}
	}
}

func TestWindowsEnd(t *testing.T) {
	t.Parallel()
	l, at := newLimiter(t, &counter{})
	var taken limit.Result
	for i, want := range []bool{true, true, false} {
		if taken = l.Take(t.Context(), "rule", "key", 2); taken.Allowed != want {
			t.Errorf("try %d: got %v", i, taken)
		}
	}
	l.GiveBack(t.Context(), "rule", "key", taken)
	l.GiveBack(t.Context(), "rule", "key", taken)
	if !l.Take(t.Context(), "rule", "key", 2).Allowed {
		t.Error("what was given back counts")
	}
	at.Add(int64(45 * time.Second))
	if r := l.Take(t.Context(), "rule", "key", 2); r.Remaining != 1 || r.Reset != time.Minute {
		t.Errorf("a new window: got %+v", r)
	}
}

// TestGiveBackBehindTheWindow gives back in the next window what the last one
// has counted: with the bus, and without it.
func TestGiveBackBehindTheWindow(t *testing.T) {
	t.Parallel()
	for _, gone := range []bool{false, true} {
		shared := &counter{}
		shared.gone.Store(gone)
		l, at := newLimiter(t, shared)
		old := l.Take(t.Context(), "rule", "key", 2)
		at.Add(int64(time.Minute))
		l.Take(t.Context(), "rule", "key", 2)
		l.GiveBack(t.Context(), "rule", "key", old)
		l.GiveBack(t.Context(), "rule", "key", l.Take(t.Context(), "rule", "key", 0)) // nothing was counted
		l.Take(t.Context(), "rule", "key", 2)
		if l.Take(t.Context(), "rule", "key", 2).Allowed {
			t.Errorf("without the bus %v: the next window allows one more", gone)
		}
	}
}

func TestEachCountsAloneWithoutTheBus(t *testing.T) {
	t.Parallel()
	shared := &counter{}
	shared.gone.Store(true)
	one, at := newLimiter(t, shared)
	two, _ := newLimiter(t, shared)
	for _, l := range []*limit.Limiter{one, two} {
		allowed := 0
		for range 10 {
			if l.Take(t.Context(), "rule", "key", 3).Allowed {
				allowed++
			}
		}
		if allowed != 3 || l.Stats().Local != 10 {
			t.Errorf("%d were allowed, want 3; %+v", allowed, l.Stats())
		}
	}
	if shared.asked.Load() != 2 {
		t.Errorf("the bus was asked %d times in its outage, want once by each", shared.asked.Load())
	}
	shared.gone.Store(false)
	at.Add(int64(5 * time.Second))
	if r := one.Take(t.Context(), "rule", "key", 3); r.Remaining != 2 || one.Stats().Local != 10 {
		t.Errorf("with the bus again: got %+v, %+v", r, one.Stats())
	}
}

func TestLocalCountsAreBounded(t *testing.T) {
	t.Parallel()
	shared := &counter{}
	shared.gone.Store(true)
	l, _ := newLimiter(t, shared)
	for i := range 100_010 {
		l.Take(t.Context(), "rule", strconv.Itoa(i), 1)
	}
	if got := l.Stats(); got.Uncounted != 10 || got.Refused != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestAttempts(t *testing.T) {
	t.Parallel()
	l, _ := newLimiter(t, &counter{})
	a := limit.Attempts{Limiter: l, Limits: map[string]int{"sign_in": 1}}
	if _, err := a.Take(t.Context(), "sign_in", "ada"); err != nil {
		t.Fatal(err)
	}
	_, err := a.Take(t.Context(), "sign_in", "ada")
	var refused *fault.Error
	if !errors.As(err, &refused) || !errors.Is(err, limit.ErrTooMany) || refused.RetryAfter != 45*time.Second {
		t.Errorf("got %v", err)
	}
	a.Forget(t.Context(), "sign_in", "ada")
	if _, err := a.Take(t.Context(), "sign_in", "ada"); err != nil {
		t.Errorf("what was forgotten counts: %v", err)
	}
	a.Forget(t.Context(), "unlimited", "ada")
	for range 3 {
		back, err := a.Take(t.Context(), "unlimited", "ada")
		if err != nil {
			t.Error(err)
		}
		back(t.Context())
	}
}
