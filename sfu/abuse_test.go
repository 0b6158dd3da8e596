package sfu

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/datachannel"
	"github.com/securecam/securecam/sfu/ring"
	"github.com/securecam/securecam/sfu/seal"
	"github.com/securecam/securecam/sfu/udp"
)

// until does something a hundred times a second until over is true.
func until(t *testing.T, over func() bool, do func()) {
	t.Helper()
	deadline := time.NewTimer(2 * patience)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !over() {
		select {
		case <-tick.C:
			do()
		case <-deadline.C:
			t.Fatal("it goes on")
		}
	}
}

// TestReportFloodEndsSession has a camera send reports without end: it loses its session, and others notice nothing.
func TestReportFloodEndsSession(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	bad, good := publishCamera(t, s, "bad", vp8), publishCamera(t, s, "good", vp8)
	bad.run()
	good.run()
	w := watch(t, s, "good", "v")
	w.await(video, 5)
	report := []rtcp.Packet{&rtcp.SenderReport{SSRC: 1}}
	until(t, events.has("publisher down bad "+ReasonFlood), func() {
		for range 30 {
			_ = bad.pc.WriteRTCP(report)
		}
	})
	w.await(video, len(w.packets(video))+20)
	continuous(t, w.packets(video))
	if s.Stats().Flooded == 0 {
		t.Error("nothing was counted")
	}
}

// changing is an interceptor that has a camera change its SSRC with every packet once it is let to.
type changing struct {
	interceptor.NoOp
	ssrc atomic.Uint32
}

func (c *changing) NewInterceptor(string) (interceptor.Interceptor, error) { return c, nil }

func (c *changing) BindLocalStream(_ *interceptor.StreamInfo, w interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		if c.ssrc.Load() > 0 {
			h.SSRC = c.ssrc.Add(1)
		}
		return w.Write(h, payload, a)
	})
}

// TestStreamFloodEndsSession has a camera change its SSRC with every packet: it loses its session, and others notice
// nothing.
func TestStreamFloodEndsSession(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	good := publishCamera(t, s, "good", vp8)
	good.run()
	w := watch(t, s, "good", "v")
	w.await(video, 5)
	change, registry := &changing{}, &interceptor.Registry{}
	registry.Add(change)
	pc := newPCWithRegistry(t, &webrtc.MediaEngine{}, registry, func(*webrtc.SettingEngine) {}, vp8)
	track, err := webrtc.NewTrackLocalStaticRTP(vp8.RTPCodecCapability, "video", "cam")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTrack(track); err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(t.Context(), "bad", makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	accept(t, pc, a)
	change.ssrc.Store(1)
	seq := uint16(0)
	until(t, events.has("publisher down bad "+ReasonStreamFlood), func() {
		seq++
		_ = track.WriteRTP(&rtp.Packet{
			Header: rtp.Header{Version: 2, SequenceNumber: seq, Marker: true}, Payload: payload(codec.VP8, true, 0, seq),
		})
	})
	w.await(video, len(w.packets(video))+20)
	continuous(t, w.packets(video))
	if st := s.Stats(); st.Unbound == 0 || st.Socket.Rejected != 0 {
		t.Errorf("%d of no stream, %d not authentic", st.Unbound, st.Socket.Rejected)
	}
}

// TestReplacedCameraIsNotHeard holds that viewers hear the camera of their stream, and none that it took the place of, or
// that has not yet taken its place.
func TestReplacedCameraIsNotHeard(t *testing.T) {
	t.Parallel()
	var count datachannel.Counters
	b := newSwitchboard(&count)
	peer := func(r role) *session {
		return &session{role: r, data: datachannel.New(datachannel.Config{MaxSend: maxEnvelope, Counters: &count})}
	}
	first, second := peer(publish), peer(publish)
	b.join(first)
	b.join(peer(play))
	b.join(peer(play))
	text := "hello"
	raw, err := json.Marshal(fromCamera{content: content{Text: &text}})
	if err != nil {
		t.Fatal(err)
	}
	// Both viewers have no channel open, which is counted for each.
	say := func(camera *session) (viewers, dropped uint64) {
		viewers, dropped = count.Unheard.Load(), count.Dropped.Load()
		b.pass(camera, datachannel.Message{Text: true, Data: raw})
		return count.Unheard.Load() - viewers, count.Dropped.Load() - dropped
	}
	if n, dropped := say(first); n != 2 || dropped != 0 {
		t.Errorf("the camera reached %d viewers, want both", n)
	}
	if n, dropped := say(second); n != 0 || dropped != 1 {
		t.Errorf("one that is no camera yet reached %d viewers", n)
	}
	b.join(second)
	if n, dropped := say(first); n != 0 || dropped != 1 {
		t.Errorf("one that is no camera any more reached %d viewers", n)
	}
}

// TestLargestPacket has the longest packets that a camera can send reach viewers: those that fill an Ethernet frame with
// each of the keys there are, and those that only TCP brings.
func TestLargestPacket(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1500 - 28 - 16 - rtpHeader, 1500 - 28 - 10 - rtpHeader, ring.MaxPayload} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			s := newSFU(t)
			long := func(e *webrtc.SettingEngine) { e.SetReceiveMTU(2000) }
			c := publishWith(t, s, "m", long, vp8)
			w := watchWith(t, s, "m", "v", long)
			picture := uint16(0)
			send := func() {
				picture++
				c.ts[video] += 3000
				c.send(video, true, append(payload(codec.VP8, true, 0, picture), make([]byte, size)...)[:size])
			}
			eventually(t, "the packet", func() bool {
				send()
				got := w.packets(video)
				return len(got) > 0 && len(got[0].Payload) == size
			})
			first := w.packets(video)[0].SequenceNumber
			eventually(t, "it is sent again", func() bool {
				send() // pion hands out what is sent again with what comes
				_ = w.pc.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
					MediaSSRC: w.ssrc[video], Nacks: []rtcp.NackPair{{PacketID: first}},
				}})
				w.mu.Lock()
				defer w.mu.Unlock()
				return len(w.rtx) > 0 && len(w.rtx[0].Payload) == size
			})
			if st := s.Stats(); st.WriteErrors != 0 || st.Oversized != 0 {
				t.Errorf("%d refused, %d too large", st.WriteErrors, st.Oversized)
			}
		})
	}
}

// TestLongestFits holds that what the ring keeps can be sealed for a viewer with everything that is put before it.
func TestLongestFits(t *testing.T) {
	t.Parallel()
	for _, profile := range []seal.Profile{seal.GCM128, seal.AES128CMSHA1} {
		e := newEgressBench(t, udp.Config{}, profile, 1)
		d := e.fan.downs[0]
		sink, ok := d.sink.(*sealed)
		if !ok {
			t.Fatal("no sealed sink")
		}
		for _, descriptor := range []int{0, longestShort, 255} {
			sink.extensions = extensions{
				numberAt: 1, delayAt: 2, captureAt: 3, descriptorAt: 4, delayLeft: 1, capture: 1, descriptor: make([]byte, descriptor),
			}
			head := len(sink.extensions.write(make([]byte, 0, extensionRoom), 0))
			n := rtpHeader + head + rtxHeader + ring.MaxPayload - descriptor + d.egress.sender.Overhead()
			if n > udp.MaxSegment || e.shard.out().Append(d.egress.to.Load(), n) == nil {
				t.Errorf("%v with a descriptor of %d: %d bytes are too long", profile, descriptor, n)
			}
		}
	}
}
