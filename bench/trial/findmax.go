package trial

import (
	"context"
	"fmt"

	"github.com/securecam/securecam/bench/report"
)

const (
	searchStart  = 50
	searchGrowth = 1.5
)

// findMax searches the greatest number of viewers that the server holds: it
// grows the crowd until the server fails, then halves the difference.
func (t *trial) findMax(ctx context.Context) error {
	s := &report.Search{Limit: "the server"}
	t.result.Search = s
	held, failed := 0, 0
	for n := min(searchStart, t.cfg.Viewers); ; {
		w, step, err := t.tryOften(ctx, n)
		if err != nil {
			return err
		}
		if step.Held {
			held = n
			t.conclude(w)
		} else {
			failed = n
			if w.dropped > 0 || w.own.Seconds() > 0.9*float64(max(t.cfg.Readers, 1))*w.took.Seconds() {
				s.Limit = "perhaps this program, which was busy or lost datagrams itself"
			}
		}
		switch {
		case held == t.cfg.Viewers:
			s.Limit = "the number of viewers asked for"
			failed = held
		case failed == 0:
			n = min(max(int(float64(n)*searchGrowth), n+1), t.cfg.Viewers)
			continue
		}
		if float64(failed-held) <= max(t.cfg.Precision*float64(failed), 1) {
			s.Held = held
			return nil
		}
		n = held + (failed-held)/2
	}
}

// tryOften tries a number of viewers until it holds or has failed often: on a
// machine with other work one failure says little.
func (t *trial) tryOften(ctx context.Context, n int) (*window, report.Step, error) {
	for attempt := 1; ; attempt++ {
		w, step, err := t.try(ctx, n)
		if err != nil {
			return nil, step, err
		}
		t.result.Search.Steps = append(t.result.Search.Steps, step)
		if step.Held || attempt >= t.cfg.Attempts {
			return w, step, nil
		}
	}
}

// try measures with n viewers.
func (t *trial) try(ctx context.Context, n int) (*window, report.Step, error) {
	if have := len(t.viewers); have > n {
		if err := t.dismiss(ctx, have-n); err != nil {
			return nil, report.Step{}, err
		}
	}
	if err := t.admit(ctx, n); err != nil {
		return nil, report.Step{}, err
	}
	if err := t.unmute(ctx); err != nil {
		return nil, report.Step{}, err
	}
	w, err := t.window(ctx, t.cfg.Step)
	if err != nil {
		return nil, report.Step{}, err
	}
	step := report.Step{Viewers: n, Ratio: w.delivery.Ratio, P99: w.latency.P99}
	if t.cfg.PID != 0 {
		server := w.serverOf(t.cfg.PID)
		step.ServerCores, step.Waiting, step.Micros = server.Cores, server.Waiting, server.Micros
	}
	step.Held = len(t.viewers) == n && step.Ratio >= t.cfg.MinRatio && w.latency.P99 < millis(t.cfg.MaxP99)
	t.cfg.Progress(fmt.Sprintf("%d viewers: delivery %.3f%%, p99 %.1f ms, held: %v\n", n, 100*step.Ratio, step.P99, step.Held))
	return w, step, nil
}
