package codec

// bits reads big-endian bit fields. Behind the end it reads zeros and remembers that in short.
type bits struct {
	b     []byte
	pos   int
	short bool
}

func (r *bits) u(n int) uint32 {
	var v uint32
	for range n {
		v <<= 1
		if r.pos>>3 >= len(r.b) {
			r.short = true
			continue
		}
		v |= uint32(r.b[r.pos>>3]>>(7-r.pos&7)) & 1
		r.pos++
	}
	return v
}

func (r *bits) flag() bool { return r.u(1) == 1 }

// ue reads an unsigned Exp-Golomb code: ITU-T H.264, section 9.1, and AV1's uvlc, section 4.10.3.
func (r *bits) ue() uint32 {
	zeros := 0
	for !r.flag() {
		zeros++
		if r.short || zeros > 31 {
			r.short = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed Exp-Golomb code: ITU-T H.264, section 9.1.1.
func (r *bits) se() int32 {
	v := r.ue()
	if v&1 == 1 {
		return int32(v/2 + 1)
	}
	return -int32(v / 2)
}
