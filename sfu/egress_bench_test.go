package sfu

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/udp"
)

// BenchmarkEgress is the price of one 1,200-byte packet to one viewer, sealed with AES-GCM and handed to the kernel,
// by viewers and packets a burst. The receiving sockets are never read.
func BenchmarkEgress(b *testing.B) {
	for _, offload := range []bool{true, false} {
		for _, viewers := range []int{1, 10, 100, 300, 1000} {
			for _, packets := range []int{1, 4, 9} {
				b.Run(fmt.Sprintf("offload=%v/viewers=%d/burst=%d", offload, viewers, packets), func(b *testing.B) {
					benchEgress(b, offload, viewers, packets)
				})
			}
		}
	}
}

func benchEgress(b *testing.B, offload bool, viewers, packets int) {
	e := newEgressBench(b, udp.Config{WriteBuffer: socketBuffer, NoOffload: !offload}, seal.GCM128, viewers)
	b.ReportAllocs()
	for b.Loop() {
		e.frame(packets)
	}
	perPacket := float64(b.Elapsed().Nanoseconds()) / float64(b.N*viewers*packets)
	b.ReportMetric(perPacket, "ns/packet")
}

// egressBench is a bench whose viewers are sent to through the kernel.
type egressBench struct {
	*bench
	hold *time.Timer
}

func newEgressBench(tb testing.TB, cfg udp.Config, profile seal.Profile, viewers int) *egressBench {
	tb.Helper()
	conn := open(tb, cfg)
	e := &egressBench{bench: newBench(webrtc.MimeTypeVP8), hold: time.NewTimer(time.Hour)}
	tb.Cleanup(func() { e.hold.Stop() })
	e.shard = newShard(conn, maxBurst, 0, func() int64 { return e.now })
	e.fan.shard = e.shard
	for range viewers {
		e.join(tb, profile, open(tb, udp.Config{ReadBuffer: 2304}).LocalAddr())
	}
	return e
}

// join adds a viewer at an address. Its keys are zeros.
func (e *egressBench) join(tb testing.TB, profile seal.Profile, at netip.AddrPort) *downTrack {
	tb.Helper()
	salt := 12
	if profile == seal.AES128CMSHA1 {
		salt = 14
	}
	sender, err := seal.NewSender(profile, seal.Keys{Key: make([]byte, 16), Salt: make([]byte, salt)})
	if err != nil {
		tb.Fatal(err)
	}
	out := &egress{conn: e.shard.conn, shard: e.shard, sender: sender}
	out.aim(at)
	st := stream{ssrc: 1, payloadType: 96, rtxSSRC: 2, rtxPayloadType: 97}
	d := newDownTrack(e.layer.track, st, &sealed{egress: out, ssrc: 1}, newSeat())
	d.egress, d.pads = out, true
	e.shard.add(e.fan, d)
	return d
}

// frame takes so many packets from the camera to the viewers.
func (e *egressBench) frame(packets int) {
	for i := range packets {
		e.arrive(i == packets-1)
	}
	e.shard.collect(<-e.shard.queue, e.hold)
}

// arrive takes one packet from the camera as far as the shard's queue.
func (b *bench) arrive(end bool) {
	seq := binary.BigEndian.Uint16(b.raw[2:]) + 1
	binary.BigEndian.PutUint16(b.raw[2:], seq)
	b.raw[1] &^= 0x80
	if end {
		b.raw[1] |= 0x80
	}
	b.now += 3_000_000
	b.layer.receive(b.raw, b.now)
}

func open(tb testing.TB, cfg udp.Config) *udp.Conn {
	tb.Helper()
	c, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
