package gateway

import (
	"context"
	"time"
)

// tellingTime is how long telling may go on when the server stops: a part of
// it has two seconds to end.
const tellingTime = 1500 * time.Millisecond

// Telling returns a context for telling devices of what is already written
// down, which nobody else would tell them: it outlives ctx, but not for long.
// The caller calls cancel when it is done.
func Telling(ctx context.Context) (telling context.Context, cancel context.CancelFunc) {
	telling, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(tellingTime, end)
		context.AfterFunc(telling, func() { timer.Stop() })
	})
	return telling, func() {
		stop()
		end()
	}
}
