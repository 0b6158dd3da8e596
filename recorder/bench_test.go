package recorder

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// nowhere is an object that costs nothing.
type nowhere struct{ size int64 }

func (o *nowhere) Write(p []byte) (int, error) {
	o.size += int64(len(p))
	return len(p), nil
}
func (*nowhere) WriteAt(p []byte, _ int64) (int, error)                   { return len(p), nil }
func (*nowhere) ReadAt([]byte, int64) (int, error)                        { return 0, io.EOF }
func (o *nowhere) Size() int64                                            { return o.size }
func (*nowhere) Truncate(int64) error                                     { return nil }
func (*nowhere) Commit(context.Context) error                             { return nil }
func (*nowhere) Abort(context.Context) error                              { return nil }
func (o *nowhere) Create(context.Context, string, string) (Object, error) { return o, nil }
func (o *nowhere) Resume(context.Context, string) (Object, error)         { return o, nil }

// BenchmarkFrame is the whole way of one picture of 8 kB, in eight packets, from WriteRTP into a cluster.
func BenchmarkFrame(b *testing.B) {
	var clock atomic.Int64
	g := start(b, "video/VP8", Config{
		Objects: &nowhere{}, Tracks: 1, KeyframeInterval: -1,
		Now: func() time.Time { return time.Unix(0, clock.Load()) },
	})
	payload := make([]byte, 1024)
	first := append([]byte{0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 1, 180, 0}, payload[11:]...)
	var h rtp.Header
	n := 0
	b.SetBytes(8 << 10)
	b.ReportAllocs()
	for b.Loop() {
		clock.Add(int64(33 * time.Millisecond))
		h.Timestamp += 2970
		first[1] = 0x11
		if n%60 == 0 {
			first[1] = 0x10
		}
		n++
		for i := range 8 {
			h.Marker = i == 7
			p := payload
			if i == 0 {
				p = first
			}
			if _, err := g.video.WriteRTP(&h, p); err != nil {
				b.Fatal(err)
			}
			h.SequenceNumber++
		}
		for len(g.queue) > cap(g.queue)/4 {
			runtime.Gosched()
		}
	}
	mustClose(b, g.Recording)
	if s := g.Stats(); s.Frames != uint64(n) {
		b.Fatalf("%d frames of %d: %+v", s.Frames, n, s)
	}
}
