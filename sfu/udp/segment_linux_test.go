package udp

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// FuzzSegmentSize holds that no control message makes the reader look beyond it, and that what it says is what the
// kernel wrote.
func FuzzSegmentSize(f *testing.F) {
	message := func(level, kind int32, data ...byte) []byte {
		b := make([]byte, unix.CmsgSpace(len(data)))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(len(data)))
		copy(b[unix.CmsgLen(0):], data)
		return b
	}
	size := binary.NativeEndian.AppendUint16(nil, 1200)
	f.Add(message(unix.IPPROTO_UDP, unix.UDP_GRO, size...))
	f.Add(append(message(unix.SOL_SOCKET, 1, 1, 2, 3), message(unix.IPPROTO_UDP, unix.UDP_GRO, size...)...))
	f.Add(message(unix.IPPROTO_UDP, unix.UDP_GRO, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		aligned := make([]uint64, len(b)/8+1) // as the reader's is
		control := unsafe.Slice((*byte)(unsafe.Pointer(&aligned[0])), len(b))
		copy(control, b)
		if n := segmentSize(control); n < 0 || n > 1<<16-1 {
			t.Fatalf("segments of %d bytes", n)
		}
	})
}
