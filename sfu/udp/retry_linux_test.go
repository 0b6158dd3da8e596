package udp

import (
	"net/netip"
	"testing"
)

// TestRetry has the kernel refuse a message for good: more segments than it
// ever splits. They must arrive one by one, and later bursts as single
// datagrams.
func TestRetry(t *testing.T) {
	t.Parallel()
	open := func() *Conn {
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
	a, b := open(), open()
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
