package codec

import "encoding/binary"

// Size is a picture's, in pixels.
type Size struct{ Width, Height int }

// maxSide bounds a picture's side: what is larger is a lie.
const maxSide = 1 << 14

// Sizes reads how large the picture is that begins with the payload, a keyframe's first. It fills sizes, one for each
// spatial layer from the lowest on, and returns how many it knows.
func Sizes(c Codec, payload []byte, sizes []Size) int {
	if len(sizes) == 0 {
		return 0
	}
	n := 0
	switch c {
	case VP8:
		sizes[0], n = sizeVP8(payload), 1
	case VP9:
		n = sizesVP9(payload, sizes)
	case H264:
		sizes[0], n = sizeH264(payload), 1
	case AV1:
		sizes[0], n = sizeAV1(payload), 1
	case Unknown, Opus:
	}
	for i, s := range sizes[:n] {
		if s.Width <= 0 || s.Height <= 0 || s.Width > maxSide || s.Height > maxSide {
			return i
		}
	}
	return n
}

// sizeVP8 reads a keyframe's header: RFC 6386, section 9.1.
func sizeVP8(b []byte) Size {
	const extended = 0x80
	at := 1
	if len(b) > 1 && b[0]&extended != 0 {
		var i Info
		at = i.readVP8(b)
	}
	if len(b) < at+10 || b[at]&1 != 0 || b[at+3] != 0x9d || b[at+4] != 0x01 || b[at+5] != 0x2a {
		return Size{}
	}
	return Size{int(binary.LittleEndian.Uint16(b[at+6:]) & 0x3fff), int(binary.LittleEndian.Uint16(b[at+8:]) & 0x3fff)}
}

// sizeH264 reads the sequence parameter set of a packet that has one, alone or in a STAP-A.
func sizeH264(b []byte) Size {
	for nal := range nalUnits(b) {
		if nal[0]&nalMask == nalSPS {
			return sizeSPS(nal)
		}
	}
	return Size{}
}

// maxParameters bounds a parameter set that is read; those of cameras have some dozen bytes.
const maxParameters = 256

// sizeSPS reads a sequence parameter set as far as the cropping: ITU-T H.264, section 7.3.2.1.1.
func sizeSPS(nal []byte) Size {
	if len(nal) < 4 {
		return Size{}
	}
	var buf [maxParameters]byte
	r := &bits{b: unescape(buf[:0], nal[1:min(len(nal), maxParameters)])}
	profile := r.u(8)
	r.u(16) // constraints, level
	r.ue()  // seq_parameter_set_id
	chroma, separate := uint32(1), false
	if highProfile(profile) {
		chroma, separate = highSPS(r)
	}
	r.ue() // log2_max_frame_num_minus4
	skipOrderCount(r)
	r.ue() // max_num_ref_frames
	r.u(1) // gaps_in_frame_num_value_allowed_flag
	width, height := int64(r.ue())+1, int64(r.ue())+1
	fields := int64(2)
	if r.flag() { // frame_mbs_only_flag
		fields = 1
	} else {
		r.u(1)
	}
	r.u(1) // direct_8x8_inference_flag
	width, height = 16*width, 16*height*fields
	if r.flag() {
		x, y := int64(1), fields
		if chroma == 1 || chroma == 2 && !separate {
			x = 2
		}
		if chroma == 1 {
			y *= 2
		}
		width -= x * (int64(r.ue()) + int64(r.ue()))
		height -= y * (int64(r.ue()) + int64(r.ue()))
	}
	if r.short || width > maxSide || height > maxSide {
		return Size{}
	}
	return Size{int(width), int(height)}
}

// highProfile reports whether a profile's parameter sets say how colors are sampled.
func highProfile(profile uint32) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

func highSPS(r *bits) (chroma uint32, separate bool) {
	if chroma = r.ue(); chroma == 3 {
		separate = r.flag()
	}
	r.ue() // bit depths
	r.ue()
	r.u(1)
	if r.flag() { // scaling matrix
		lists := 8
		if chroma == 3 {
			lists = 12
		}
		for i := range lists {
			if r.flag() {
				skipScaling(r, i)
			}
		}
	}
	return chroma, separate
}

func skipScaling(r *bits, list int) {
	size := 16
	if list >= 6 {
		size = 64
	}
	last, next := int32(8), int32(8)
	for range size {
		if next != 0 {
			next = (last + r.se() + 256) % 256
		}
		if next != 0 {
			last = next
		}
		if r.short {
			return
		}
	}
}

func skipOrderCount(r *bits) {
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.u(1)
		r.ue()
		r.ue()
		for range min(r.ue(), 255) {
			if r.ue(); r.short {
				return
			}
		}
	}
}

// unescape appends b to out without its emulation prevention: ITU-T H.264, section 7.4.1.
func unescape(out, b []byte) []byte {
	zeros := 0
	for _, v := range b {
		if zeros >= 2 && v == 3 {
			zeros = 0
			continue
		}
		out = append(out, v)
		if v == 0 {
			zeros++
		} else {
			zeros = 0
		}
	}
	return out
}

// sizeAV1 reads the sequence header that a coded video sequence begins with: AV1 bitstream specification, section 5.5.
func sizeAV1(b []byte) Size {
	obu := firstOBU(b)
	if len(obu) == 0 || obu[0]>>3&0x0f != obuSequenceHeader {
		return Size{}
	}
	const hasExtension, hasSize = 0x04, 0x02
	at := 1
	if obu[0]&hasExtension != 0 {
		at++
	}
	if obu[0]&hasSize != 0 {
		for at < len(obu) && obu[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if at >= len(obu) {
		return Size{}
	}
	r := &bits{b: obu[at:]}
	r.u(3) // seq_profile
	r.u(1) // still_picture
	skipOperatingPoints(r)
	w, h := int(r.u(4))+1, int(r.u(4))+1
	size := Size{int(r.u(w)) + 1, int(r.u(h)) + 1}
	if r.short {
		return Size{}
	}
	return size
}

func skipOperatingPoints(r *bits) {
	if r.flag() { // reduced_still_picture_header
		r.u(5)
		return
	}
	decoderModel, delayBits := false, 0
	if r.flag() { // timing_info_present_flag
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
	for range r.u(5) + 1 {
		r.u(12)
		if r.u(5) > 7 {
			r.u(1)
		}
		if decoderModel && r.flag() {
			r.u(delayBits)
			r.u(delayBits)
			r.u(1)
		}
		if initialDelay && r.flag() {
			r.u(4)
		}
	}
}
