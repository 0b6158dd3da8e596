package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestTelling(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		telling, cancel := Telling(ctx)
		defer cancel()
		time.Sleep(time.Hour) //nolint:forbidigo // of the bubble's clock
		if telling.Err() != nil {
			t.Fatal("ended before the server stops")
		}
		stop()
		time.Sleep(tellingTime - time.Millisecond) //nolint:forbidigo // as above
		if telling.Err() != nil {
			t.Fatal("a stop gave no time")
		}
		time.Sleep(2 * time.Millisecond) //nolint:forbidigo // as above
		if telling.Err() == nil {
			t.Fatal("a stop waits for ever")
		}

		late, done := Telling(ctx)
		if late.Err() != nil {
			t.Fatal("what is told during a stop has no time")
		}
		done()
		if late.Err() == nil {
			t.Fatal("not cancelled")
		}
	})
}
