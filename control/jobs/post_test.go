package jobs

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/securecam/securecam/store"
)

// letters is mail in memory: what a message is, is how its attempts end.
type letters struct {
	mu    sync.Mutex // guards the fields below
	rows  map[string]*letter
	stale bool // somebody else has it by now
}

type letter struct {
	id       string
	attempts int
	due      time.Time
	outcome  store.DeliveryOutcome
	results  []Result
	err      error
}

func (l *letters) Claim(_ context.Context, c store.Claim) ([]letter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var claimed []letter
	for _, row := range l.rows {
		if row.outcome.Status != store.WorkSent && row.outcome.Status != store.WorkFailed && !row.due.After(c.At) && len(claimed) < c.Limit {
			row.attempts++
			row.due = c.Until
			claimed = append(claimed, *row)
		}
	}
	return claimed, nil
}

func (l *letters) Settle(_ context.Context, m letter, o store.DeliveryOutcome) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	row := l.rows[m.id]
	if l.stale || row.attempts != m.attempts {
		return store.ErrConflict
	}
	row.outcome, row.due = o, o.NextAttemptAt
	return nil
}

func (l *letters) Prune(context.Context, time.Time, int) (int64, error) { return 0, nil }

func (l *letters) Stats(context.Context) (store.QueueStats, error) {
	return store.QueueStats{Queued: 1, Oldest: time.Now().Add(-time.Hour)}, nil
}

func (l *letters) About(m letter) (id string, attempt int) { return m.id, m.attempts }

func (l *letters) Try(_ context.Context, m letter) (Result, error) {
	if len(m.results) == 0 {
		return Result{}, m.err
	}
	return m.results[min(m.attempts, len(m.results))-1], m.err
}

func TestPost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := Result{Reason: "refused", Status: 500, Took: time.Second}
		l := &letters{rows: map[string]*letter{
			"sent":         {id: "sent"},
			"sent then":    {id: "sent then", results: []Result{refused, refused, {Status: 200}}},
			"never":        {id: "never", results: []Result{refused}, err: errors.New("away")},
			"final":        {id: "final", results: []Result{{Reason: "gone", Final: true}}},
			"lost":         {id: "lost", attempts: 4},
			"patient then": {id: "patient then", results: []Result{{Reason: "busy", After: 2 * time.Hour}, {}}},
		}}
		p := NewPost[letter](PostConfig{Patience: Patience{MaxAttempts: 4}, Name: "letters"}, l)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's own clock
		synctest.Wait()
		check := func(id string, status store.WorkStatus, attempts int, reason string) {
			t.Helper()
			l.mu.Lock()
			defer l.mu.Unlock()
			if row := l.rows[id]; row.outcome.Status != status || row.attempts != attempts || row.outcome.Error != reason {
				t.Errorf("%s: %+v", id, row)
			}
		}
		check("sent", store.WorkSent, 1, "")
		check("sent then", store.WorkSent, 3, "")
		check("never", store.WorkFailed, 4, "refused")
		check("final", store.WorkFailed, 1, "gone")
		check("lost", store.WorkFailed, 5, ReasonLost)
		check("patient then", store.WorkQueued, 1, "busy")
		l.mu.Lock()
		l.stale = true
		l.mu.Unlock()
		time.Sleep(time.Hour + time.Minute) //nolint:forbidigo // as above
		synctest.Wait()
		stats, err := p.Stats(ctx)
		want := PostStats{
			Queued: 1, OldestAge: time.Hour, TotalSent: 2, TotalRetried: 6, TotalDead: 3, TotalStale: stats.TotalStale,
		}
		if err != nil || stats != want || stats.TotalStale == 0 {
			t.Errorf("got %+v, %v, want %+v", stats, err, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPostStops cuts an attempt off: it is due again at once, and not counted
// as a failure of its receiver.
func TestPostStops(t *testing.T) {
	t.Parallel()
	l := &letters{rows: map[string]*letter{"x": {id: "x"}}}
	p := NewPost[letter](PostConfig{Patience: Patience{MaxAttempts: 1}, Name: "letters"}, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := round[letter]{p}
	l.rows["x"].attempts = 1
	r.Run(ctx, letter{id: "x", attempts: 1, err: errors.New("cut off")})
	if o := l.rows["x"].outcome; o.Status != store.WorkQueued || o.Error != ReasonStopped || o.NextAttemptAt.After(time.Now()) {
		t.Errorf("got %+v", o)
	}
}
