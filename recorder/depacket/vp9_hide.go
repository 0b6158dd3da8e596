package depacket

// vp9Shown is what the uncompressed header of a frame that is shown says, as far as it must be known to hide the frame:
// VP9 bitstream specification, section 6.2. Positions are bits.
type vp9Shown struct {
	show  int // of show_frame
	after int // where a hidden frame that is not a keyframe says whether it is intra only
	end   int // of the header; 0 for a keyframe, where nothing is added
	width int // of the picture, 0 if another frame says it
}

// hide makes a frame of a lower spatial layer one that is decoded, but not shown. RTP leaves it to the receiver to show
// the highest layer alone, as browsers do; a player of a file shows whatever says that it is to be. width is that of the
// layer's picture by the frames before, 0 if it is not known. What cannot be read is left as it is.
//
// It returns the frame, which may have grown by a byte in place, and the width.
func hide(frame []byte, width int) ([]byte, int) {
	h, ok := shown(frame, width)
	if h.width > 0 {
		width = h.width
	}
	if !ok {
		return frame, width
	}
	frame[h.show/8] &^= 0x80 >> (h.show % 8)
	if h.end == 0 {
		return frame, width
	}
	if h.end%8 == 0 { // no bit is left over in the last byte
		frame = append(frame, 0)
		copy(frame[h.end/8+1:], frame[h.end/8:])
		frame[h.end/8] = 0
	}
	for i := h.end; i > h.after; i-- { // a zero moves in
		bit := frame[(i-1)/8] >> (7 - (i-1)%8) & 1
		frame[i/8] = frame[i/8]&^(0x80>>(i%8)) | bit<<(7-i%8)
	}
	frame[h.after/8] &^= 0x80 >> (h.after % 8)
	return frame, width
}

// shown reads the header of a frame that is shown.
func shown(frame []byte, width int) (h vp9Shown, ok bool) {
	r := &bits{b: frame}
	if r.u(2) != 2 {
		return h, false
	}
	if r.u(1)|r.u(1)<<1 == 3 {
		r.u(1)
	}
	existing, inter := r.flag(), r.flag()
	h.show = r.pos
	if show := r.flag(); existing || !show || r.short {
		return h, false
	}
	resilient := r.flag()
	h.after = r.pos
	if !inter {
		return h, true
	}
	if !resilient {
		r.u(2) // reset_frame_context
	}
	r.u(8) // refresh_frame_flags
	r.u(12)
	if h.width = sizeWithRefs(r); h.width > 0 {
		width = h.width
	}
	r.u(1)         // allow_high_precision_mv
	if !r.flag() { // is_filter_switchable
		r.u(2)
	}
	if !resilient {
		r.u(2) // refresh_frame_context, frame_parallel_decoding_mode
	}
	r.u(2) // frame_context_idx
	skipLoopFilter(r)
	skipQuantization(r)
	skipSegmentation(r)
	if width == 0 {
		return h, false
	}
	skipTiles(r, width)
	compressed := int(r.u(16))
	h.end = r.pos
	return h, !r.short && compressed > 0 && (h.end+7)/8+compressed <= len(frame)
}

// sizeWithRefs reads frame_size_with_refs and returns the width, 0 if it is that of a reference.
func sizeWithRefs(r *bits) (width int) {
	found := false
	for i := 0; i < 3 && !found; i++ {
		found = r.flag()
	}
	if !found {
		width = int(r.u(16)) + 1
		r.u(16)
	}
	if r.flag() { // render_and_frame_size_different
		r.u(32)
	}
	return width
}

func skipLoopFilter(r *bits) {
	r.u(6 + 3)
	enabled := r.flag() // loop_filter_delta_enabled
	if !enabled || !r.flag() {
		return
	}
	for range 4 + 2 {
		if r.flag() {
			r.u(7)
		}
	}
}

func skipQuantization(r *bits) {
	r.u(8)
	for range 3 {
		if r.flag() {
			r.u(5)
		}
	}
}

func skipSegmentation(r *bits) {
	if !r.flag() {
		return
	}
	probabilities := func(n int) {
		for range n {
			if r.flag() {
				r.u(8)
			}
		}
	}
	if r.flag() { // segmentation_update_map
		probabilities(7)
		if r.flag() { // segmentation_temporal_update
			probabilities(3)
		}
	}
	if !r.flag() { // segmentation_update_data
		return
	}
	r.u(1)
	for range 8 {
		for _, size := range [...]int{8 + 1, 6 + 1, 2, 0} { // with their signs
			if r.flag() {
				r.u(size)
			}
		}
	}
}

func skipTiles(r *bits, width int) {
	blocks := (width + 63) / 64
	least, most := 0, 1
	for 64<<least < blocks {
		least++
	}
	for blocks>>most >= 4 {
		most++
	}
	for i := least; i < most-1 && r.flag(); i++ {
		continue
	}
	if r.flag() { // tile_rows_log2
		r.u(1)
	}
}
