package load

import (
	"encoding/binary"
	"time"

	"github.com/pion/interceptor/pkg/twcc"
)

// feedbackInterval is the time between two feedbacks: browsers take 50 to 250 ms, by their rate.
const feedbackInterval = int64(100 * time.Millisecond)

// feedback tells the server of the way, as browsers do: when each packet came, by its transport-wide number
// (draft-holmer-rmcat-transport-wide-cc-extensions). Only the poller's goroutine touches it.
type feedback struct {
	recorder *twcc.Recorder
	id       uint8 // of the header extension
	next     int64
}

// note takes a packet that came at a time in nanoseconds, and sends a feedback when one is due.
func (v *Viewer) note(packet []byte, at int64) {
	f := v.feedback
	number, ok := transportNumber(packet, f.id)
	if !ok {
		return
	}
	f.recorder.Record(binary.BigEndian.Uint32(packet[8:]), number, at/1000)
	if at < f.next {
		return
	}
	f.next = at + feedbackInterval
	if v.transport.SendRTCP(f.recorder.BuildFeedbackPacket()...) == nil && len(v.tracks) > 0 {
		v.tracks[0].meter.Feedbacks.Add(1)
	}
}

// transportNumber reads the number out of the header, which SRTP leaves as it is: RFC 8285, sections 4.2 and 4.3.
func transportNumber(packet []byte, want uint8) (number uint16, ok bool) {
	at := 12 + 4*int(packet[0]&0x0f)
	if packet[0]&0x10 == 0 || len(packet) < at+4 {
		return 0, false
	}
	long := binary.BigEndian.Uint16(packet[at:])>>4 == 0x100
	end := at + 4 + 4*int(binary.BigEndian.Uint16(packet[at+2:]))
	for at += 4; at+1 < min(end, len(packet)); {
		if packet[at] == 0 { // padding
			at++
			continue
		}
		id, size := packet[at]>>4, int(packet[at]&0x0f)+1
		at++
		if long {
			id, size = packet[at-1], int(packet[at])
			at++
		}
		if id == want && size == 2 && at+2 <= len(packet) {
			return binary.BigEndian.Uint16(packet[at:]), true
		}
		at += size
	}
	return 0, false
}
