package depacket

// sequence is what a file needs to know of a sequence header.
type sequence struct {
	width, height int
	av1C          []byte
}

// maxParameters bounds sequence headers and parameter sets, which are some dozen bytes.
const maxParameters = 1 << 10

// parseSequenceHeader reads a sequence header OBU with its size field, AV1 bitstream specification, section
// 5.5, and makes an av1C box of it, AV1 Codec ISO Media File Format Binding, section 2.3.
func parseSequenceHeader(obu []byte) (sequence, bool) {
	var s sequence
	head := 1 + int(obu[0]>>2)&1
	_, width := leb128(obu[head:])
	if len(obu) > maxParameters {
		return s, false
	}
	r := &bits{b: obu[head+width:]}
	profile := r.u(3)
	r.u(1)
	reduced := r.flag()
	level, tier := operatingPoints(r, reduced)
	wbits, hbits := int(r.u(4))+1, int(r.u(4))+1
	s.width, s.height = int(r.u(wbits))+1, int(r.u(hbits))+1
	skipTools(r, reduced)
	color := colorConfig(r, profile)
	if r.short {
		return s, false
	}
	s.av1C = append([]byte{0x81, byte(profile<<5 | level), byte(tier<<7) | color, 0}, obu...)
	return s, true
}

// operatingPoints reads up to the end of the operating points and returns level and tier of the first.
func operatingPoints(r *bits, reduced bool) (level, tier uint32) {
	if reduced {
		return r.u(5), 0
	}
	decoderModel, delayBits := false, 0
	if r.flag() { // timing_info
		r.u(32)
		r.u(32)
		if r.flag() {
			r.ue()
		}
		if decoderModel = r.flag(); decoderModel {
			delayBits = int(r.u(5)) + 1
			r.u(32)
			r.u(10)
		}
	}
	initialDelay := r.flag()
	for i := range r.u(5) + 1 {
		r.u(12)
		l, t := r.u(5), uint32(0)
		if l > 7 {
			t = r.u(1)
		}
		if decoderModel && r.flag() {
			r.u(delayBits)
			r.u(delayBits)
			r.u(1)
		}
		if initialDelay && r.flag() {
			r.u(4)
		}
		if i == 0 {
			level, tier = l, t
		}
	}
	return level, tier
}

// skipTools reads what lies between the frame size and the color configuration.
func skipTools(r *bits, reduced bool) {
	if !reduced && r.flag() { // frame_id_numbers_present_flag
		r.u(7)
	}
	r.u(3) // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
	if !reduced {
		skipInterTools(r)
	}
	r.u(3) // superres, cdef, restoration
}

func skipInterTools(r *bits) {
	r.u(4) // interintra, masked compound, warped motion, dual filter
	orderHint := r.flag()
	if orderHint {
		r.u(2)
	}
	screenContent := r.flag() // seq_choose_screen_content_tools
	if !screenContent {
		screenContent = r.flag() // seq_force_screen_content_tools
	}
	if screenContent && !r.flag() { // not seq_choose_integer_mv
		r.u(1)
	}
	if orderHint {
		r.u(3)
	}
}

// colorConfig reads color_config and returns it as in the third byte of av1C, without the tier.
func colorConfig(r *bits, profile uint32) byte {
	high, twelve, mono := r.u(1), uint32(0), uint32(0)
	if profile == 2 && high == 1 {
		twelve = r.u(1)
	}
	if profile != 1 {
		mono = r.u(1)
	}
	color := uint32(0x020202) // unspecified primaries, transfer, matrix
	if r.flag() {
		color = r.u(24)
	}
	x, y, position := uint32(1), uint32(1), uint32(0)
	switch {
	case mono == 1:
		r.u(1)
	case color == 0x010D00: // BT.709, sRGB, identity
		x, y = 0, 0
	default:
		r.u(1)
		if x, y = subsampling(r, profile, twelve); x&y == 1 {
			position = r.u(2)
		}
	}
	return byte(high<<6 | twelve<<5 | mono<<4 | x<<3 | y<<2 | position)
}

func subsampling(r *bits, profile, twelve uint32) (x, y uint32) {
	switch {
	case profile == 0:
		return 1, 1
	case profile == 1:
		return 0, 0
	case twelve == 0:
		return 1, 0
	}
	if x = r.u(1); x == 1 {
		y = r.u(1)
	}
	return x, y
}
