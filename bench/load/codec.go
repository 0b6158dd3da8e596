package load

import (
	"encoding/binary"

	"github.com/securecam/securecam/bench/rtc"
)

// Codec is a synthetic codec: payloads that servers take for the real one, as
// far as they look, with noise in place of pictures and sound.
type Codec string

// The codecs of cameras. VP9 and AV1 come from files only.
const (
	VP8  Codec = "vp8"
	VP9  Codec = "vp9"
	AV1  Codec = "av1"
	H264 Codec = "h264"
	Opus Codec = "opus"
)

// Synthetic reports whether cameras can make the codec themselves.
func (c Codec) Synthetic() bool { return c == VP8 || c == H264 }

func (c Codec) kind() string {
	if c == Opus {
		return "audio"
	}
	return "video"
}

func (c Codec) offered() rtc.Codec {
	switch c {
	case H264:
		return rtc.Codec{
			Name: "H264", ClockRate: 90000, PayloadType: 102, RTX: 103,
			Format: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		}
	case VP9:
		return rtc.Codec{Name: "VP9", ClockRate: 90000, PayloadType: 98, RTX: 99, Format: "profile-id=0"}
	case AV1:
		return rtc.Codec{Name: "AV1", ClockRate: 90000, PayloadType: 45, RTX: 46}
	case Opus:
		return rtc.Codec{Name: "opus", ClockRate: 48000, Channels: 2, PayloadType: 111, Format: "minptime=10;useinbandfec=1"}
	case VP8:
	}
	return rtc.Codec{Name: "VP8", ClockRate: 90000, PayloadType: 96, RTX: 97}
}

// place says where in its frame a packet is.
type place struct {
	first, last, key bool
	frame            uint16
	height           int // of the picture, which is 16:9
}

// plainHeight is that of a camera without layers.
const plainHeight = 360

// maxPrefix bounds what prefix writes.
const maxPrefix = 16

// prefix writes what the codec wants before the stamp, and returns its length.
func (c Codec) prefix(b []byte, p place) int {
	switch c {
	case H264:
		return h264Prefix(b, p)
	case Opus:
		b[0] = 0xfc // CELT, 20 ms, stereo, one frame: RFC 6716, section 3.1
		return 1
	case VP8, VP9, AV1:
	}
	return vp8Prefix(b, p)
}

// vp8Prefix writes the payload descriptor (RFC 7741, section 4.2) with a
// picture id of 15 bits, and at the begin of a frame its header (RFC 6386,
// section 9.1).
func vp8Prefix(b []byte, p place) int {
	b[0], b[1] = 0x80, 0x80
	binary.BigEndian.PutUint16(b[2:], 0x8000|p.frame&0x7fff)
	if !p.first {
		return 4
	}
	b[0] |= 0x10
	if !p.key {
		copy(b[4:], []byte{0x31, 0x02, 0x00})
		return 7
	}
	copy(b[4:], []byte{0x30, 0x02, 0x00, 0x9d, 0x01, 0x2a})
	binary.LittleEndian.PutUint16(b[10:], uint16(p.height*16/9))
	binary.LittleEndian.PutUint16(b[12:], uint16(p.height))
	return 14
}

// h264Prefix writes the two bytes of a fragmentation unit (RFC 6184, section
// 5.8).
func h264Prefix(b []byte, p place) int {
	b[0], b[1] = 0x5c, 1
	if p.key {
		b[0], b[1] = 0x7c, 5
	}
	if p.first {
		b[1] |= 0x80
	}
	if p.last {
		b[1] |= 0x40
	}
	return 2
}

// parameterSets are the NAL units before an H.264 keyframe, as they stand in
// an aggregation packet (RFC 6184, section 5.7.1): baseline, 640x360.
func parameterSets() []byte {
	return []byte{
		0x78,
		0, 10, 0x67, 0x42, 0xe0, 0x1f, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0xc0,
		0, 4, 0x68, 0xce, 0x3c, 0x80,
	}
}

// seiHead begins the third unit, a user data message (H.264, D.1.7) that holds
// the stamp; one byte ends it.
func seiHead() []byte {
	head := []byte{0, 3 + 16 + stampSize + 1, 0x06, 0x05, 16 + stampSize}
	return append(head, "securecam-bench."...)
}

// parameterPacket is the payload of the packet before an H.264 keyframe.
func parameterPacket(s stamp) []byte {
	b := append(parameterSets(), seiHead()...)
	var body [stampSize]byte
	s.write(body[:])
	return append(append(b, body[:]...), 0x80)
}

// stamped returns the part of a payload that begins with the stamp.
func (c Codec) stamped(payload []byte) []byte {
	switch {
	case len(payload) < stampSize+1:
		return nil
	case c == Opus:
		return payload[1:]
	case c == H264 && payload[0]&0x1f == 24 && len(payload) > stampSize+1:
		return payload[len(payload)-stampSize-1 : len(payload)-1]
	case c == H264:
		return payload[2:]
	}
	return vp8Body(payload)
}

// vp8Body skips the payload descriptor as a server may have rewritten it, and
// the frame header.
func vp8Body(b []byte) []byte {
	n := descriptorLength(b)
	if len(b) <= n {
		return nil
	}
	if b[0]&0x1f == 0x10 { // first packet of the first partition
		if b[n]&1 == 0 {
			n += 10
		} else {
			n += 3
		}
	}
	if len(b) < n {
		return nil
	}
	return b[n:]
}

// descriptorLength returns the length of the payload descriptor (RFC 7741,
// section 4.2) of a payload of at least three bytes.
func descriptorLength(b []byte) int {
	if b[0]&0x80 == 0 {
		return 1
	}
	n, extension := 2, b[1]
	if extension&0x80 != 0 {
		n++
	}
	if extension&0x80 != 0 && b[2]&0x80 != 0 {
		n++
	}
	if extension&0x40 != 0 {
		n++
	}
	if extension&0x30 != 0 {
		n++
	}
	return n
}
