package udp_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/sfu/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var kinds = []struct {
	name string
	cfg  udp.Config
}{
	{"system", udp.Config{}},
	{"no-offload", udp.Config{NoOffload: true}},
	{"gather", udp.Config{Gather: 2 * time.Millisecond}},
	{"portable", udp.Config{Portable: true}},
}

func each(t *testing.T, f func(t *testing.T, cfg udp.Config)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			f(t, k.cfg)
		})
	}
}

func listen(tb testing.TB, addr string, cfg udp.Config) *udp.Conn {
	tb.Helper()
	cfg.ReadBuffer = 4 << 20
	c, err := udp.Listen(netip.MustParseAddrPort(addr), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, udp.ErrClosed) {
			tb.Error(err)
		}
	})
	return c
}

func TestSendAndReceive(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			a, b := listen(t, addr, cfg), listen(t, addr, cfg)
			if err := a.Send([]byte("hello"), a.Addr(b.LocalAddr())); err != nil {
				t.Fatal(err)
			}
			got, from, err := b.NewReader().Next()
			if err != nil || string(got) != "hello" || from != a.LocalAddr() {
				t.Errorf("got %q from %v (%v), want hello from %v", got, from, err, a.LocalAddr())
			}
		}
	})
}

// TestBothFamilies holds that the wildcard socket speaks IPv4 as IPv4, not as
// mapped addresses.
func TestBothFamilies(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		wild := listen(t, "[::]:0", cfg)
		reader := wild.NewReader()
		for _, ip := range []string{"127.0.0.1", "::1"} {
			peer := listen(t, netip.AddrPortFrom(netip.MustParseAddr(ip), 0).String(), cfg)
			to := netip.AddrPortFrom(netip.MustParseAddr(ip), wild.LocalAddr().Port())
			if err := peer.Send([]byte(ip), peer.Addr(to)); err != nil {
				t.Fatal(err)
			}
			got, from, err := reader.Next()
			if err != nil || string(got) != ip || from != peer.LocalAddr() {
				t.Fatalf("got %q from %v (%v), want it from %v", got, from, err, peer.LocalAddr())
			}
			if err := wild.Send([]byte("back"), wild.Addr(from)); err != nil {
				t.Fatal(err)
			}
			if got, _, err := peer.NewReader().Next(); err != nil || string(got) != "back" {
				t.Errorf("got %q (%v), want the reply", got, err)
			}
		}
	})
}

// TestBatch sends bursts of mixed lengths to several receivers: each gets its
// own datagrams whole and in order.
func TestBatch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		const receivers, rounds = 5, 40
		sender := listen(t, "127.0.0.1:0", cfg)
		batch := sender.NewBatch()
		random := rand.New(rand.NewPCG(1, 2))
		conns := make([]*udp.Conn, receivers)
		addrs := make([]*udp.Addr, receivers)
		want := make([][][]byte, receivers)
		for i := range conns {
			conns[i] = listen(t, "127.0.0.1:0", cfg)
			addrs[i] = sender.Addr(conns[i].LocalAddr())
		}
		for round := range rounds {
			for i := range receivers {
				for k := range 1 + random.IntN(12) {
					n := 1200
					if random.IntN(3) == 0 {
						n = 1 + random.IntN(udp.MaxSegment)
					}
					p := fmt.Appendf(nil, "%d %d %d ", round, i, k)
					p = append(p, bytes.Repeat([]byte{byte(k)}, max(n-len(p), 0))...)
					copy(batch.Append(addrs[i], len(p)), p)
					want[i] = append(want[i], p)
				}
			}
			batch.Flush()
		}
		for i, c := range conns {
			r := c.NewReader()
			for k, w := range want[i] {
				got, _, err := r.Next()
				if err != nil || !bytes.Equal(got, w) {
					t.Fatalf("receiver %d, datagram %d: got %d bytes %.12q (%v), want %d %.12q", i, k, len(got), got, err, len(w), w)
				}
			}
		}
		if s := sender.Stats(); s.Refused != 0 {
			t.Errorf("the kernel refused %d datagrams", s.Refused)
		}
	})
}

// TestOffload holds that a burst to one receiver is one message on Linux.
func TestOffload(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Log("segmentation offload is Linux's; other systems send one by one")
		return
	}
	a, b := listen(t, "127.0.0.1:0", udp.Config{}), listen(t, "127.0.0.1:0", udp.Config{})
	if !a.Stats().Offload {
		t.Fatal("this kernel has no UDP_SEGMENT")
	}
	batch, to := a.NewBatch(), a.Addr(b.LocalAddr())
	for range 9 {
		batch.Append(to, 1200)
	}
	batch.Append(to, 100)
	batch.Flush()
	reader := b.NewReader()
	for i := range 10 {
		want := 1200
		if i == 9 {
			want = 100
		}
		if got, _, err := reader.Next(); err != nil || len(got) != want {
			t.Fatalf("datagram %d has %d bytes (%v), want %d", i, len(got), err, want)
		}
	}
	if sent, read := a.Stats(), b.Stats(); sent.SendCalls != 1 || read.ReadCalls != 1 {
		t.Errorf("it took %d calls to send and %d to read ten datagrams, want 1 and 1", sent.SendCalls, read.ReadCalls)
	}
}

