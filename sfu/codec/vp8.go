package codec

// inspectVP8 reads the payload descriptor of RFC 7741, section 4.2, and the first byte of the frame (section 4.3).
func inspectVP8(b []byte) Info {
	const (
		extended, startOfPartition, partition = 0x80, 0x10, 0x07
		hasID, hasTL0, hasTID, hasKeyIdx      = 0x80, 0x40, 0x20, 0x10
	)
	var info Info
	at := 1
	if b[0]&extended != 0 {
		if len(b) < 2 {
			return Info{}
		}
		flags := b[1]
		at = 2
		if flags&hasID != 0 {
			if at >= len(b) {
				return Info{}
			}
			info.VP8.IDAt, info.VP8.ID = uint8(at), uint16(b[at]&0x7f)
			if b[at]&0x80 != 0 {
				if at++; at >= len(b) {
					return Info{}
				}
				info.VP8.Long, info.VP8.ID = true, info.VP8.ID<<8|uint16(b[at])
			}
			at++
		}
		if flags&hasTL0 != 0 {
			if at >= len(b) {
				return Info{}
			}
			info.VP8.TL0At, info.VP8.TL0 = uint8(at), b[at]
			at++
		}
		if flags&(hasTID|hasKeyIdx) != 0 {
			at++
		}
	}
	if at >= len(b) {
		return Info{}
	}
	info.Start = b[0]&startOfPartition != 0 && b[0]&partition == 0
	info.Keyframe = info.Start && b[at]&1 == 0
	return info
}
