package sfu

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

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
			x.setDelay(250*time.Millisecond, time.Minute)
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
		if got := h.GetExtension(14); (capture != 0) != (len(got) == 8) || capture != 0 && binary.BigEndian.Uint64(got) != capture {
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
