package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/transport"
	"github.com/securecam/securecam/sfu/udp"
)

// The law of the hot path, from the read buffer to the kernel: a packet costs no allocation. Its parts below this
// package have tests of the same name; allocations are counted for the whole process, so none of them is parallel.

// TestForwardAllocatesNothing goes from the layer to the Sinks, however many there are.
func TestForwardAllocatesNothing(t *testing.T) {
	for _, mime := range []string{webrtc.MimeTypeVP8, webrtc.MimeTypeVP9, webrtc.MimeTypeH264, webrtc.MimeTypeAV1} {
		for _, n := range []int{1, 10, 100, 1000} {
			sink := &countingSink{}
			sinks := make([]Sink, n)
			for i := range sinks {
				sinks[i] = sink
			}
			b := newBench(mime, sinks...)
			b.packet() // the first packet grows what is reused
			if got := testing.AllocsPerRun(500, b.packet); got != 0 {
				t.Errorf("%s to %d: %v allocations a packet", mime, n, got)
			}
			if sink.packets != 502*n {
				t.Errorf("%s to %d: %d packets sent", mime, n, sink.packets)
			}
		}
	}
}

// TestEgressAllocatesNothing goes on to the kernel: a frame of nine packets, sealed for each viewer and sent.
func TestEgressAllocatesNothing(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  udp.Config
	}{{"system", udp.Config{}}, {"no offload", udp.Config{NoOffload: true}}, {"portable", udp.Config{Portable: true}}} {
		for _, profile := range []seal.Profile{seal.GCM128, seal.AES128CMSHA1} {
			for _, viewers := range []int{1, 10, 100} {
				e := newEgressBench(t, tt.cfg, profile, viewers)
				e.frame(9)
				if got := testing.AllocsPerRun(50, func() { e.frame(9) }); got != 0 {
					t.Errorf("%s, %s, %d viewers: %v allocations a frame", tt.name, profileName(profile), viewers, got)
				}
				// What the kernel has no room for is refused, and costs as much.
				if c := e.layer.track.counters.load(); c.PacketsOut != uint64(52*9*viewers) || c.WriteErrors > 0 {
					t.Errorf("%s, %s, %d viewers: counters %+v", tt.name, profileName(profile), viewers, c)
				}
			}
		}
	}
}

// TestRetransmissionAllocatesNothing answers a NACK from the history: over the stream for it, sealed and sent.
func TestRetransmissionAllocatesNothing(t *testing.T) {
	e := newEgressBench(t, udp.Config{}, seal.GCM128, 1)
	for range 20 {
		e.frame(9)
	}
	d, at := e.fan.downs[0], time.Hour
	ask := func() {
		at += time.Second
		if !e.shard.ask(missing{down: d, pid: d.newest - 20, blp: 0xffff, at: at}) {
			t.Fatal("too many wait")
		}
		e.shard.act()
		e.shard.flush()
	}
	ask()
	ask() // the two queues take turns
	if got := testing.AllocsPerRun(100, ask); got != 0 {
		t.Errorf("%v allocations an answer", got)
	}
	if d.resent != 103*17 {
		t.Errorf("%d packets sent again of %d asked for", d.resent, d.nacks)
	}
}

// TestIngestAllocatesNothing goes from the read buffer to the history: the packet is opened where it lies, numbered for
// feedback, parsed and kept.
func TestIngestAllocatesNothing(t *testing.T) {
	const numberAt, ssrc, packets = 3, 55, 2000
	b := newBench(webrtc.MimeTypeVP8)
	sender, receiver := sealPair(t)
	sess := &session{
		role: publish, specs: []spec{{kind: video, payloadType: 100}},
		sections: []transport.Section{{Extensions: []transport.Extension{{ID: numberAt, URI: sdp.TransportCCURI}}}},
	}
	sess.uplink = newUplink(receiver, sess.congestionExtension())
	sess.uplink.layers = []*layer{b.layer}
	b.layer.reception = reception{ssrc: ssrc, clockRate: 90000}
	p := &peer{sfu: &SFU{socket: &socket{}}, session: sess}
	sealed := make([][]byte, packets)
	for i := range sealed {
		h := rtp.Header{
			Version: 2, PayloadType: 100, SequenceNumber: uint16(i), Timestamp: uint32(i / 9 * 3000), SSRC: ssrc, Marker: i%9 == 8,
		}
		_ = h.SetExtension(numberAt, []byte{byte(i >> 8), byte(i)})
		head, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		body := append(payload(codec.VP8, i == 0, i%9, uint16(i/9)), make([]byte, 960)...)
		sealed[i] = make([]byte, len(head)+len(body)+sender.Overhead())
		sender.RTPPadded(sealed[i], head, body, 0, uint64(i))
	}
	next := 0
	receive := func() {
		p.receive(sealed[next], int64(next)*int64(4*time.Millisecond))
		next++
		for len(b.shard.queue) > 0 {
			<-b.shard.queue
		}
	}
	for range 1000 { // the history grows to its bound
		receive()
	}
	if got := testing.AllocsPerRun(900, receive); got != 0 {
		t.Errorf("%v allocations a packet", got)
	}
	if c := b.layer.track.counters.load(); c.PacketsIn != uint64(next) || p.sfu.socket.rejected.Load() > 0 {
		t.Errorf("%d packets of %d were taken", c.PacketsIn, next)
	}
}

func sealPair(t *testing.T) (*seal.Sender, *seal.Receiver) {
	t.Helper()
	keys := seal.Keys{Key: make([]byte, 16), Salt: make([]byte, 12)}
	sender, err := seal.NewSender(seal.GCM128, keys)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := seal.NewReceiver(seal.GCM128, keys)
	if err != nil {
		t.Fatal(err)
	}
	return sender, receiver
}

func BenchmarkRetransmission(b *testing.B) {
	e := newEgressBench(b, udp.Config{WriteBuffer: socketBuffer}, seal.GCM128, 1)
	for range 20 {
		e.frame(9)
	}
	d, at := e.fan.downs[0], time.Hour
	b.ReportAllocs()
	for b.Loop() {
		at += time.Second
		e.shard.retransmit(missing{down: d, pid: d.newest - 20, blp: 0xffff, at: at})
		e.shard.flush()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*17), "ns/packet")
}
