package udp

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func listenHere(t *testing.T) *Conn {
	t.Helper()
	c, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Config{ReadBuffer: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestRetry has the kernel refuse a message for good: more segments than it
// ever splits. They must arrive one by one, and later bursts as single
// datagrams.
func TestRetry(t *testing.T) {
	t.Parallel()
	a, b := listenHere(t), listenHere(t)
	batch, to := a.NewBatch(), a.Addr(b.LocalAddr())
	const segments, size = 200, 50
	m := message{to: to, size: segments * size, segment: size, segments: segments}
	for i := range segments {
		batch.arena[i*size] = byte(i)
	}
	batch.msgs[0], batch.count, batch.used = m, 1, m.size
	batch.Flush()

	r := b.NewReader()
	for i := range segments {
		got, _, err := r.Next()
		if err != nil || len(got) != size || got[0] != byte(i) {
			t.Fatalf("datagram %d is %d bytes beginning with %d (%v)", i, len(got), got[0], err)
		}
	}
	if s := a.Stats(); !s.Offload || s.Sent != segments || s.Refused != 0 {
		t.Errorf("stats are %+v, want everything sent and the offload on for others", s)
	}
	batch.Append(to, 100)
	batch.Append(to, 100)
	if batch.count != 2 {
		t.Errorf("two datagrams became %d messages after the offload failed, want 2", batch.count)
	}
	batch.Flush()
}

// TestRetryWithoutOffload has a network card say that it splits nothing: what it was given goes out one by one, and no
// message to anybody is to be split any more.
func TestRetryWithoutOffload(t *testing.T) {
	t.Parallel()
	a, b := listenHere(t), listenHere(t)
	batch, to, other := a.NewBatch(), a.Addr(b.LocalAddr()), a.Addr(b.LocalAddr())
	const segments = 9
	for i := range segments {
		copy(batch.Append(to, 1200), []byte{byte(i)})
	}
	s, ok := a.socket.(*linuxSocket)
	if !ok || batch.count != 1 || !a.Stats().Offload {
		t.Fatalf("%d messages, %+v", batch.count, a.Stats())
	}
	s.retry(a, batch, &batch.msgs[0], unix.EIO)
	batch.used, batch.count = 0, 0
	if st := a.Stats(); st.Offload || st.Sent != segments || st.Refused != 0 {
		t.Errorf("stats are %+v", st)
	}
	for _, addr := range []*Addr{to, other} {
		copy(batch.Append(addr, 1200), []byte{segments})
		copy(batch.Append(addr, 1200), []byte{segments})
	}
	if batch.count != 4 {
		t.Errorf("four datagrams became %d messages", batch.count)
	}
	batch.Flush()
	r := b.NewReader()
	for i := range segments + 4 {
		got, _, err := r.Next()
		if err != nil || len(got) != 1200 || got[0] != byte(min(i, segments)) {
			t.Fatalf("datagram %d is %d bytes beginning with %d (%v)", i, len(got), got[0], err)
		}
	}
}
