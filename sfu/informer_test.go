package sfu

import (
	"bytes"
	"testing"
	"time"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/seal"
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

// TestAsksWithoutTheLock has a request for lost packets take long to go out: what the camera sends meanwhile is taken.
func TestAsksWithoutTheLock(t *testing.T) {
	t.Parallel()
	s, sess := stranger(t, simulcast{})
	sess.link, sess.uplink.hurry = &transport.Transport{}, make(chan struct{}, 1)
	sender, err := seal.NewSender(seal.GCM128, seal.Keys{Key: make([]byte, 16), Salt: make([]byte, 12)})
	if err != nil {
		t.Fatal(err)
	}
	sess.ingress.mu.Lock()
	for _, seq := range []uint16{1, 3, 5} {
		s.takeRTP(sess, packetWith(t, 7, 96, seq, payload(codec.VP8, seq == 1, 0, 1), nil), 1)
	}
	sess.ingress.mu.Unlock()
	saying, said := make(chan []byte), make(chan struct{})
	sess.down.egress = &egress{sender: sender, slow: func(b []byte) error {
		saying <- bytes.Clone(b)
		<-said
		return nil
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		sess.askForLost(int64(time.Second), make([]uint16, 0, maxMissing))
	}()
	<-saying
	eventually(t, "the lock", func() bool {
		if !sess.ingress.mu.TryLock() {
			return false
		}
		defer sess.ingress.mu.Unlock()
		s.takeRTP(sess, packetWith(t, 7, 96, 6, payload(codec.VP8, false, 0, 1), nil), 2)
		return true
	})
	close(said)
	<-done
	if !sess.lacking.Load() {
		t.Error("what was asked for is forgotten")
	}
}
