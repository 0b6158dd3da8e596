package udp

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestGatheringFollowsLoad drives a reader's rule through synthetic time.
func TestGatheringFollowsLoad(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const pause = 2 * time.Millisecond
	const looks = 2 * int(gatherWindow/pause)
	g := gathering{since: now}
	busy := func() { // a wake every quarter of a millisecond, or a look that finds as much
		for range 2 * gatherWindow / (250 * time.Microsecond) {
			now = now.Add(250 * time.Microsecond)
			g.looked(1, now, pause)
		}
	}
	busy()
	if !g.on {
		t.Fatal("a reader that wakes 4,000 times a second goes on doing so")
	}
	for range looks { // looks that all find something: three in four
		for _, messages := range []int{1, 2, 2, 0} {
			now = now.Add(pause)
			g.looked(messages, now, pause)
		}
	}
	if !g.on {
		t.Fatal("looks were given up that mostly found something")
	}
	for i := range looks {
		now = now.Add(pause)
		g.looked(8*(1-min(i%4, 1)), now, pause)
	}
	if g.on {
		t.Fatal("a reader goes on looking in vain")
	}
	for range 500 { // one camera's packets
		now = now.Add(3 * time.Millisecond / 2)
		if g.looked(1, now, pause); g.on {
			t.Fatal("666 wakes a second are too many")
		}
	}
	busy()
	for i := range looks { // the same after a large frame
		now = now.Add(pause)
		g.looked(min(i%4, 1), now, pause)
	}
	if g.on {
		t.Fatal("a reader goes on looking for fewer messages than looks")
	}
	busy()
	now = now.Add(time.Hour)
	if g.looked(1, now, pause); g.on {
		t.Fatal("the first datagram after an hour was waited for with looks")
	}
}

// TestGatheringChanges compares what looked reports with what it does.
func TestGatheringChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		g := gathering{since: now}
		on := false
		for range rapid.IntRange(0, 500).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.IntRange(0, int(20*time.Millisecond)).Draw(t, "pause")))
			rest := rapid.SampledFrom([]time.Duration{0, time.Millisecond, 5 * time.Millisecond}).Draw(t, "rest")
			if g.looked(rapid.IntRange(0, 3).Draw(t, "messages"), now, rest) {
				on = !on
			}
			if on != g.on || on && rest == 0 {
				t.Fatalf("on is %v, reported was %v", g.on, on)
			}
		}
	})
}

// TestGathers sends so much, in so many small pieces, that the reader gathers, and then one datagram alone: all must
// come, in order, and what is closed while the reader rests is closed at once.
func TestGathers(t *testing.T) {
	t.Parallel()
	open := func(cfg Config) *Conn {
		cfg.ReadBuffer = 1 << 20
		c, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	in, out := open(Config{Gather: 2 * time.Millisecond}), open(Config{})
	r := in.NewReader().(*linuxReader) //nolint:forcetypeassert // of this system
	to := out.Addr(in.LocalAddr())
	var b [8]byte
	sent := uint64(0)
	step := func(pause time.Duration) {
		sent++
		binary.BigEndian.PutUint64(b[:], sent)
		if err := out.Send(b[:], to); err != nil {
			t.Fatal(err)
		}
		<-time.After(pause)
		got, _, err := r.Next()
		if err != nil || binary.BigEndian.Uint64(got) != sent {
			t.Fatalf("datagram %d is %x, %v", sent, got, err)
		}
	}
	// A reader that looks and is told not to gather any more waits for each datagram.
	r.gather.on = true
	if err := r.heed(false); err != nil {
		t.Fatal(err)
	}
	in.Gather(0)
	step(0)
	step(0)
	if r.gather.on || !r.heeds {
		t.Fatal("the reader goes on looking")
	}
	in.Gather(2 * time.Millisecond)
	// Whether a rate is reached is up to the machine: the rule has its own test.
	for _, on := range []bool{true, false, true} {
		r.gather.on = on
		if err := r.heed(!on); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			step(0)
		}
		step(2 * gatherWindow)
		step(2 * gatherWindow)
		if r.gather.on {
			t.Fatal("the reader still looks, though hardly anything comes")
		}
	}
	r.gather.on = true
	closed := make(chan error)
	go func() {
		_, _, err := r.Next()
		closed <- err
	}()
	if err := errors.Join(in.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestReaderWakesAgain has the system refuse once to wake a reader that has stopped looking: it is asked again.
func TestReaderWakesAgain(t *testing.T) {
	t.Parallel()
	in, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Config{Gather: 2 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	r := in.NewReader().(*linuxReader) //nolint:forcetypeassert // of this system
	change := func(operation int) {
		var err error
		nothing := unix.EpollEvent{Fd: int32(r.socket.fd)}
		gone := r.watch.ready.Control(func(fd uintptr) { err = unix.EpollCtl(int(fd), operation, r.socket.fd, &nothing) })
		if err = errors.Join(gone, err); err != nil {
			t.Fatal(err)
		}
	}
	if r.gather.on = true; r.heed(false) != nil {
		t.Fatal("the watch cannot be changed")
	}
	change(unix.EPOLL_CTL_DEL)
	if b, _, err := r.Next(); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("got %x, %v", b, err)
	}
	change(unix.EPOLL_CTL_ADD)
	got := make(chan error, 1)
	go func() {
		_, _, err := r.Next()
		got <- err
	}()
	if err := in.Send([]byte("at last"), in.Addr(in.LocalAddr())); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the reader sleeps for ever")
	}
}
