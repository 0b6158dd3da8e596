package main

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestReportLosses holds that a loss is told once, with what it was in that
// second, and silence is silent.
func TestReportLosses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var logs syncBuffer
		var lost atomic.Uint64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- reportLosses(ctx, slog.New(slog.NewTextHandler(&logs, nil)), []loss{{"marbles", lost.Load}})
		}()
		time.Sleep(3 * time.Second)
		if logs.String() != "" {
			t.Errorf("nothing was lost, and the log says %s", logs.String())
		}
		lost.Add(3)
		time.Sleep(5 * time.Second)
		lost.Add(4)
		time.Sleep(time.Second)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		text := logs.String()
		if strings.Count(text, "\n") != 2 || !strings.Contains(text, "what=marbles count=3") || !strings.Contains(text, "count=4") {
			t.Errorf("got %s, want one line for 3 and one for 4", text)
		}
	})
}