func TestAppendLimits(t *testing.T) {
	t.Parallel()
	c := listen(t, "127.0.0.1:0", udp.Config{})
	b, to := c.NewBatch(), c.Addr(c.LocalAddr())
	for _, n := range []int{-1, 0, udp.MaxSegment + 1} {
		if got := b.Append(to, n); got != nil {
			t.Errorf("Append of %d bytes made room for %d", n, len(got))
		}
	}
	// More than a batch holds flushes by itself.
	for range 1000 {
		b.Append(to, udp.MaxSegment)
	}
	if b.Len() > 1000 || c.Stats().Sent == 0 {
		t.Errorf("%d datagrams wait and %d are sent, want a flush on the way", b.Len(), c.Stats().Sent)
	}
}

// TestRefused holds that a datagram which the kernel refuses costs only itself.
func TestRefused(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		a, b := listen(t, "127.0.0.1:0", cfg), listen(t, "127.0.0.1:0", cfg)
		batch := a.NewBatch()
		nowhere := a.Addr(netip.MustParseAddrPort("127.0.0.1:0")) // port 0 is invalid
		good := a.Addr(b.LocalAddr())
		copy(batch.Append(nowhere, 4), "lost")
		copy(batch.Append(good, 4), "good")
		copy(batch.Append(nowhere, 4), "lost")
		copy(batch.Append(good, 4), "last")
		batch.Flush()
		r := b.NewReader()
		for _, want := range []string{"good", "last"} {
			if got, _, err := r.Next(); err != nil || string(got) != want {
				t.Errorf("got %q (%v), want %q", got, err, want)
			}
		}
		if s := a.Stats(); s.Refused != 2 || s.Sent != 2 {
			t.Errorf("stats are %+v, want 2 sent and 2 refused", s)
		}
	})
}

func TestCloseWakesReaders(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		c := listen(t, "127.0.0.1:0", cfg)
		var started, ended sync.WaitGroup
		for range 2 {
			started.Add(1)
			ended.Go(func() {
				r := c.NewReader()
				started.Done()
				if _, _, err := r.Next(); !errors.Is(err, udp.ErrClosed) {
					t.Errorf("got %v, want ErrClosed", err)
				}
			})
		}
		started.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		ended.Wait()
		if err := c.Send([]byte("x"), c.Addr(c.LocalAddr())); !errors.Is(err, udp.ErrClosed) {
			t.Errorf("Send after Close returned %v, want ErrClosed", err)
		}
		if err := c.Close(); !errors.Is(err, udp.ErrClosed) {
			t.Errorf("the second Close returned %v, want ErrClosed", err)
		}
	})
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, cfg udp.Config) {
		c := listen(t, "127.0.0.1:0", cfg)
		if second, err := udp.Listen(c.LocalAddr(), cfg); err == nil {
			t.Error("two sockets listen on one port", second.Close())
		}
	})
}

func TestBatchAllocatesNothing(t *testing.T) {
	a, b := listen(t, "127.0.0.1:0", udp.Config{}), listen(t, "127.0.0.1:0", udp.Config{})
	batch, to, reader := a.NewBatch(), a.Addr(b.LocalAddr()), b.NewReader()
	allocs := testing.AllocsPerRun(100, func() {
		for range 9 {
			batch.Append(to, 1200)
		}
		batch.Flush()
		for range 9 {
			if _, _, err := reader.Next(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("a burst of nine costs %v allocations, want none", allocs)
	}
}

// BenchmarkBatch is the price of a 1,200-byte datagram by burst length, to a
// socket that is never read.
func BenchmarkBatch(b *testing.B) {
	for _, k := range kinds {
		for _, burst := range []int{1, 4, 9, 16} {
			b.Run(fmt.Sprintf("%s/burst=%d", k.name, burst), func(b *testing.B) {
				a := listen(b, "127.0.0.1:0", k.cfg)
				to := make([]*udp.Addr, 100)
				for i := range to {
					sink, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Config{ReadBuffer: 2304})
					if err != nil {
						b.Fatal(err)
					}
					defer func() { _ = sink.Close() }()
					to[i] = a.Addr(sink.LocalAddr())
				}
				batch := a.NewBatch()
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					if n%burst == 0 && n%(burst*len(to)) == 0 {
						batch.Flush()
					}
					batch.Append(to[n/burst%len(to)], 1200)
					n++
				}
				batch.Flush()
			})
		}
	}
}
