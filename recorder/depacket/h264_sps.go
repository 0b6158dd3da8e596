package depacket

// spsInfo is what a file needs to know of a sequence parameter set.
type spsInfo struct {
	width, height        int
	chroma               uint32
	lumaBits, chromaBits uint32
}

// maxPixels bounds either side of a picture.
const maxPixels = 16384

// parseSPS reads a sequence parameter set as far as the cropping, ITU-T H.264, section 7.3.2.1.1.
func parseSPS(nal []byte) (spsInfo, bool) {
	s := spsInfo{chroma: 1, lumaBits: 8, chromaBits: 8}
	if len(nal) < 4 {
		return s, false
	}
	r := &bits{b: unescape(nal[4:])}
	r.ue() // seq_parameter_set_id
	separate := false
	switch nal[1] {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if s.chroma = r.ue(); s.chroma == 3 {
			separate = r.flag()
		}
		s.lumaBits, s.chromaBits = r.ue()+8, r.ue()+8
		r.u(1)
		if r.flag() {
			skipScaling(r, s.chroma)
		}
	}
	r.ue() // log2_max_frame_num_minus4
	skipOrderCount(r)
	r.ue() // max_num_ref_frames
	r.u(1)
	width, height := r.ue(), r.ue()
	frameOnly := r.u(1)
	if frameOnly == 0 {
		r.u(1)
	}
	r.u(1)
	if r.short || s.chroma > 3 || s.lumaBits > 14 || s.chromaBits > 14 || width >= maxPixels/16 || height >= maxPixels/16 {
		return s, false
	}
	s.width, s.height = int(width+1)*16, int(height+1)*16*int(2-frameOnly)
	if r.flag() {
		s.crop(r, separate, int(2-frameOnly))
	}
	return s, !r.short && s.width > 0 && s.height > 0
}

// crop applies the cropping rectangle, ITU-T H.264, equations 7-19 to 7-22.
func (s *spsInfo) crop(r *bits, separate bool, fields int) {
	x, y := 1, fields
	if !separate && (s.chroma == 1 || s.chroma == 2) {
		x = 2
	}
	if !separate && s.chroma == 1 {
		y *= 2
	}
	left, right, top, bottom := r.ue(), r.ue(), r.ue(), r.ue()
	if max(left, right, top, bottom) > maxPixels {
		r.short = true
		return
	}
	s.width -= x * int(left+right)
	s.height -= y * int(top+bottom)
}

func skipScaling(r *bits, chroma uint32) {
	lists := 8
	if chroma == 3 {
		lists = 12
	}
	for i := range lists {
		if !r.flag() {
			continue
		}
		size := 64
		if i < 6 {
			size = 16
		}
		last, next := int32(8), int32(8)
		for range size {
			if next != 0 {
				next = (last + r.se() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
}

func skipOrderCount(r *bits) {
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.u(1)
		r.se()
		r.se()
		for range min(r.ue(), 255) {
			r.se()
		}
	}
}

// unescape removes the emulation prevention bytes, ITU-T H.264, section 7.4.1.
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if zeros++; c != 0 {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}
