package sfu

import (
	"slices"
	"sync/atomic"
	"time"
)

// informer tells all publishers how their packets arrive, from one goroutine: a timer for each camera would cost more
// than what it has to say.
type informer struct {
	publishers atomic.Pointer[[]*session] // replaced, never changed, under SFU.mu
	first      chan struct{}              // there is somebody to tell again
	stop       chan struct{}
}

func newInformer() *informer {
	i := &informer{first: make(chan struct{}, 1), stop: make(chan struct{})}
	i.publishers.Store(&[]*session{})
	return i
}

// add has a publisher told from now on. Caller holds SFU.mu.
func (i *informer) add(sess *session) {
	old := *i.publishers.Load()
	list := append(slices.Clone(old), sess)
	i.publishers.Store(&list)
	if len(old) == 0 {
		select {
		case i.first <- struct{}{}:
		default:
		}
	}
}

// remove undoes add; what is being said just now may still reach the camera. Caller holds SFU.mu.
func (i *informer) remove(sess *session) {
	list := slices.DeleteFunc(slices.Clone(*i.publishers.Load()), func(o *session) bool { return o == sess })
	i.publishers.Store(&list)
}

// run lives until stop is closed. Without publishers it sleeps.
func (i *informer) run(clock func() int64) {
	tick := time.NewTicker(congestionInterval)
	defer tick.Stop()
	for n := uint64(0); ; n++ {
		publishers := *i.publishers.Load()
		for _, sess := range publishers {
			sess.inform(n, clock())
		}
		next := tick.C
		if len(publishers) == 0 {
			next = nil
		}
		select {
		case <-i.stop:
			return
		case <-i.first:
		case <-next:
		}
	}
}
