package sfu

import (
	"testing"
	"time"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/transport"
)

// TestAsksMeanwhile has nothing come of a camera after a gap: it is asked for what is missing all the same, and no more
// once that has come.
func TestAsksMeanwhile(t *testing.T) {
	t.Parallel()
	s, sess := stranger(t, simulcast{})
	sess.link, sess.uplink.hurry = &transport.Transport{}, s.informer.hurry
	s.mu.Lock()
	s.informer.add(sess)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.informer.remove(sess)
		s.mu.Unlock()
	}()
	send := func(seq uint16) {
		sess.ingress.mu.Lock()
		defer sess.ingress.mu.Unlock()
		sess.uplink.heard = s.clock()
		s.takeRTP(sess, packetWith(t, 7, 96, seq, payload(codec.VP8, seq == 1, 0, 1), nil), s.clock())
	}
	for _, seq := range []uint16{1, 3, 5} {
		send(seq)
	}
	done := make(chan struct{})
	defer close(done)
	go func() { // other cameras, which lose a packet again and again
		for tick := time.NewTicker(askTick / 5); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				signal(s.informer.hurry)
			}
		}
	}()
	asked := func() uint64 {
		sess.ingress.mu.Lock()
		defer sess.ingress.mu.Unlock()
		return sess.uplink.layers[0].reception.asked
	}
	eventually(t, "requests", func() bool { return asked() >= 4 })
	send(2)
	send(4)
	eventually(t, "rest", func() bool { return !sess.lacking.Load() })
}
