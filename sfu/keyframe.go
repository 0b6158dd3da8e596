package sfu

import (
	"sync/atomic"
	"time"
)

// keyframes asks a layer's camera for keyframes. However many ask for one, the camera hears of it at most once an
// interval, and again, ever more slowly, until a keyframe arrives (RFC 4585, section 6.3.1: a PLI may be lost).
type keyframes struct {
	interval time.Duration
	send     func() // writes one PLI

	wanted   atomic.Bool
	answered atomic.Bool // a keyframe came since the last request
	wake     chan struct{}
}

// maxBackoff is how many intervals pass between requests that a camera ignores.
const maxBackoff = 8

func newKeyframes(interval time.Duration, send func()) *keyframes {
	return &keyframes{interval: interval, send: send, wake: make(chan struct{}, 1)}
}

// request wants a keyframe. It never blocks.
func (k *keyframes) request() {
	if k.wanted.CompareAndSwap(false, true) {
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// arrived says that a keyframe begins.
func (k *keyframes) arrived() {
	if k.wanted.Load() {
		k.answered.Store(true)
		k.wanted.Store(false)
	}
}

// run sends what is requested until done is closed.
func (k *keyframes) run(done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	<-timer.C
	for {
		select {
		case <-done:
			return
		case <-k.wake:
		}
		for wait := k.interval; k.wanted.Load(); wait = min(2*wait, maxBackoff*k.interval) {
			if k.answered.Swap(false) { // and wanted again since
				wait = k.interval
			}
			k.send()
			timer.Reset(wait)
			select {
			case <-done:
				return
			case <-timer.C:
			}
		}
	}
}
