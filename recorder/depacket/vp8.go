package depacket

// vp8 reads the payload format of RFC 7741.
type vp8 struct{}

func (*vp8) Reset() {}

// descriptor returns what follows the payload descriptor, RFC 7741, section 4.2, and whether it is the start
// of a frame.
func (*vp8) descriptor(p []byte) (media []byte, start, ok bool) {
	if len(p) == 0 {
		return nil, false, false
	}
	start = p[0]&0x1F == 0x10 // S and partition 0
	n := 1
	if p[0]&0x80 != 0 { // X
		n = 2 + extensionLength(p[1:])
	}
	if n >= len(p) {
		return nil, false, false
	}
	return p[n:], start, true
}

// extensionLength returns how long the fields are that the extended control bits in ext[0] announce.
func extensionLength(ext []byte) int {
	if len(ext) < 2 {
		return 0 // then there is no room for media either
	}
	n := int(ext[0]>>6) & 1 // L
	if ext[0]&0x80 != 0 {   // I
		n += 1 + int(ext[1]>>7) // M
	}
	if ext[0]&0x30 != 0 { // T or K
		n++
	}
	return n
}

func (d *vp8) Begins(payload []byte) bool {
	media, start, ok := d.descriptor(payload)
	return ok && start && media[0]&1 == 0
}

func (d *vp8) Push(frame, payload []byte) ([]byte, error) {
	media, start, ok := d.descriptor(payload)
	if !ok || start != (len(frame) == 0) {
		return frame, ErrInvalid
	}
	return grow(frame, media)
}

// Finish reads the frame header, RFC 6386, section 9.1.
func (*vp8) Finish(frame []byte) (Frame, error) {
	f := Frame{Data: frame}
	if len(frame) == 0 {
		return f, ErrInvalid
	}
	if frame[0]&1 != 0 {
		return f, nil
	}
	if len(frame) < 10 || frame[3] != 0x9D || frame[4] != 0x01 || frame[5] != 0x2A {
		return f, ErrInvalid
	}
	f.Keyframe = true
	f.Width = int(frame[6]) | int(frame[7]&0x3F)<<8
	f.Height = int(frame[8]) | int(frame[9]&0x3F)<<8
	if f.Width == 0 || f.Height == 0 {
		return f, ErrInvalid
	}
	return f, nil
}
