package feedback

import "encoding/binary"

const (
	// maxBlocks is what the count of a report can say.
	maxBlocks = 31
	// maxPairs bounds a NACK to what fits any datagram.
	maxPairs = 256
	// maxCNAME is what the length of an SDES item can say.
	maxCNAME = 255
)

// The functions below append one RTCP packet to dst and return the result; they allocate only if dst lacks the room.
// Several in a row make a compound packet.

// AppendPLI asks media's sender for a keyframe: RFC 4585, section 6.3.1. It is 12 bytes long.
func AppendPLI(dst []byte, sender, media uint32) []byte {
	dst = appendHeader(dst, formatPLI, typePSFB, feedbackSize)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	return binary.BigEndian.AppendUint32(dst, media)
}

// AppendFIR demands a keyframe of media, with a number that is another one than that of the demand before: RFC 5104,
// section 4.3.1. It is 20 bytes long.
func AppendFIR(dst []byte, sender, media uint32, number uint8) []byte {
	dst = appendHeader(dst, formatFIR, typePSFB, feedbackSize+firSize)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	dst = binary.BigEndian.AppendUint32(dst, 0) // SHALL be 0: RFC 5104, section 4.3.1.2
	dst = binary.BigEndian.AppendUint32(dst, media)
	return append(dst, number, 0, 0, 0)
}

// AppendBye says that these sources are gone: RFC 3550, section 6.6. At most 31 are named.
func AppendBye(dst []byte, ssrcs ...uint32) []byte {
	ssrcs = ssrcs[:min(len(ssrcs), maxBlocks)]
	dst = appendHeader(dst, byte(len(ssrcs)), typeBye, len(ssrcs)*ssrcSize)
	for _, ssrc := range ssrcs {
		dst = binary.BigEndian.AppendUint32(dst, ssrc)
	}
	return dst
}

// AppendNACK asks media's sender for the sequence numbers in lost again, which are in the order of sending: RFC 4585,
// section 6.2.1. It is 12 bytes long and 4 more for each pair; what does not go into 256 pairs is left out. Without
// lost packets, nothing is appended.
func AppendNACK(dst []byte, sender, media uint32, lost []uint16) []byte {
	if len(lost) == 0 {
		return dst
	}
	start := len(dst)
	dst = appendHeader(dst, formatNACK, typeRTPFB, 0)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	dst = binary.BigEndian.AppendUint32(dst, media)
	pairs := 0
	for len(lost) > 0 && pairs < maxPairs {
		pid, blp := lost[0], uint16(0)
		for lost = lost[1:]; len(lost) > 0 && lost[0]-pid <= 16; lost = lost[1:] {
			if lost[0] != pid {
				blp |= 1 << (lost[0] - pid - 1)
			}
		}
		dst = binary.BigEndian.AppendUint16(dst, pid)
		dst = binary.BigEndian.AppendUint16(dst, blp)
		pairs++
	}
	setSize(dst[start:])
	return dst
}

// AppendSenderReport reports what ssrc sent: RFC 3550, section 6.4.1. It has no report blocks and is 28 bytes long.
func AppendSenderReport(dst []byte, ssrc uint32, info SenderInfo) []byte {
	dst = appendHeader(dst, 0, typeSR, ssrcSize+senderInfoSize)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = binary.BigEndian.AppendUint64(dst, info.NTP)
	dst = binary.BigEndian.AppendUint32(dst, info.RTP)
	dst = binary.BigEndian.AppendUint32(dst, info.Packets)
	return binary.BigEndian.AppendUint32(dst, info.Octets)
}

// AppendCNAME names ssrc: an SDES packet of one chunk with the item that every compound packet has to have, at most 255
// bytes of it (RFC 3550, sections 6.1 and 6.5). It is at most 14 bytes longer than the name.
func AppendCNAME(dst []byte, ssrc uint32, cname string) []byte {
	cname = cname[:min(len(cname), maxCNAME)]
	start := len(dst)
	dst = appendHeader(dst, 1, typeSDES, 0)
	dst = binary.BigEndian.AppendUint32(dst, ssrc)
	dst = append(dst, 1, byte(len(cname)))
	dst = append(dst, cname...)
	// One zero octet ends the chunk, more of them its last word.
	for dst = append(dst, 0); (len(dst)-start)%4 != 0; {
		dst = append(dst, 0)
	}
	setSize(dst[start:])
	return dst
}

// AppendReceiverReport reports what came: RFC 3550, section 6.4.2. It is 8 bytes long and 24 more for each block; at most
// 31 blocks are taken.
func AppendReceiverReport(dst []byte, sender uint32, blocks []Block) []byte {
	blocks = blocks[:min(len(blocks), maxBlocks)]
	dst = appendHeader(dst, byte(len(blocks)), typeRR, ssrcSize+len(blocks)*blockSize)
	dst = binary.BigEndian.AppendUint32(dst, sender)
	for i := range blocks {
		b := &blocks[i]
		dst = binary.BigEndian.AppendUint32(dst, b.SSRC)
		// RFC 3550, appendix A.3: the count of lost packets is clamped, not wrapped.
		lost := max(-1<<23, min(b.Lost, 1<<23-1))
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.FractionLost)<<24|uint32(lost)&0xffffff)
		dst = binary.BigEndian.AppendUint32(dst, b.Highest)
		dst = binary.BigEndian.AppendUint32(dst, b.Jitter)
		dst = binary.BigEndian.AppendUint32(dst, b.LastSR)
		dst = binary.BigEndian.AppendUint32(dst, b.Delay)
	}
	return dst
}

// appendHeader begins a packet whose body has size bytes.
func appendHeader(dst []byte, count, packetType byte, size int) []byte {
	return binary.BigEndian.AppendUint16(append(dst, version2|count, packetType), uint16(size/4))
}

// setSize writes the length of a whole packet into its header.
func setSize(packet []byte) {
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)/4-1))
}
