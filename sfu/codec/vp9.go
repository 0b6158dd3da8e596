package codec

// inspectVP9 reads the payload descriptor of RFC 9628, section 4.2. Decoding can begin with the first packet of the
// lowest spatial layer of a picture that is not inter-predicted.
func inspectVP9(b []byte) Info {
	const hasID, interPredicted, hasLayers, beginning = 0x80, 0x40, 0x20, 0x08
	at := 1
	if b[0]&hasID != 0 {
		if at >= len(b) {
			return Info{}
		}
		if b[at]&0x80 != 0 {
			at++
		}
		at++
	}
	spatial := byte(0)
	if b[0]&hasLayers != 0 {
		if at >= len(b) {
			return Info{}
		}
		spatial = b[at] >> 1 & 0x07
	}
	start := b[0]&beginning != 0 && spatial == 0
	return Info{Start: start, Keyframe: start && b[0]&interPredicted == 0}
}
