package codec

// inspectVP8 reads the payload descriptor of RFC 7741, section 4.2, and the first byte of the frame (section 4.3).
func inspectVP8(b []byte) Info {
	const extended, startOfPartition, partition = 0x80, 0x10, 0x07
	var info Info
	at := 1
	if b[0]&extended != 0 {
		if len(b) < 2 {
			return Info{}
		}
		at = info.readVP8(b)
	}
	if at >= len(b) {
		return Info{}
	}
	info.Start = b[0]&startOfPartition != 0 && b[0]&partition == 0
	info.Keyframe = info.Start && b[at]&1 == 0
	return info
}

// readVP8 reads the optional fields of a descriptor of at least two bytes and returns where the frame begins, which is
// past the payload if that is cut short.
func (i *Info) readVP8(b []byte) int {
	const hasID, hasTL0, hasTID, hasKeyIdx, long, sync = 0x80, 0x40, 0x20, 0x10, 0x80, 0x20
	p := &i.Picture
	flags, at := b[1], 2
	if flags&hasID != 0 && at < len(b) {
		p.IDAt, p.ID = uint8(at), uint16(b[at]&^long)
		if p.Long = b[at]&long != 0; p.Long {
			if at++; at < len(b) {
				p.ID = p.ID<<8 | uint16(b[at])
			}
		}
	}
	if flags&hasID != 0 {
		at++
	}
	if flags&hasTL0 != 0 {
		if at < len(b) {
			p.TL0At, p.TL0 = uint8(at), b[at]
		}
		at++
	}
	if flags&(hasTID|hasKeyIdx) != 0 {
		if flags&hasTID != 0 && at < len(b) {
			i.Temporal, i.Sync = b[at]>>6, b[at]&sync != 0
		}
		at++
	}
	return at
}
