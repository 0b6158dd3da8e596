package seal

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// TestChecksums sends many packets of several streams through a sender and a receiver, with a checksum on each.
func TestChecksums(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loop := newChecksumLoop(t, p)
			for range 150_000 {
				loop.step(t)
			}
		})
	}
}

// checksumLoop passes packets from a sender to a receiver.
type checksumLoop struct {
	s            *Sender
	r            *Receiver
	header, body []byte
	slot         []byte
	n            uint64
}

func newChecksumLoop(tb testing.TB, p Profile) *checksumLoop {
	tb.Helper()
	l := &checksumLoop{header: make([]byte, 12), body: make([]byte, 1200), slot: make([]byte, 1500)}
	l.s, l.r = pair(tb, p)
	l.header[0], l.header[1] = 0x80, 96
	return l
}

func (l *checksumLoop) step(tb testing.TB) {
	tb.Helper()
	const streams = 7
	index := 1000 + l.n/streams
	size := 100 + int(l.n*31%1100)
	l.n++
	binary.BigEndian.PutUint16(l.header[2:], uint16(index))
	binary.BigEndian.PutUint32(l.header[8:], uint32(l.n%streams))
	body := l.body[:size]
	binary.BigEndian.PutUint64(body, l.n)
	binary.BigEndian.PutUint32(body[size-4:], crc32.ChecksumIEEE(body[:size-4]))
	n := l.s.RTPPadded(l.slot, l.header, body, int(l.n%5), index)
	plain, ok := l.r.RTP(l.slot[:n])
	if !ok {
		tb.Fatalf("packet %d refused", l.n)
	}
	got := plain[12:][:size]
	if binary.BigEndian.Uint64(got) != l.n || crc32.ChecksumIEEE(got[:size-4]) != binary.BigEndian.Uint32(got[size-4:]) {
		tb.Fatalf("packet %d is wrong", l.n)
	}
}
