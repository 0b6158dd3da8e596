package codec

import "encoding/binary"

// NAL unit types of ITU-T H.264, table 7-1, and RFC 6184, table 1.
const (
	nalIDR   = 5
	nalSPS   = 7
	nalAUD   = 9
	nalSTAPA = 24
	nalSTAPB = 25
	nalFUA   = 28
	nalFUB   = 29
	nalMask  = 0x1f
)

// inspectH264 reads the NAL unit headers of a packet (RFC 6184, section 5). Decoding can begin with a sequence
// parameter set, or with an IDR slice when the camera sent its parameter sets before.
func inspectH264(b []byte) Info {
	var info Info
	switch t := b[0] & nalMask; t {
	case nalSTAPA, nalSTAPB:
		at := 1
		if t == nalSTAPB {
			at += 2 // decoding order number
		}
		for at+2 < len(b) {
			size := int(binary.BigEndian.Uint16(b[at:]))
			at += 2
			if size == 0 || at+size > len(b) {
				break
			}
			info.note(b[at] & nalMask)
			at += size
		}
	case nalFUA, nalFUB:
		const start = 0x80
		if len(b) > 1 && b[1]&start != 0 {
			info.note(b[1] & nalMask)
		}
	default:
		info.note(t)
	}
	return info
}

func (i *Info) note(nalType byte) {
	switch nalType {
	case nalSPS:
		i.Start, i.Keyframe, i.Parameters = true, true, true
	case nalIDR:
		i.Keyframe = true
	case nalAUD:
		i.Start = true
	}
}
