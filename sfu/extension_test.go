package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
	"github.com/securecam/securecam/sfu/ring"
)

// TestExtensionsRead has pion read whatever combination a packet carries.
func TestExtensionsRead(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		x := &extensions{descriptorAt: 3, delayAt: 7, captureAt: 14}
		numbered := rapid.Bool().Draw(t, "numbered")
		if numbered {
			x.numberAt = 9
		}
		x.descriptor = rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "descriptor")
		if rapid.Bool().Draw(t, "delay") {
			x.say(25<<delayBits | 0xfff)
		}
		x.capture = rapid.SampledFrom([]uint64{0, 1 << 60}).Draw(t, "capture")
		delayed, capture := x.delayLeft > 0, x.capture
		if !x.any() {
			return
		}
		buf := [rtpHeader + extensionRoom]byte{0: 2<<6 | 1<<4, 1: 96}
		raw := x.write(buf[:rtpHeader], 0xabcd)
		if &raw[0] != &buf[0] {
			t.Fatal("the room was not enough")
		}
		var h rtp.Header
		if n, err := h.Unmarshal(raw); err != nil || n != len(raw) {
			t.Fatalf("read %d of %d bytes: %v", n, len(raw), err)
		}
		if got := h.GetExtension(3); !bytes.Equal(got, x.descriptor[:min(len(x.descriptor), 255)]) {
			t.Fatalf("descriptor %x", got)
		}
		if got := h.GetExtension(7); delayed != bytes.Equal(got, []byte{0x01, 0x9f, 0xff}) {
			t.Fatalf("delay %x", got)
		}
		if got := h.GetExtension(9); numbered != bytes.Equal(got, []byte{0xab, 0xcd}) {
			t.Fatalf("number %x", got)
		}
		want := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, capture), 0)
		if got := h.GetExtension(14); (capture != 0) != bytes.Equal(got, want) {
			t.Fatalf("capture %x", got)
		}
	})
}

// TestCaptureTime holds that it is said once a second and at the beginning, and that it is the camera's.
func TestCaptureTime(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	x := &extensions{captureAt: 5}
	x.noteCapture(b.layer, &ring.Packet{Timestamp: 1})
	if x.any() {
		t.Error("a capture time without a report")
	}
	const second = uint64(1) << 32
	b.layer.report.Store(&senderReport{ntp: 1000 * second, rtp: 1<<32 - 90000})
	said := map[uint32]uint64{}
	for i := range uint32(300) { // ten seconds, over the wrap
		timestamp := uint32(1<<32-180000) + 3000*i
		x.noteCapture(b.layer, &ring.Packet{Timestamp: timestamp})
		if x.capture != 0 {
			said[3000*i] = x.capture
			x.capture = 0
		}
	}
	if len(said) != 10 {
		t.Fatalf("said %d times in ten seconds", len(said))
	}
	for at, ntp := range said {
		if want := 999*second + uint64(at)*second/90000; max(ntp, want)-min(ntp, want) > second/1000 {
			t.Errorf("after %d ticks %d, want %d", at, ntp, want)
		}
	}
	x.noteCapture(b.layer, &ring.Packet{Timestamp: 7 << 28}) // a camera that began anew
	if !x.any() {
		t.Error("no capture time after a jump")
	}
}

// TestCameraCaptureTime passes on what the camera says of capture times, by its own clock or by another, as long as that
// can be.
func TestCameraCaptureTime(t *testing.T) {
	t.Parallel()
	const second = uint64(1) << 32
	const id = 6
	b := newBench(webrtc.MimeTypeVP8)
	l, clock := b.layer, &ntpClock{}
	l.captureAt, l.clock = id, clock
	b.shard.add(b.fan, newDownTrack(l.track, stream{ssrc: 1, payloadType: 96}, &keepingSink{}, newSeat()))
	seq := uint16(0)
	send := func(timestamp uint32, value ...uint64) {
		t.Helper()
		seq++
		h := rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: timestamp, Marker: true}
		var raw []byte
		for _, v := range value {
			raw = binary.BigEndian.AppendUint64(raw, v)
		}
		if err := h.SetExtension(id, raw); err != nil {
			t.Fatal(err)
		}
		packet, err := (&rtp.Packet{Header: h, Payload: payload(codec.VP8, seq == 1, 0, seq)}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.receive(packet, int64(seq))
	}
	says := func(timestamp uint32) uint64 {
		x := &extensions{captureAt: 5}
		x.noteCapture(l, &ring.Packet{Timestamp: timestamp})
		return x.capture
	}
	send(0, 50*second)
	if got := says(0); got != 0 {
		t.Errorf("%d by a clock that is not known", got)
	}
	now := ntpTime(time.Now())
	clock.local(60*second, time.Now()) // the camera's clock says 60 s now
	l.report.Store(&senderReport{ntp: now, rtp: 900_000})
	near := func(what string, got uint64, want int64) {
		t.Helper()
		if off := int64(got-now) - want*int64(second)/1000; off > int64(second/10) || off < -int64(second/10) {
			t.Errorf("%s: %d ms after now, want %d", what, int64(got-now)*1000/int64(second), want)
		}
	}
	near("by its reports", says(900_000), 0)
	send(900_000, 58*second)
	near("by itself", says(900_000), -2000)
	near("half a second later", says(945_000), -1500)
	send(910_000, 1*second)
	near("said too often", says(910_000), -2000+111)
	send(1_000_000, 3000*second)
	near("a clock that is far off", says(1_000_000), -2000+1111)
	send(1_800_000, 1050*second, uint64(10-1000+1<<32)*second) // another clock, 990 s ahead of the camera's
	near("by another clock", says(1_800_000), 0)
	near("long after", says(18_000_000), 190_000)
}

