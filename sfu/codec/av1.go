package codec

// inspectAV1 reads the aggregation header of the AV1 RTP payload format, section 4.4. A new coded video sequence,
// or a sequence header OBU in front, is where decoding can begin.
func inspectAV1(b []byte) Info {
	const continues, count, newSequence = 0x80, 0x30, 0x08
	if b[0]&continues != 0 {
		return Info{}
	}
	info := Info{Keyframe: b[0]&newSequence != 0}
	at := 1
	if b[0]&count != 0x10 { // with exactly one OBU element there is no length field
		for at < len(b) && b[at]&0x80 != 0 && at < 8 { // leb128
			at++
		}
		at++
	}
	if at < len(b) {
		const sequenceHeader = 1
		info.Keyframe = info.Keyframe || b[at]>>3&0x0f == sequenceHeader
	}
	info.Start = info.Keyframe
	return info
}
