package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// TestFlood weighs peers second by second.
func TestFlood(t *testing.T) {
	t.Parallel()
	const ms = int64(time.Millisecond)
	run := func(f *flood, from int64, seconds, packets, asked, pleas int) (ignored int, abuse bool) {
		for s := range seconds {
			for i := range packets {
				ok, bad := f.packet(from + int64(s)*1000*ms + int64(i)*1000*ms/int64(packets))
				abuse = abuse || bad
				f.ask(asked, pleas)
				if !ok || f.tooMuch() {
					ignored++
				}
			}
		}
		return ignored, abuse
	}
	var busy flood
	if n, abuse := run(&busy, 1, 60, 100, 50, 1); n > 0 || abuse {
		t.Errorf("a browser on a bad way: %d ignored, abuse %t", n, abuse)
	}
	var burst flood
	if n, abuse := run(&burst, 1, 3, 5000, 1, 0); n == 0 || abuse {
		t.Errorf("three bad seconds: %d ignored, abuse %t", n, abuse)
	}
	if _, abuse := run(&burst, 4000*ms, 60, 100, 50, 1); abuse {
		t.Error("what is over counts on")
	}
	var packets flood
	if _, abuse := run(&packets, 1, 8, 10_000, 0, 0); !abuse {
		t.Error("ten thousand packets a second may go on for ever")
	}
	var everything flood
	if _, abuse := run(&everything, 1, 8, 200, 17*20, 0); !abuse {
		t.Error("a viewer may ask for everything for ever")
	}
	var keyframes flood
	if _, abuse := run(&keyframes, 1, 8, 10, 0, 64); !abuse {
		t.Error("a viewer may ask for keyframes for ever")
	}
}

// TestMalformedIsCounted has a camera and a viewer send feedback without what it is about.
func TestMalformedIsCounted(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	c.run()
	w := watch(t, s, "m", "v")
	w.await(video, 5)
	nack := rtcp.RawPacket{0x81, 205, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2}
	for i, pc := range []*webrtc.PeerConnection{c.pc, w.pc} {
		if err := pc.WriteRTCP([]rtcp.Packet{&nack}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is counted", func() bool { return s.Stats().Malformed == uint64(i+1) })
	}
}

// TestFloodEndsSession has one viewer ask for keyframes and for everything ever sent, or for ten thousand keyframes a
// second, many in a packet, for ever: it loses its session, the camera is asked no more often than otherwise, and nobody
// else notices.
func TestFloodEndsSession(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(*watcher) [][]rtcp.Packet{"everything": askForEverything, "keyframes": askForKeyframes} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			events := &recorderOfEvents{}
			s := newSFU(t, observed(events))
			c := publishCamera(t, s, "m", vp8)
			c.run()
			bad, good := watch(t, s, "m", "bad"), watch(t, s, "m", "good")
			bad.await(video, 5)
			good.await(video, 5)
			compounds, before, began := flood(bad), c.pliCount(), time.Now()
			until(t, events.has("viewer down m bad "+ReasonFlood), func() {
				for _, packets := range compounds {
					_ = bad.pc.WriteRTCP(packets) // which fails once it is over
				}
			})
			// Twenty a second is what this SFU's interval of 50 ms allows, however many ask.
			if asked, most := c.pliCount()-before, 25*(2+int(time.Since(began)/time.Second)); asked > most {
				t.Errorf("the camera was asked %d times, want at most %d", asked, most)
			}
			good.await(video, len(good.packets(video))+20)
			continuous(t, good.packets(video))
			if s.Stats().Flooded == 0 {
				t.Error("nothing was counted")
			}
		})
	}
}

func askForEverything(w *watcher) [][]rtcp.Packet {
	everything := make([]rtcp.NackPair, 250)
	for i := range everything {
		everything[i] = rtcp.NackPair{PacketID: w.packets(video)[0].SequenceNumber - 2000 + uint16(17*i), LostPackets: 0xffff}
	}
	return [][]rtcp.Packet{{
		&rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]},
		&rtcp.TransportLayerNack{MediaSSRC: w.ssrc[video], Nacks: everything},
	}}
}

// askForKeyframes fills compounds nearly as far as they are read.
func askForKeyframes(w *watcher) [][]rtcp.Packet {
	pleas := make([]rtcp.Packet, 50)
	for i := range pleas {
		pleas[i] = &rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]}
	}
	return [][]rtcp.Packet{pleas, pleas}
}

// TestGoodbye has a viewer and a camera say goodbye and stay connected, and the server say it.
func TestGoodbye(t *testing.T) {
	t.Parallel()
	events := &recorderOfEvents{}
	s := newSFU(t, observed(events))
	c := publishCamera(t, s, "m", vp8)
	stop := c.run()
	w := watch(t, s, "m", "polite")
	// pion drops what it has not read yet when DTLS ends.
	rest := watchWith(t, s, "m", "staying", func(e *webrtc.SettingEngine) { e.DisableCloseByDTLS(true) })
	w.await(video, 5)
	rest.await(video, 5)
	eventually(t, "the viewer's goodbye is heard", func() bool {
		_ = w.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 1}, &rtcp.Goodbye{Sources: []uint32{1}}})
		return events.has("viewer down m polite " + ReasonBye)()
	})
	stop()
	ssrc := uint32(c.pc.GetSenders()[0].GetParameters().Encodings[0].SSRC)
	eventually(t, "the camera's goodbye is heard", func() bool {
		_ = c.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc}, &rtcp.Goodbye{Sources: []uint32{ssrc}}})
		return events.has("publisher down m " + ReasonBye)()
	})
	s.CloseViewer("m", "staying", "test")
	eventually(t, "the server says goodbye", func() bool {
		rest.mu.Lock()
		defer rest.mu.Unlock()
		return rest.byes[rest.ssrc[video]]
	})
}

// TestSilentCamera holds when a connected camera is over.
func TestSilentCamera(t *testing.T) {
	t.Parallel()
	u := uplink{heard: 1, layers: []*layer{{}, {}}}
	after := func(d time.Duration) string { return u.over(1 + int64(d)) }
	if got := after(mediaTimeout - time.Second); got != "" {
		t.Errorf("a pause: %q", got)
	}
	if got := after(mediaTimeout + time.Second); got != ReasonNoMedia {
		t.Errorf("silence: %q", got)
	}
	u.layers[0].reception.leave(1)
	if got := after(2 * byeGrace); got != "" {
		t.Errorf("one stream of two ended: %q", got)
	}
	u.layers[1].reception.leave(2)
	if got := after(byeGrace / 2); got != "" {
		t.Errorf("both ended just now: %q", got)
	}
	if got := after(2 * byeGrace); got != ReasonBye {
		t.Errorf("both ended: %q", got)
	}
	u.layers[1].reception.arrived(1, 1, 3)
	if got := after(2 * byeGrace); got != "" {
		t.Errorf("one came back: %q", got)
	}
}