// TestDelayRepeated holds that a changed delay is carried by enough packets, and one that is the same by none.
func TestDelayRepeated(t *testing.T) {
	t.Parallel()
	x := &extensions{delayAt: 5}
	if x.any() {
		t.Error("nothing was said")
	}
	x.setDelay(0, 0)
	if !x.any() {
		t.Error("no delay is one too")
	}
	x.setDelay(0, time.Hour)
	carried := 0
	for ; x.any(); carried++ {
		x.write(make([]byte, 0, extensionRoom), 0)
		x.setDelay(0, time.Hour)
	}
	if carried != delayRepeats {
		t.Errorf("carried by %d packets", carried)
	}
	none := &extensions{}
	none.setDelay(time.Second, time.Second)
	if none.any() {
		t.Error("a viewer that does not take it")
	}
}

// TestDelayApproached has a player wait for ever longer, frame by frame, so that no picture stands for long, and no more
// at once. What is sent again meanwhile changes nothing.
func TestDelayApproached(t *testing.T) {
	t.Parallel()
	const rate = 90000
	for _, fps := range []uint32{60, 30, 15, 5} {
		const goal = 31 * delayUnit
		x := &extensions{delayAt: 5}
		x.setDelay(goal, time.Minute)
		told := func() time.Duration { return time.Duration(x.delay>>delayBits) * delayUnit }
		if told() != 0 || !x.any() {
			t.Fatalf("the player is told %s at once", told())
		}
		timestamp, frame := uint32(1<<32-rate), time.Second/time.Duration(fps)
		passed := time.Duration(0)
		for ; told() < goal; passed += frame {
			if passed > 2*delaySlope*goal {
				t.Fatalf("%d frames a second: the player is told %s after %s", fps, told(), passed)
			}
			before := told()
			for range 3 { // packets of a frame
				x.approach(timestamp, rate)
			}
			x.approach(timestamp-rate/2, rate)
			if more := told() - before; more < 0 || more > 5*delayUnit || passed > 0 && more > frame/delaySlope+delayUnit {
				t.Fatalf("%d frames a second: from %s to %s with one", fps, before, told())
			}
			timestamp += rate / fps
		}
		if passed < delaySlope*goal*3/4 {
			t.Errorf("%d frames a second: all of it after %s", fps, passed)
		}
		if x.setDelay(goal/2, time.Minute); told() != goal/2/delayUnit*delayUnit {
			t.Errorf("the player is to wait less, and is told %s", told())
		}
	}
}

// TestCameraOffersCaptureTime takes the extension from a camera that has it.
func TestCameraOffersCaptureTime(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	m := &webrtc.MediaEngine{}
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uriCaptureTime}, webrtc.RTPCodecTypeVideo); err != nil {
		t.Fatal(err)
	}
	pc := newPCOf(t, m, func(*webrtc.SettingEngine) {}, vp8)
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
		t.Fatal(err)
	}
	a, err := s.Publish(t.Context(), "m", makeOffer(t, pc))
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	sess := s.sessions[a.SessionID]
	s.mu.Unlock()
	if video, audio := sess.captureExtension(video), sess.captureExtension(audio); video == 0 || audio != 0 {
		t.Errorf("taken as %d and %d in\n%s", video, audio, a.SDP)
	}
}
