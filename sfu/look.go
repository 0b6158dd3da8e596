package sfu

import (
	"sync/atomic"
	"time"
)

// snapshotWait is how long shards may take to tell of their down tracks, all of them together.
const snapshotWait = 500 * time.Millisecond

// look is something that a shard is asked to tell.
type look struct {
	taken   atomic.Bool // by the shard, or by who has given it up
	givenUp atomic.Bool
	done    chan struct{}
}

// look has f done by the shard, once or, if who waits for it gives it up, never.
func (s *shard) look(f func()) *look {
	l := &look{done: make(chan struct{})}
	s.post(func() {
		defer close(l.done)
		if l.taken.CompareAndSwap(false, true) {
			f()
		}
	})
	return l
}

// stuck reports whether it was given up, and the shard has not come to it since. A nil look is not.
func (l *look) stuck() bool {
	if l == nil || !l.givenUp.Load() {
		return false
	}
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// await waits for all looks, but not for shards that wait themselves: what those were asked has not been done then, and
// will not be.
func await(looks []*look, patience time.Duration) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	late := false
	for _, l := range looks {
		if !late {
			select {
			case <-l.done:
				continue
			case <-timer.C:
				late = true
			}
		}
		if l.taken.CompareAndSwap(false, true) {
			l.givenUp.Store(true)
		} else {
			<-l.done // it has begun, and does not take long
		}
	}
}
