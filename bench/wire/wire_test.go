package wire

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/sfu/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type datagram struct {
	data string
	from netip.AddrPort
	at   int64
}

func open(t *testing.T, p *Poller) (*Socket, chan datagram) {
	t.Helper()
	got := make(chan datagram, 1000)
	s, err := p.Open(netip.MustParseAddrPort("127.0.0.1:0"), func(b []byte, from netip.AddrPort, at int64) {
		got <- datagram{string(b), from, at}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return s, got
}

func newPoller(t *testing.T, cfg Config) *Poller {
	t.Helper()
	p, err := NewPoller(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func receive(t *testing.T, got chan datagram) datagram {
	t.Helper()
	select {
	case d := <-got:
		return d
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrived in 10 s")
		return datagram{}
	}
}

func TestSockets(t *testing.T) {
	t.Parallel()
	for name, interval := range map[string]time.Duration{"woken": 0, "polling": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPoller(t, Config{Readers: 2})
			p.SetInterval(interval)
			a, atA := open(t, p)
			b, atB := open(t, p)
			before := time.Now().UnixNano()
			for range 100 {
				if err := a.Send([]byte("ping"), b.LocalAddr()); err != nil {
					t.Fatal(err)
				}
				d := receive(t, atB)
				if d.data != "ping" || d.from != a.LocalAddr() || d.at < before || d.at > time.Now().UnixNano() {
					t.Fatalf("received %+v from %v", d, a.LocalAddr())
				}
				if err := b.Send([]byte("pong"), d.from); err != nil {
					t.Fatal(err)
				}
				receive(t, atA)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if err := a.Send([]byte("ping"), b.LocalAddr()); err == nil {
				t.Error("a closed socket sends")
			}
			if b.Dropped() != 0 {
				t.Errorf("%d datagrams were dropped", b.Dropped())
			}
		})
	}
}

// TestJoined sends bursts that the kernel hands over as one message.
func TestJoined(t *testing.T) {
	t.Parallel()
	p := newPoller(t, Config{})
	s, got := open(t, p)
	c, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	batch, to := c.NewBatch(), c.Addr(s.LocalAddr())
	sizes := []int{900, 900, 900, 900, 10, 900, 900}
	for i, n := range sizes {
		batch.Append(to, n)[0] = byte(i)
	}
	batch.Flush()
	for i, n := range sizes {
		if d := receive(t, got); len(d.data) != n || d.data[0] != byte(i) {
			t.Fatalf("datagram %d has %d bytes beginning with %d", i, len(d.data), d.data[0])
		}
	}
}

func TestWrongAddress(t *testing.T) {
	t.Parallel()
	p := newPoller(t, Config{})
	if _, err := p.Open(netip.MustParseAddrPort("[::1]:0"), nil); err == nil {
		t.Error("a socket opened on an IPv6 address")
	}
	s, _ := open(t, p)
	if err := s.Send([]byte("x"), netip.AddrPortFrom(netip.IPv6Loopback(), 9)); err == nil {
		t.Error("a datagram went to an IPv6 address")
	}
	if _, err := p.Open(s.LocalAddr(), nil); err == nil {
		t.Error("a port opened twice")
	}
}
