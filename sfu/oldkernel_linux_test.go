package sfu

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/securecam/securecam/sfu/udp/udptest"
)

// TestOldKernel has media go its whole way on a system without the calls for many datagrams, as in some sandboxes.
func TestOldKernel(t *testing.T) { //nolint:paralleltest // in a process of its own
	udptest.Without(t, func(t *testing.T) {
		s := newSFU(t)
		c := publishCamera(t, s, "m", vp8, opus)
		c.run()
		w := watch(t, s, "m", "v", video, audio)
		continuous(t, w.await(video, 60))
		w.await(audio, 20)
		if st := s.Stats().Socket; st.Offload || st.Faults > 0 || st.Refused > 0 || st.ReadCalls < st.Received {
			t.Errorf("stats %+v", st)
		}
	}, unix.SYS_RECVMMSG, unix.SYS_SENDMMSG)
}
