package depacket

import (
	"bytes"
	"encoding/binary"
)

// h264 reads the payload format of RFC 6184, packetization modes 0 and 1, into NAL units with a length of 4
// bytes, ISO/IEC 14496-15.
type h264 struct {
	fragment   int // where the NAL unit being put together starts in the frame; -1 without one
	pictures   int // slices in the frame
	idr        bool
	own        bool // the frame has a sequence parameter set
	sps        []byte
	pps        []pictureParameters
	parsed     spsInfo
	parsedGood bool
}

type pictureParameters struct {
	id  uint32
	nal []byte
}

// NAL unit types, ITU-T H.264, table 7-1, and RFC 6184, table 1.
const (
	nalSlice = 1
	nalIDR   = 5
	nalSPS   = 7
	nalPPS   = 8
	nalAUD   = 9
	nalSTAPA = 24
	nalFUA   = 28

	maxPPS = 8
)

func (d *h264) Reset() { d.fragment, d.pictures, d.idr, d.own = -1, 0, false, false }

// Begins reports whether payload has what begins an access unit with a keyframe: parameters, a delimiter, or
// the first slice.
func (*h264) Begins(p []byte) bool {
	if len(p) > 3 && p[0]&31 == nalSTAPA {
		p = p[3:]
	}
	switch {
	case len(p) < 2:
		return false
	case p[0]&31 == nalFUA:
		return len(p) > 2 && p[1]&0x80 != 0 && p[1]&31 == nalIDR && p[2]&0x80 != 0
	case p[0]&31 == nalIDR:
		return p[1]&0x80 != 0 // first_mb_in_slice is 0
	}
	return p[0]&31 == nalSPS || p[0]&31 == nalAUD
}

func (d *h264) Push(frame, p []byte) ([]byte, error) {
	if len(p) == 0 {
		return frame, ErrInvalid
	}
	kind := p[0] & 31
	if d.fragment >= 0 && kind != nalFUA {
		return frame, ErrInvalid
	}
	switch {
	case kind >= 1 && kind < nalSTAPA:
		return d.appendNAL(frame, p)
	case kind == nalSTAPA:
		return d.aggregate(frame, p[1:])
	case kind == nalFUA && len(p) > 2:
		return d.appendFragment(frame, p)
	}
	return frame, ErrInvalid
}

// aggregate reads a STAP-A, RFC 6184, section 5.7.1.
func (d *h264) aggregate(frame, p []byte) ([]byte, error) {
	for len(p) > 2 {
		n := int(binary.BigEndian.Uint16(p))
		if n == 0 || n > len(p)-2 {
			return frame, ErrInvalid
		}
		var err error
		if frame, err = d.appendNAL(frame, p[2:2+n]); err != nil {
			return frame, err
		}
		p = p[2+n:]
	}
	return frame, nil
}

// appendFragment reads an FU-A, RFC 6184, section 5.8.
func (d *h264) appendFragment(frame, p []byte) ([]byte, error) {
	start, end := p[1]&0x80 != 0, p[1]&0x40 != 0
	if start == (d.fragment >= 0) {
		return frame, ErrInvalid
	}
	var err error
	if start {
		d.fragment = len(frame)
		if frame, err = grow(frame, []byte{0, 0, 0, 0, p[0]&0xE0 | p[1]&31}); err != nil {
			return frame, err
		}
	}
	if frame, err = grow(frame, p[2:]); err != nil || !end {
		return frame, err
	}
	nal := frame[d.fragment+4:]
	binary.BigEndian.PutUint32(frame[d.fragment:], uint32(len(nal)))
	d.fragment = -1
	d.note(nal)
	return frame, nil
}

func (d *h264) appendNAL(frame, nal []byte) ([]byte, error) {
	if len(frame)+4+len(nal) > MaxFrame {
		return frame, ErrLarge
	}
	d.note(nal)
	return append(binary.BigEndian.AppendUint32(frame, uint32(len(nal))), nal...), nil
}

// note remembers parameters and what the access unit is made of.
func (d *h264) note(nal []byte) {
	switch kind := nal[0] & 31; {
	case kind >= nalSlice && kind <= nalIDR:
		d.pictures++
		d.idr = d.idr || kind == nalIDR
	case len(nal) > maxParameters:
	case kind == nalSPS:
		d.own = true
		if !bytes.Equal(d.sps, nal) {
			d.sps, d.pps = bytes.Clone(nal), nil
			d.parsed, d.parsedGood = parseSPS(nal)
		}
	case kind == nalPPS:
		d.notePPS(nal)
	}
}

func (d *h264) notePPS(nal []byte) {
	r := bits{b: nal, pos: 8}
	id := r.ue()
	for i := range d.pps {
		if d.pps[i].id == id {
			if !bytes.Equal(d.pps[i].nal, nal) {
				d.pps[i].nal = bytes.Clone(nal)
			}
			return
		}
	}
	if len(d.pps) < maxPPS {
		d.pps = append(d.pps, pictureParameters{id, bytes.Clone(nal)})
	}
}

func (d *h264) Finish(frame []byte) (Frame, error) {
	if d.fragment >= 0 {
		return Frame{}, ErrInvalid
	}
	if d.pictures == 0 {
		return Frame{}, nil
	}
	f := Frame{Data: frame}
	if !d.idr {
		return f, nil
	}
	if !d.parsedGood || len(d.pps) == 0 {
		return f, ErrInvalid
	}
	f.Keyframe, f.Width, f.Height, f.Private = true, d.parsed.width, d.parsed.height, d.avcC()
	if !d.own { // the parameters came by themselves: put them where a reader that seeks here finds them
		f.Data = d.withParameters(frame)
	}
	if len(f.Data) > MaxFrame {
		return f, ErrLarge
	}
	return f, nil
}

func (d *h264) withParameters(frame []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(d.sps)))
	b = append(b, d.sps...)
	for _, p := range d.pps {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(p.nal))), p.nal...)
	}
	return append(b, frame...)
}

// avcC makes an AVCDecoderConfigurationRecord, ISO/IEC 14496-15, section 5.3.3.1.
func (d *h264) avcC() []byte {
	b := []byte{1, d.sps[1], d.sps[2], d.sps[3], 0xFF, 0xE1} // lengths of 4 bytes, one sequence parameter set
	b = binary.BigEndian.AppendUint16(b, uint16(len(d.sps)))
	b = append(append(b, d.sps...), byte(len(d.pps)))
	for _, p := range d.pps {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.nal)))
		b = append(b, p.nal...)
	}
	switch d.sps[1] {
	case 66, 77, 88: // baseline, main and extended are always 4:2:0 with 8 bits
	default:
		b = append(b, 0xFC|byte(d.parsed.chroma), 0xF8|byte(d.parsed.lumaBits-8), 0xF8|byte(d.parsed.chromaBits-8), 0)
	}
	return b
}
