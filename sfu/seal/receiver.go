package seal

import "encoding/binary"

const (
	rtpHeader   = 12
	versionMask = 0xc0
	version2    = 0x80
	paddingFlag = 0x20
)

// Receiver opens the packets of one direction. It serves one goroutine at a time.
//
// What is not authentic is refused in a time that depends on its length alone, and changes nothing but the bytes of the
// packet itself.
type Receiver struct {
	suite     suite
	tag       int
	word      int // distance of the SRTCP index from the end of a packet
	rtp, rtcp streams
	crowded   bool
}

// Crowded reports whether an authentic packet was refused because it was of one SSRC too many.
func (r *Receiver) Crowded() bool { return r.crowded }

// NewReceiver returns a Receiver for the keys of one direction. The error is ErrProfile or ErrKeys.
func NewReceiver(p Profile, k Keys) (*Receiver, error) {
	s, size, err := newSuite(p, k)
	if err != nil {
		return nil, err
	}
	r := &Receiver{suite: s, tag: size.tag, word: rtcpWord}
	if size.auth > 0 {
		r.word += size.tag // the tag covers the index and so comes last
	}
	return r, nil
}

// RTP opens an SRTP packet in place and returns its header and payload, with any RTP padding, which share the memory of
// packet. It is not ok, and packet is spoilt, if the packet is malformed or not authentic, came before, is too old to
// tell (960 packets are remembered for each SSRC), or is of one SSRC too many.
func (r *Receiver) RTP(packet []byte) (plain []byte, ok bool) {
	n, ok := headerSize(packet)
	if !ok || len(packet) < n+r.tag {
		return nil, false
	}
	ssrc := binary.BigEndian.Uint32(packet[8:])
	w, room := r.rtp.window(ssrc)
	index, ok := w.index(binary.BigEndian.Uint16(packet[2:]))
	if !ok || !w.fresh(index) || !r.suite.openRTP(packet, n, index) {
		return nil, false
	}
	if !room {
		r.crowded = true
		return nil, false
	}
	r.rtp.mark(ssrc, index)
	return packet[:len(packet)-r.tag], true
}

// RTCP opens an SRTCP packet in place and returns the RTCP packets in it, which share the memory of packet. It is not ok,
// and packet is spoilt, in the cases in which RTP's result is not; and if it is not encrypted, which no profile of
// DTLS-SRTP allows (RFC 5764, section 4.1.2).
func (r *Receiver) RTCP(packet []byte) (plain []byte, ok bool) {
	end := len(packet) - r.tag - rtcpWord
	if end < rtcpHeader || packet[0]&versionMask != version2 {
		return nil, false
	}
	index := binary.BigEndian.Uint32(packet[len(packet)-r.word:])
	if index&encrypted == 0 {
		return nil, false
	}
	index &^= encrypted
	ssrc := binary.BigEndian.Uint32(packet[4:])
	w, room := r.rtcp.window(ssrc)
	if !w.fresh(uint64(index)) || !r.suite.openRTCP(packet, index) {
		return nil, false
	}
	if !room {
		r.crowded = true
		return nil, false
	}
	r.rtcp.mark(ssrc, uint64(index))
	return packet[:end], true
}

// headerSize returns the length of the RTP header that b begins with, CSRCs and extension included: RFC 3550, section
// 5.1. It is not ok if b is shorter or of another version.
func headerSize(b []byte) (n int, ok bool) {
	if len(b) < rtpHeader || b[0]&versionMask != version2 {
		return 0, false
	}
	n = rtpHeader + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return 0, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	return n, n <= len(b)
}
