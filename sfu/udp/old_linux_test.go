package udp_test

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/securecam/securecam/sfu/udp"
	"github.com/securecam/securecam/sfu/udp/udptest"
)

// TestOldKernelReads and TestOldKernelSends are on systems without the calls for many datagrams: sockets work all the
// same, one datagram a call.
func TestOldKernelReads(t *testing.T) { //nolint:paralleltest // in a process of its own
	udptest.Without(t, exchange, unix.SYS_RECVMMSG)
}

func TestOldKernelSends(t *testing.T) { //nolint:paralleltest // in a process of its own
	udptest.Without(t, exchange, unix.SYS_SENDMMSG)
}

func exchange(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::]:0"} {
		a, b := listen(t, addr, udp.Config{Gather: 2 * time.Millisecond}), listen(t, "127.0.0.1:0", udp.Config{})
		batch, to := a.NewBatch(), a.Addr(b.LocalAddr())
		for i := range 9 {
			copy(batch.Append(to, 1200), []byte{byte(i)})
		}
		batch.Flush()
		r := b.NewReader()
		for i := range 9 {
			got, from, err := r.Next()
			if err != nil || len(got) != 1200 || got[0] != byte(i) || from.Port() != a.LocalAddr().Port() {
				t.Fatalf("datagram %d is %d bytes from %v (%v)", i, len(got), from, err)
			}
		}
		if err := b.Send([]byte("back"), b.Addr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.LocalAddr().Port()))); err != nil {
			t.Fatal(err)
		}
		if got, _, err := a.NewReader().Next(); err != nil || string(got) != "back" {
			t.Errorf("got %q (%v)", got, err)
		}
		if s := a.Stats(); s.Offload || s.SendCalls != 9 || s.Refused != 0 {
			t.Errorf("stats are %+v", s)
		}
	}
}
