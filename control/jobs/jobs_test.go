package jobs

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is numbers that are due.
type queue struct {
	mu      sync.Mutex // guards the fields below
	due     []int
	err     error
	claims  int
	most    int // at the same time
	running int
	ran     chan int
	hold    chan struct{} // jobs wait for it, unless nil
}

func (q *queue) add(jobs ...int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, jobs...)
}

func (q *queue) Claim(_ context.Context, limit int) ([]int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.claims++
	if q.err != nil {
		err := q.err
		q.err = nil
		return nil, err
	}
	n := min(limit, len(q.due))
	claimed := q.due[:n:n]
	q.due = q.due[n:]
	return claimed, nil
}

func (q *queue) Run(ctx context.Context, job int) {
	q.mu.Lock()
	q.running++
	q.most = max(q.most, q.running)
	q.mu.Unlock()
	if q.hold != nil {
		select {
		case <-q.hold:
		case <-ctx.Done():
		}
	}
	q.mu.Lock()
	q.running--
	q.mu.Unlock()
	q.ran <- job
	if job < 0 {
		panic("a job that panics") //nolint:forbidigo // on purpose
	}
}

// fakeBus is one bus that several workers are on.
type fakeBus struct {
	mu    sync.Mutex // guards wakes
	wakes []chan struct{}
	err   error
}

func (b *fakeBus) Wake(context.Context, string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wakes {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return b.err
}

func (b *fakeBus) Wakes(string) (<-chan struct{}, func() error, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := make(chan struct{}, 1)
	b.wakes = append(b.wakes, w)
	return w, func() error { return b.err }, b.err
}

// start runs a worker that only looks when it is woken.
func start(t *testing.T, c Config, q Queue[int]) *Worker[int] {
	t.Helper()
	c.Name = "test"
	if c.Interval == 0 {
		c.Interval = time.Hour
	}
	w := New(c, q)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if n := w.Running(); n != 0 {
			t.Errorf("%d jobs still run", n)
		}
	})
	return w
}

func expect(t *testing.T, ran chan int, count int) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for i := range count {
		select {
		case <-ran:
		case <-limit.C:
			t.Fatalf("%d jobs of %d ran", i, count)
		}
	}
}

func TestWorker(t *testing.T) {
	t.Parallel()
	q := &queue{ran: make(chan int, 1000)}
	for i := range 100 {
		q.add(i)
	}
	w := start(t, Config{Concurrency: 4}, q)
	expect(t, q.ran, 100)
	if q.most > 4 {
		t.Errorf("%d jobs at a time", q.most)
	}
	q.add(-1, 100)
	w.Wake()
	expect(t, q.ran, 2) // also after one that panicked
	q.mu.Lock()
	q.err = errors.New("away")
	q.mu.Unlock()
	w.Wake()
	q.add(101)
	for q.mu.Lock(); q.err != nil; q.mu.Lock() {
		q.mu.Unlock()
		w.Wake()
	}
	q.mu.Unlock()
	w.Wake()
	expect(t, q.ran, 1)
}

// TestSlowJob has a job that hangs: it takes one slot, not the queue.
func TestSlowJob(t *testing.T) {
	t.Parallel()
	q := &queue{ran: make(chan int, 1000), hold: make(chan struct{})}
	q.add(1, 2, 3)
	w := start(t, Config{Concurrency: 2}, q)
	q.hold <- struct{}{}
	expect(t, q.ran, 1)
	q.hold <- struct{}{}
	expect(t, q.ran, 1)
	q.hold <- struct{}{}
	expect(t, q.ran, 1)
	q.add(4) // hangs until the worker stops
	w.Wake()
}

// heldQueue says how many jobs it is asked for, and has the worker wait.
type heldQueue struct {
	*queue
	limits chan int
	answer chan struct{}
}

func (q *heldQueue) Claim(ctx context.Context, limit int) ([]int, error) {
	select {
	case q.limits <- limit:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-q.answer:
		return q.queue.Claim(ctx, limit)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestClaimsAtOnce has all jobs end during a claim: the next one is for all of
// them.
func TestClaimsAtOnce(t *testing.T) {
	t.Parallel()
	const jobs = 8 // of which all but the first wait until the next claim is under way
	q := &heldQueue{&queue{ran: make(chan int, jobs), hold: make(chan struct{})}, make(chan int), make(chan struct{})}
	for i := range jobs {
		q.add(i)
	}
	w := start(t, Config{Concurrency: jobs}, q)
	<-q.limits
	q.answer <- struct{}{}
	q.hold <- struct{}{}
	<-q.limits
	close(q.hold)
	expect(t, q.ran, jobs)
	for w.Running() > 0 {
		runtime.Gosched()
	}
	q.answer <- struct{}{}
	if limit := <-q.limits; limit != jobs {
		t.Errorf("asks for %d jobs, want %d", limit, jobs)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	bus := &fakeBus{}
	here, there := &queue{ran: make(chan int, 9)}, &queue{ran: make(chan int, 9)}
	w := start(t, Config{Bus: bus}, here)
	other := start(t, Config{Bus: bus}, there)
	here.add(1)
	w.Notify(t.Context())
	expect(t, here.ran, 1)
	// The other's subscription may not stand yet when it is first woken.
	there.add(2)
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for heard := false; !heard; {
		w.Notify(t.Context())
		select {
		case <-there.ran:
			heard = true
		case <-limit.C:
			t.Fatal("the other process was not woken")
		case <-time.After(time.Millisecond):
		}
	}
	bus.mu.Lock()
	bus.err = errors.New("away")
	bus.mu.Unlock()
	there.add(3)
	other.Notify(t.Context())
	expect(t, there.ran, 1)
}

func TestInterval(t *testing.T) {
	t.Parallel()
	q := &queue{ran: make(chan int, 9)}
	pruned := make(chan struct{}, 1)
	start(t, Config{Interval: time.Millisecond, Prune: func(context.Context) error {
		pruned <- struct{}{}
		return errors.New("away")
	}}, q)
	<-pruned
	q.add(1)
	expect(t, q.ran, 1)
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for attempts, most := range map[int]time.Duration{
		0: 10, 1: 10, 2: 20, 3: 40, 4: 80, 5: 100, 6: 100, 1000000: 100,
	} {
		for range 50 {
			if got := Backoff(attempts, 10*time.Second, 100*time.Second); got < most*time.Second/2 || got > most*time.Second {
				t.Errorf("after %d attempts: %v, want %d to %d s", attempts, got, most/2, most)
			}
		}
	}
}
