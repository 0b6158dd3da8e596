package codec

const obuSequenceHeader = 1

// inspectAV1 reads the aggregation header of the AV1 RTP payload format, section 4.4. A new coded video sequence,
// or a sequence header OBU in front, is where decoding can begin.
func inspectAV1(b []byte) Info {
	const continues, newSequence = 0x80, 0x08
	if b[0]&continues != 0 {
		return Info{}
	}
	obu := firstOBU(b)
	key := b[0]&newSequence != 0 || len(obu) > 0 && obu[0]>>3&0x0f == obuSequenceHeader
	return Info{Start: key, Keyframe: key}
}

// firstOBU returns the first OBU element of a packet, and what comes after it.
func firstOBU(b []byte) []byte {
	const count = 0x30
	if len(b) == 0 {
		return nil
	}
	at := 1
	if b[0]&count != 0x10 { // with exactly one OBU element there is no length field
		for at < len(b) && b[at]&0x80 != 0 && at < 8 { // leb128
			at++
		}
		at++
	}
	if at >= len(b) {
		return nil
	}
	return b[at:]
}
