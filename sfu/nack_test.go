package sfu

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// TestNACKAnswered asks by hand for packets that were received, over RTX and without it.
func TestNACKAnswered(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	stop := c.run()
	w := watch(t, s, "m", "v")
	w.await(video, 20)
	stop()
	got := w.packets(video)
	want := got[len(got)-2]
	nack := []rtcp.Packet{&rtcp.TransportLayerNack{
		MediaSSRC: w.ssrc[video], Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{want.SequenceNumber}),
	}}
	for range 3 { // in one breath: answered once
		if err := w.pc.WriteRTCP(nack); err != nil {
			t.Fatal(err)
		}
	}
	resent := func() []*rtp.Packet {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.rtx
	}
	// pion hands a retransmission out with the next packet it reads.
	eventually(t, "retransmission", func() bool { c.frame(false); return len(resent()) > 0 })
	p := resent()[0]
	if p.SequenceNumber != want.SequenceNumber || p.Timestamp != want.Timestamp || string(p.Payload) != string(want.Payload) {
		t.Errorf("got %+v, want %+v", p.Header, want.Header)
	}
	eventually(t, "NACKs counted", func() bool { st, _ := s.Status("m"); return st.NACKs >= 3 && st.Retransmitted >= 1 })
	if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the viewer's counts", func() bool {
		for _, sess := range s.Sessions("m", "") {
			if sess.Role == "play" && len(sess.Tracks) == 1 {
				one := sess.Tracks[0]
				return one.NACKs >= 3 && one.Retransmitted >= 1 && one.Retransmitted < one.NACKs && one.KeyframeRequests >= 1 && sess.Way == nil
			}
		}
		return false
	})
}

// nackBench is a bench with one viewer that got ten packets.
func nackBench(t *testing.T, rtx uint8) (*bench, *downTrack, *keepingSink) {
	t.Helper()
	sink := &keepingSink{}
	b := newBench(webrtc.MimeTypeVP8)
	d := newDownTrack(b.layer.track, stream{ssrc: 1, payloadType: 96, rtxSSRC: 2, rtxPayloadType: rtx}, sink, newSeat())
	b.shard.add(b.fan, d)
	for i := range uint16(10) {
		b.feed(t, 65530+i, payload(codec.VP8, i == 0, 0, 7+i), 0)
	}
	return b, d, sink
}

// ask has the shard answer NACKs of a down track.
func (b *bench) ask(d *downTrack, nacks []rtcp.NackPair, at time.Duration) {
	for _, n := range nacks {
		b.shard.retransmit(missing{down: d, pid: n.PacketID, blp: uint16(n.LostPackets), at: at})
	}
}

func TestRetransmit(t *testing.T) {
	t.Parallel()
	for _, rtx := range []uint8{0, 97} {
		b, d, sink := nackBench(t, rtx)
		original := sink.packets[4]
		nacks := rtcp.NackPairsFromSequenceNumbers([]uint16{original.SequenceNumber})
		at := time.Hour
		b.ask(d, nacks, at)
		b.ask(d, nacks, at+assumedRTT/2) // on its way already
		b.ask(d, nacks, at+2*assumedRTT)
		again := sink.packets[10:]
		if len(again) != 2 {
			t.Fatalf("rtx %d: sent again %d times, want 2", rtx, len(again))
		}
		for i, p := range again {
			body := p.Payload
			if rtx == 0 {
				if p.SequenceNumber != original.SequenceNumber || p.SSRC != 1 || p.PayloadType != 96 {
					t.Errorf("header %+v", p.Header)
				}
			} else {
				if p.SSRC != 2 || p.PayloadType != rtx || p.SequenceNumber != again[0].SequenceNumber+uint16(i) {
					t.Errorf("header %+v", p.Header)
				}
				if osn := binary.BigEndian.Uint16(body); osn != original.SequenceNumber {
					t.Errorf("original number %d, want %d", osn, original.SequenceNumber)
				}
				body = body[2:]
			}
			if string(body) != string(original.Payload) || p.Timestamp != original.Timestamp || p.Marker != original.Marker {
				t.Errorf("rtx %d: another packet", rtx)
			}
		}
	}
}

func TestRetransmitBounded(t *testing.T) {
	t.Parallel()
	b, d, sink := nackBench(t, 97)
	first := sink.packets[0].SequenceNumber
	nowhere := rtcp.NackPairsFromSequenceNumbers([]uint16{first - 1, first + 10, first + 3000})
	b.ask(d, nowhere, time.Hour)
	if len(sink.packets) != 10 {
		t.Error("answered for packets never sent")
	}
	var all []rtcp.NackPair
	for i := range uint16(200) {
		all = append(all, rtcp.NackPair{PacketID: first + i*17, LostPackets: 0xffff})
	}
	b.ask(d, all, time.Hour)
	if n := len(sink.packets) - 10; n > resendBurst {
		t.Errorf("sent %d packets again for one moment's NACKs", n)
	}
	var r resends
	allowed := 0
	for i := range 10000 {
		if ok, _ := r.allow(uint16(i), time.Hour+time.Duration(i)*time.Microsecond, assumedRTT); ok {
			allowed++
		}
	}
	if allowed > resendBurst+resendRate/100+1 {
		t.Errorf("%d packets within 10 ms", allowed)
	}
	fresh := newDownTrack(b.layer.track, stream{}, sink, newSeat())
	b.ask(fresh, all, time.Hour) // follows nothing yet
}

// TestCameraIsAskedAgain loses packets on the way from the camera.
func TestCameraIsAskedAgain(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	w := watch(t, s, "m", "v")
	eventually(t, "keyframe request", func() bool { c.frame(false); return c.pliCount() > 0 })
	c.frame(true)
	c.seq[video]++
	missing := c.seq[video]
	c.frame(false)
	eventually(t, "NACK", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, n := range c.nacks {
			for _, seq := range n.PacketList() {
				if seq == missing {
					return true
				}
			}
		}
		return false
	})
	for _, sess := range s.Sessions("m", "") {
		if sess.Role == "publish" && (sess.Tracks[0].NACKs == 0 || sess.Tracks[0].KeyframeRequests == 0) {
			t.Errorf("the camera's counts: %+v", sess.Tracks)
		}
	}
	n := len(w.await(video, 6))
	c.write(video, missing, false, payload(codec.VP8, false, 1, c.picture))
	if got := w.await(video, n+1); got[0].SequenceNumber+3 != got[n].SequenceNumber {
		t.Errorf("late packet has number %d, first %d", got[n].SequenceNumber, got[0].SequenceNumber)
	}
}

// TestLateJoiner joins while there is no keyframe yet: the SFU asks for one and starts with it.
func TestLateJoiner(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	for range 20 {
		c.frame(false)
	}
	w := watch(t, s, "m", "v")
	eventually(t, "camera is asked twice", func() bool { c.frame(false); return c.pliCount() >= 2 })
	if n := len(w.packets(video)); n != 0 {
		t.Errorf("%d packets before the keyframe", n)
	}
	eventually(t, "start", func() bool { c.frame(true); return len(w.packets(video)) >= 3 })
	got := w.packets(video)
	if !codec.Inspect(codec.VP8, got[0].Payload).Keyframe {
		t.Error("first packet is no keyframe")
	}
	continuous(t, got)
	before := c.pliCount()
	// A keyframe still on its way would answer the request before the camera hears of it.
	eventually(t, "viewer's request is passed on", func() bool {
		if err := w.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: w.ssrc[video]}}); err != nil {
			t.Fatal(err)
		}
		return c.pliCount() > before
	})
}
