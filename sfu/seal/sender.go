package seal

import (
	"encoding/binary"
	"slices"
)

// maxPadding is what the last octet of RTP padding can count: RFC 3550, section 5.1.
const maxPadding = 255

// Sender protects the packets of one direction. It serves one goroutine at a time.
type Sender struct {
	suite suite
	tag   int
	rtcp  uint32 // next SRTCP index
}

// NewSender returns a Sender for the keys of one direction. The error is ErrProfile or ErrKeys.
func NewSender(p Profile, k Keys) (*Sender, error) {
	s, size, err := newSuite(p, k)
	if err != nil {
		return nil, err
	}
	return &Sender{suite: s, tag: size.tag}, nil
}

// Overhead returns by how many bytes a protected RTP packet is longer than the plain one.
func (s *Sender) Overhead() int { return s.tag }

// RTP writes the protected packet of header and payload to the start of dst and returns its length, or 0, with dst
// unspecified, if header is not one whole RTP header with the sequence number of index, or if dst is shorter than
// len(header)+len(payload)+Overhead. header and payload are not changed and must not overlap dst.
//
// index is the packet index ROC<<16|SEQ of RFC 3711, section 3.3.1, below 1<<48. For each SSRC the caller never gives
// the same index to different bytes: two packets under one index betray both of them and, with GCM, the key that
// authenticates (RFC 7714, section 8.4). The same bytes may be protected again, and come out the same.
func (s *Sender) RTP(dst, header, payload []byte, index uint64) int {
	end := len(header) + len(payload) + s.tag
	if len(dst) < end || !fits(header, index) {
		return 0
	}
	copy(dst, header)
	s.suite.sealRTP(dst[:end], len(header), payload, index)
	return end
}

// RTPPadded is RTP with pad octets of RTP padding behind the payload, at most 255 (RFC 3550, section 5.1); it sets the
// padding flag of what it writes. It returns 0 also if pad is out of range, if header has the flag already, or if dst is
// shorter than len(header)+len(payload)+pad+Overhead. Padding is part of the bytes that an index stands for.
func (s *Sender) RTPPadded(dst, header, payload []byte, pad int, index uint64) int {
	if pad == 0 {
		return s.RTP(dst, header, payload, index)
	}
	end := len(header) + len(payload) + pad + s.tag
	if pad < 0 || pad > maxPadding || len(dst) < end || !fits(header, index) || header[0]&paddingFlag != 0 {
		return 0
	}
	n := copy(dst, header)
	dst[0] |= paddingFlag
	plain := dst[n : end-s.tag]
	padding := plain[copy(plain, payload):]
	clear(padding)
	padding[pad-1] = byte(pad)
	s.suite.sealRTP(dst[:end], n, plain, index)
	return end
}

// fits reports whether header is an RTP header that an index can stand for.
func fits(header []byte, index uint64) bool {
	n, ok := headerSize(header)
	return ok && n == len(header) && binary.BigEndian.Uint16(header[2:]) == uint16(index) && index>>48 == 0
}

// RTCP appends the protected form of an RTCP packet, compound or of reduced size (RFC 5506), to dst and returns the
// result; it allocates only if dst lacks room for RTCPOverhead more bytes than compound has. compound is not changed
// and must not overlap the room behind dst.
//
// It returns dst as it is if compound does not begin with an RTCP header, and after 1<<31 packets, when the key is used up: RFC 3711,
// section 9.2.
func (s *Sender) RTCP(dst, compound []byte) []byte {
	if len(compound) < rtcpHeader || compound[0]&versionMask != version2 || s.rtcp >= encrypted {
		return dst
	}
	n := len(dst)
	end := n + len(compound) + s.RTCPOverhead()
	dst = slices.Grow(dst, end-n)[:end]
	s.suite.sealRTCP(dst[n:], compound, s.rtcp)
	s.rtcp++
	return dst
}

// RTCPOverhead returns by how many bytes a protected RTCP packet is longer than the plain one.
func (s *Sender) RTCPOverhead() int { return s.tag + rtcpWord }
