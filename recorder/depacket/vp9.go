package depacket

import "encoding/binary"

// vp9 reads the payload format of RFC 9628.
type vp9 struct {
	starts        []int  // of the spatial layers in the frame
	layers        []byte // which those are
	widths        [8]int // of the layers' pictures, as far as frames have said
	width, height int    // of the highest layer, as the scalability structure says
}

const maxVP9Layers = 8

// vp9Descriptor is what is needed of a payload descriptor, RFC 9628, section 4.2.
type vp9Descriptor struct {
	inter, begin  bool
	spatial       byte
	width, height int
	media         []byte
}

func (d *vp9) Reset() { d.starts, d.layers, d.width, d.height = d.starts[:0], d.layers[:0], 0, 0 }

func (*vp9) descriptor(p []byte) (vp9Descriptor, bool) {
	var d vp9Descriptor
	if len(p) == 0 {
		return d, false
	}
	flags := p[0]
	d.inter, d.begin = flags&0x40 != 0, flags&0x08 != 0
	r := bits{b: p, pos: 8}
	if flags&0x80 != 0 && r.flag() { // I, M
		r.u(15)
	} else if flags&0x80 != 0 {
		r.u(7)
	}
	if flags&0x20 != 0 { // L
		d.spatial = byte(r.u(8)>>1) & 7
		if flags&0x10 == 0 { // not F: TL0PICIDX
			r.u(8)
		}
	}
	if flags&0x50 == 0x50 { // F and P: up to three P_DIFF
		for i := 0; r.u(8)&1 == 1; i++ {
			if i == 2 {
				return d, false
			}
		}
	}
	if flags&0x02 != 0 {
		d.structure(&r)
	}
	n := r.pos / 8
	if r.short || n >= len(p) {
		return d, false
	}
	d.media = p[n:]
	return d, true
}

// structure reads a scalability structure, RFC 9628, section 4.2.1.
func (d *vp9Descriptor) structure(r *bits) {
	layers := r.u(3) + 1
	sizes, groups := r.flag(), r.flag()
	r.u(3)
	if sizes {
		for range layers {
			d.width, d.height = int(r.u(16)), int(r.u(16))
		}
	}
	if !groups {
		return
	}
	for range r.u(8) {
		r.u(4)
		refs := int(r.u(2))
		r.u(2 + 8*refs)
	}
}

func (d *vp9) Begins(payload []byte) bool {
	v, ok := d.descriptor(payload)
	return ok && v.begin && !v.inter && v.spatial == 0
}

func (d *vp9) Push(frame, payload []byte) ([]byte, error) {
	v, ok := d.descriptor(payload)
	if !ok || !v.begin && len(frame) == 0 {
		return frame, ErrInvalid
	}
	if v.begin {
		if len(d.starts) == maxVP9Layers {
			return frame, ErrInvalid
		}
		d.starts, d.layers = append(d.starts, len(frame)), append(d.layers, v.spatial)
	}
	if v.width > 0 && v.height > 0 {
		d.width, d.height = v.width, v.height
	}
	return grow(frame, v.media)
}

func (d *vp9) Finish(frame []byte) (Frame, error) {
	if len(frame) == 0 || len(d.starts) == 0 {
		return Frame{}, ErrInvalid
	}
	f, err := vp9Header(frame)
	if err != nil {
		return f, err
	}
	if f.Keyframe {
		d.widths[d.layers[0]] = f.Width
	}
	if f.Keyframe && d.width > 0 {
		f.Width, f.Height = d.width, d.height
	}
	if len(d.starts) > 1 {
		f.Data, err = d.superframe(d.hideLower(frame))
	}
	return f, err
}

// hideLower has the highest layer alone shown.
func (d *vp9) hideLower(frame []byte) []byte {
	for i := len(d.starts) - 2; i >= 0; i-- {
		start, end := d.starts[i], d.starts[i+1]
		width := &d.widths[d.layers[i]]
		var hidden []byte
		hidden, *width = hide(append(make([]byte, 0, end-start+1), frame[start:end]...), *width)
		if grown := len(hidden) - (end - start); grown > 0 {
			frame = append(frame, 0)
			copy(frame[end+1:], frame[end:])
			for j := i + 1; j < len(d.starts); j++ {
				d.starts[j] += grown
			}
		}
		copy(frame[start:], hidden)
	}
	return frame
}

// superframe appends the index that a decoder needs to tell spatial layers apart: RTP keeps them apart by its
// packets, a file has one block for all. VP9 bitstream specification, annex B.
func (d *vp9) superframe(frame []byte) ([]byte, error) {
	marker := byte(0b110<<5 | 3<<3 | (len(d.starts) - 1)) // sizes of 4 bytes
	index := append(make([]byte, 0, 2+4*maxVP9Layers), marker)
	for i, start := range d.starts {
		end := len(frame)
		if i+1 < len(d.starts) {
			end = d.starts[i+1]
		}
		index = binary.LittleEndian.AppendUint32(index, uint32(end-start))
	}
	return grow(frame, append(index, marker))
}

// vp9Header reads an uncompressed header as far as the frame size, VP9 bitstream specification, section 6.2.
func vp9Header(frame []byte) (Frame, error) {
	f := Frame{Data: frame}
	r := bits{b: frame}
	if r.u(2) != 2 {
		return f, ErrInvalid
	}
	profile := r.u(1) | r.u(1)<<1
	if profile == 3 {
		r.u(1)
	}
	existing, inter := r.flag(), r.flag()
	if existing || inter {
		return f, nil
	}
	r.u(2)
	if r.u(24) != 0x498342 {
		return f, ErrInvalid
	}
	if profile >= 2 {
		r.u(1)
	}
	if srgb := r.u(3) == 7; !srgb {
		r.u(1)
		if profile&1 == 1 {
			r.u(3)
		}
	} else if profile&1 == 1 {
		r.u(1)
	}
	f.Keyframe = true
	f.Width, f.Height = int(r.u(16))+1, int(r.u(16))+1
	if r.short {
		return f, ErrInvalid
	}
	return f, nil
}
