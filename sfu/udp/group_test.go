package udp_test

import (
	"errors"
	"net/netip"
	"runtime"
	"syscall"
	"testing"

	"github.com/securecam/securecam/sfu/udp"
)

// TestGroup has many send to a group's port: what one sends comes to one socket, in order, the sockets share the work,
// and what any of them sends comes from the port.
func TestGroup(t *testing.T) {
	t.Parallel()
	const size, senders, each = 3, 60, 5
	for _, addr := range []string{"127.0.0.1:0", "[::]:0"} {
		group, err := udp.ListenGroup(netip.MustParseAddrPort(addr), size, udp.Config{ReadBuffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: size, false: 1}[runtime.GOOS == "linux"]; len(group) != want {
			t.Fatalf("%d sockets, want %d", len(group), want)
		}
		port := group[0].LocalAddr().Port()
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
		ours := make(map[uint16]bool) // the senders' ports
		for i := range senders {
			from := listen(t, "127.0.0.1:0", udp.Config{})
			for n := range each {
				if err := from.Send([]byte{byte(i), byte(n)}, from.Addr(at)); err != nil {
					t.Fatal(err)
				}
			}
			to := group[i%len(group)]
			if err := to.Send([]byte("back"), group[0].Addr(from.LocalAddr())); err != nil {
				t.Fatal(err)
			}
			r := from.NewReader()
			b, back, err := r.Next()
			for err == nil && back.Port() != port { // meant for who had this port before
				b, back, err = r.Next()
			}
			if err != nil || string(b) != "back" {
				t.Fatalf("%q from %v: %v", b, back, err)
			}
			ours[from.LocalAddr().Port()] = true
		}
		got := make([]map[byte]byte, len(group)) // of each socket: how many of each sender
		done := make(chan error, len(group))
		total := make(chan int)
		for i, c := range group {
			got[i] = make(map[byte]byte)
			go func() {
				for r := c.NewReader(); ; {
					b, from, err := r.Next()
					if err != nil {
						done <- err
						return
					}
					if !ours[from.Port()] {
						continue
					}
					if b[1] != got[i][b[0]] {
						t.Errorf("datagram %d of sender %d came as number %d to socket %d", b[1], b[0], got[i][b[0]], i)
					}
					got[i][b[0]]++
					total <- 1
				}
			}()
		}
		for range senders * each {
			<-total
		}
		for _, c := range group {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := <-done; !errors.Is(err, udp.ErrClosed) {
				t.Error(err)
			}
		}
		for i := range got {
			if len(group) > 1 && (len(got[i]) == 0 || len(got[i]) == senders) {
				t.Errorf("socket %d heard %d of %d senders", i, len(got[i]), senders)
			}
		}
	}
}

// TestGroupIsAlone has a port belong to one group: who opens it again hears that it is in use.
func TestGroupIsAlone(t *testing.T) {
	t.Parallel()
	group, err := udp.ListenGroup(netip.MustParseAddrPort("127.0.0.1:0"), 2, udp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2} {
		if again, err := udp.ListenGroup(group[0].LocalAddr(), n, udp.Config{}); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%d sockets beside a group: %v, %v", n, again, err)
		}
	}
	for _, c := range group {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	alone := listen(t, "127.0.0.1:0", udp.Config{})
	if again, err := udp.ListenGroup(alone.LocalAddr(), 2, udp.Config{}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a group beside a socket: %v, %v", again, err)
	}
}
