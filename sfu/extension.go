package sfu

import (
	"encoding/binary"
	"time"

	"github.com/securecam/securecam/sfu/ring"
)

// Header extensions that viewers are sent beside the dependency descriptor.
const (
	// uriPlayoutDelay tells a player how long to hold pictures back, at least and at most.
	uriPlayoutDelay = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
	// uriCaptureTime tells when a frame was captured, by the clock of our sender reports.
	uriCaptureTime = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
)

const (
	// extensionRoom holds all elements at their longest, in the two-byte form: RFC 8285, section 4.3.
	extensionRoom = 4 + 2 + 255 + elementRoom + 3
	// elementRoom holds the short elements: transport-wide number, playout delay, capture time.
	elementRoom = 2 + 2 + 2 + 3 + 2 + captureSize
	// captureSize is that of a capture time with the offset between the clocks of capture and of our reports, which some
	// players want to be told even where it is none.
	captureSize = 16
	// longestShort is the longest value in the one-byte form: RFC 8285, section 4.2.
	longestShort = 16
	// delayUnit is what a playout delay is told in, in delayBits bits.
	delayUnit, delayBits = 10 * time.Millisecond, 12
	// delaySlope is the time of video over which a player's delay is raised by a unit of time: a quarter slower is not seen.
	delaySlope = 4
	// delayRepeats is how many packets carry a changed playout delay: any may be lost.
	delayRepeats = 64
)

// extensions are what a down track's packets carry behind their header. The ids are the viewer's, 0 for what it does
// not take.
type extensions struct {
	descriptorAt, delayAt, captureAt uint8

	// numberAt is that of the transport-wide number, which every packet carries:
	// draft-holmer-rmcat-transport-wide-cc-extensions-01, section 2.
	numberAt uint8

	descriptor []byte // of the next packet
	delay      uint32 // 12 bits each of least and most, in units of delayUnit
	goal       uint32 // what least is to come to
	stepped    uint32 // outgoing timestamp up to which it was approached
	delayLeft  int    // packets that are still to carry it
	delayed    bool   // the player was told
	capture    uint64 // NTP time of the next packet's frame, 0 to say nothing
	captureDue uint32 // source timestamp from which on it is said again
	captured   bool   // it was said of this layer
}

// any reports whether the next packet carries something.
func (x *extensions) any() bool {
	return x.numberAt != 0 || x.delayLeft > 0 || x.capture != 0 || x.descriptorAt != 0 && len(x.descriptor) > 0
}

// write appends the elements of the next packet, whose transport-wide number is number, to b, in which room is left.
// RFC 8285, sections 4.2 and 4.3: both forms may be mixed within a stream, if the viewer takes long descriptors at all.
func (x *extensions) write(b []byte, number uint16) []byte {
	head := len(b)
	descriptor := x.descriptor[:min(len(x.descriptor), 255)]
	if x.descriptorAt == 0 {
		descriptor = nil
	}
	long := len(descriptor) > longestShort
	form := uint16(0xbede)
	if long {
		form = 0x1000
	}
	b = binary.BigEndian.AppendUint16(b, form)
	b = append(b, 0, 0)
	if len(descriptor) > 0 {
		b = append(element(b, x.descriptorAt, len(descriptor), long), descriptor...)
	}
	if x.numberAt != 0 {
		b = binary.BigEndian.AppendUint16(element(b, x.numberAt, 2, long), number)
	}
	if x.delayLeft > 0 {
		x.delayLeft--
		b = append(element(b, x.delayAt, 3, long), byte(x.delay>>16), byte(x.delay>>8), byte(x.delay))
	}
	if x.capture != 0 {
		b = binary.BigEndian.AppendUint64(element(b, x.captureAt, captureSize, long), x.capture)
		b = binary.BigEndian.AppendUint64(b, 0)
		x.capture = 0
	}
	for (len(b)-head)%4 != 0 {
		b = append(b, 0)
	}
	binary.BigEndian.PutUint16(b[head+2:], uint16((len(b)-head)/4-1))
	return b
}

// element begins one element.
func element(b []byte, id uint8, size int, long bool) []byte {
	if long {
		return append(b, id, byte(size))
	}
	return append(b, id<<4|byte(size-1))
}

// setDelay has the player hold pictures back for least, to which approach comes from below, and no longer than most. Times
// beyond what the extension can say are its longest.
func (x *extensions) setDelay(least, most time.Duration) {
	const longest = 1<<delayBits - 1
	if x.delayAt == 0 {
		return
	}
	x.goal = uint32(min(least/delayUnit, longest))
	x.say(min(x.goal, x.delay>>delayBits)<<delayBits | uint32(min(most/delayUnit, longest)))
}

// say tells the player of a delay that it was not told of.
func (x *extensions) say(delay uint32) {
	if delay != x.delay || !x.delayed {
		x.delay, x.delayLeft, x.delayed = delay, delayRepeats, true
	}
}

// approach comes nearer to the delay that is wanted, with the frame that is to be shown at timestamp. A player obeys at
// once: to be told of all of a third of a second would have the picture stand still for as long.
func (x *extensions) approach(timestamp, rate uint32) {
	const most = 5 // units at a time, after a pause or where frames are far between
	if x.goal <= x.delay>>delayBits {
		return
	}
	step := int32(rate * delaySlope / uint32(time.Second/delayUnit))
	passed := int32(timestamp - x.stepped)
	switch {
	case passed < 0 && passed > -int32(rate): // it was late, or is sent again
		return
	case passed < 0 || passed > most*step:
		passed = most * step
	case passed < step:
		return
	}
	x.stepped = timestamp - uint32(passed%step)
	x.say(x.delay + min(uint32(passed/step), x.goal-x.delay>>delayBits)<<delayBits)
}

// noteCapture has the packet say when its frame was captured, once a second and with the first packet of a layer. That
// is known once the camera has sent a report: its own clock, moved to ours as in our reports.
func (x *extensions) noteCapture(l *layer, p *ring.Packet) {
	rate := l.track.spec.clockRate
	if x.captured && int32(p.Timestamp-x.captureDue) < 0 && int32(x.captureDue-p.Timestamp) <= int32(2*rate) {
		return
	}
	known := l.capturedAt(p.Timestamp)
	if known == nil {
		return
	}
	x.captured, x.captureDue = true, p.Timestamp+rate
	ticks := int64(int32(p.Timestamp - known.rtp))
	x.capture = known.ntp + ntpDuration(time.Duration(ticks*int64(time.Second)/int64(rate)))
}
