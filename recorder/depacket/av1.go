package depacket

// av1 reads the RTP payload format for AV1 of the Alliance for Open Media, version 1.0.
type av1 struct {
	open             bool // an OBU goes on in the next packet
	obu              int  // where it, or the one being read, starts in the frame
	seqStart, seqEnd int  // of the sequence header in the frame
	frames           int  // frame headers seen
	key              bool // the first of them is of a keyframe
}

// OBU types, AV1 bitstream specification, section 6.2.2.
const (
	obuSequenceHeader    = 1
	obuTemporalDelimiter = 2
	obuFrameHeader       = 3
	obuFrame             = 6
	obuTileList          = 8
	obuPadding           = 15
)

func (d *av1) Reset() { *d = av1{} }

// Begins reads the N bit: the packet is the first one of a coded video sequence (section 4.4).
func (*av1) Begins(payload []byte) bool { return len(payload) > 1 && payload[0]&0x88 == 0x08 }

// Push reads the OBU elements of a packet, section 4.3.
func (d *av1) Push(frame, payload []byte) ([]byte, error) {
	if len(payload) < 2 {
		return frame, ErrInvalid
	}
	continues, goesOn := payload[0]&0x80 != 0, payload[0]&0x40 != 0
	count := int(payload[0]>>4) & 3
	if continues != d.open {
		return frame, ErrInvalid
	}
	rest := payload[1:]
	for i := 1; len(rest) > 0; i++ {
		element := rest
		if i == count {
			rest = nil
		} else {
			n, width := leb128(rest)
			if width == 0 || n > len(rest)-width {
				return frame, ErrInvalid
			}
			element, rest = rest[width:width+n], rest[width+n:]
		}
		if !d.open {
			d.obu = len(frame)
		}
		var err error
		if frame, err = grow(frame, element); err != nil {
			return frame, err
		}
		if d.open = goesOn && len(rest) == 0; d.open {
			break
		}
		if frame, err = d.endOBU(frame); err != nil {
			return frame, err
		}
	}
	return frame, nil
}

// endOBU gives the OBU at the end of frame its size field, or removes it when files do not have it:
// AV1 in Matroska, section "Block Data".
func (d *av1) endOBU(frame []byte) ([]byte, error) {
	obu := frame[d.obu:]
	if len(obu) == 0 {
		return frame, nil
	}
	kind := int(obu[0]>>3) & 15
	head := 1 + int(obu[0]>>2)&1
	if obu[0]&0x80 != 0 || len(obu) < head {
		return frame, ErrInvalid
	}
	if kind == obuTemporalDelimiter || kind == obuTileList || kind == obuPadding {
		return frame[:d.obu], nil
	}
	body := obu[head:]
	if obu[0]&2 != 0 { // the size is there already, though RTP does not need it
		n, width := leb128(body)
		if width == 0 || n > len(body)-width {
			return frame, ErrInvalid
		}
		body = body[width : width+n]
		frame = frame[:d.obu+head+width+n]
	} else {
		size := appendLEB128(nil, len(body))
		var err error
		if frame, err = grow(frame, size); err != nil {
			return frame, err
		}
		frame[d.obu] |= 2
		body = frame[d.obu+head+len(size):]
		copy(body, frame[d.obu+head:])
		copy(frame[d.obu+head:], size)
	}
	d.note(kind, body, len(frame))
	return frame, nil
}

func (d *av1) note(kind int, body []byte, end int) {
	switch kind {
	case obuSequenceHeader:
		d.seqStart, d.seqEnd = d.obu, end
	case obuFrame, obuFrameHeader:
		if d.frames++; d.frames == 1 {
			d.key = len(body) > 0 && body[0]>>5 == 0 // show_existing_frame is 0, frame_type is KEY_FRAME
		}
	}
}

func (d *av1) Finish(frame []byte) (Frame, error) {
	if d.open {
		return Frame{}, ErrInvalid
	}
	if d.frames == 0 {
		return Frame{}, nil
	}
	f := Frame{Data: frame}
	if !d.key || d.seqEnd == 0 { // without its sequence header a keyframe is no place to start
		return f, nil
	}
	s, ok := parseSequenceHeader(frame[d.seqStart:d.seqEnd])
	if !ok {
		return f, ErrInvalid
	}
	f.Keyframe, f.Width, f.Height, f.Private = true, s.width, s.height, s.av1C
	return f, nil
}

// leb128 reads a size, AV1 bitstream specification, section 4.10.5; width is 0 when it is cut or too large.
func leb128(b []byte) (n, width int) {
	for i := 0; i < len(b) && i < 4; i++ {
		n |= int(b[i]&0x7F) << (7 * i)
		if b[i]&0x80 == 0 {
			return n, i + 1
		}
	}
	return 0, 0
}

func appendLEB128(b []byte, n int) []byte {
	for n > 0x7F {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
