package sfu

import (
	"slices"
	"sync/atomic"
	"time"
)

// informer tells all publishers how their packets arrive, and asks them for what was lost while nothing comes that would
// have it asked for, from one goroutine: a timer for each camera would cost more than what it has to say.
type informer struct {
	publishers atomic.Pointer[[]*session] // replaced, never changed, under SFU.mu
	first      chan struct{}              // there is somebody to tell again
	hurry      chan struct{}              // there is somebody to ask for lost packets
	stop       chan struct{}
	overdue    []uint16 // owned by run
}

func newInformer() *informer {
	i := &informer{
		first: make(chan struct{}, 1), hurry: make(chan struct{}, 1), stop: make(chan struct{}), overdue: make([]uint16, 0, maxMissing),
	}
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

// run lives until stop is closed. Without publishers it sleeps. It looks often only while packets are missing: then a
// camera that sends a packet a frame, or none for a while, is asked for them as soon as one that sends many.
func (i *informer) run(clock func() int64) {
	tick, often := time.NewTicker(congestionInterval), time.NewTicker(askTick)
	defer tick.Stop()
	defer often.Stop()
	often.Stop()
	asking := false
	for n := uint64(0); ; {
		next := tick.C
		if len(*i.publishers.Load()) == 0 {
			next = nil
		}
		select {
		case <-i.stop:
			return
		case <-i.first:
			i.inform(n, clock)
			n++
		case <-next:
			i.inform(n, clock)
			n++
		case <-i.hurry:
			if !asking { // or those who come one after the other would put the next look off for ever
				often.Reset(askTick)
				asking = true
			}
		case <-often.C:
			if asking = i.askForLost(clock); !asking {
				often.Stop()
			}
		}
	}
}

// inform tells everybody how packets arrive, for the nth time.
func (i *informer) inform(n uint64, clock func() int64) {
	for _, sess := range *i.publishers.Load() {
		sess.inform(n, clock())
	}
}

// askForLost asks cameras for what they are overdue with. It reports whether somebody still lacks something.
func (i *informer) askForLost(clock func() int64) bool {
	lacking := false
	for _, sess := range *i.publishers.Load() {
		if sess.lacking.Load() {
			sess.askForLost(clock(), i.overdue)
			lacking = true
		}
	}
	return lacking
}
