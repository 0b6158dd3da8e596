package depacket

import "time"

// opus reads the payload format of RFC 7587: a payload is a frame.
type opus struct{}

func (*opus) Reset() {}

func (*opus) Begins([]byte) bool { return true }

func (*opus) Push(frame, payload []byte) ([]byte, error) { return grow(frame, payload) }

func (*opus) Finish(frame []byte) (Frame, error) {
	d, ok := opusDuration(frame)
	if !ok {
		return Frame{}, ErrInvalid
	}
	return Frame{Data: frame, Keyframe: true, Duration: d}, nil
}

// opusDuration reads the table of contents byte, RFC 6716, section 3.1. A packet lasts 120 ms at most.
func opusDuration(packet []byte) (time.Duration, bool) {
	if len(packet) == 0 {
		return 0, false
	}
	var frame time.Duration
	switch config := packet[0] >> 3; {
	case config < 12: // SILK
		frame = [4]time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16: // hybrid
		frame = [2]time.Duration{10, 20}[config&1] * time.Millisecond
	default: // CELT
		frame = 2500 * time.Microsecond << (config & 3)
	}
	count := 1
	switch packet[0] & 3 {
	case 1, 2:
		count = 2
	case 3:
		if len(packet) < 2 {
			return 0, false
		}
		count = int(packet[1] & 0x3F)
	}
	d := frame * time.Duration(count)
	return d, d > 0 && d <= 120*time.Millisecond
}
