package codec

import "encoding/binary"

// vp9 is the payload descriptor of RFC 9628, section 4.2.
type vp9 struct {
	info    Info
	structs int // where the scalability structure begins, 0 if there is none
}

const (
	vp9ID, vp9Predicted, vp9Layers, vp9Flexible = 0x80, 0x40, 0x20, 0x10
	vp9Begin, vp9End, vp9Structure              = 0x08, 0x04, 0x02
	highestTemporal                             = 7
)

// inspectVP9 reads the payload descriptor. Decoding can begin with the first packet of the lowest spatial layer of a
// picture that is not inter-predicted.
func inspectVP9(b []byte) Info {
	d, ok := readVP9(b)
	if !ok {
		return Info{}
	}
	return d.info
}

func readVP9(b []byte) (d vp9, ok bool) {
	at := 1
	if b[0]&vp9ID != 0 {
		if at >= len(b) {
			return d, false
		}
		p := &d.info.Picture
		p.IDAt, p.ID = uint8(at), uint16(b[at]&0x7f)
		if p.Long = b[at]&0x80 != 0; p.Long {
			if at++; at >= len(b) {
				return d, false
			}
			p.ID = p.ID<<8 | uint16(b[at])
		}
		at++
	}
	if b[0]&vp9Layers != 0 {
		if at = d.readLayers(b, at); at == 0 {
			return d, false
		}
	}
	if b[0]&vp9Flexible != 0 && b[0]&vp9Predicted != 0 {
		for more := true; more; at++ {
			if at >= len(b) {
				return d, false
			}
			more = b[at]&1 != 0
		}
	}
	if b[0]&vp9Structure != 0 {
		d.structs = at
	}
	d.info.End = b[0]&vp9End != 0
	d.info.Start = b[0]&vp9Begin != 0 && d.info.Spatial == 0
	d.info.Keyframe = d.info.Start && b[0]&vp9Predicted == 0
	return d, true
}

// readLayers reads the layer indices and returns where they end, 0 if they are cut short.
func (d *vp9) readLayers(b []byte, at int) int {
	if at >= len(b) {
		return 0
	}
	d.info.Temporal, d.info.Spatial = b[at]>>5, b[at]>>1&0x07
	// A switching up point: later pictures of all higher layers do without those before this one. Of its own layer that says
	// nothing: pictures of the highest are all such points, also where each is predicted from the one before.
	if b[at]&0x10 != 0 {
		d.info.Up = highestTemporal
	}
	at++
	if b[0]&vp9Flexible != 0 {
		return at
	}
	if at >= len(b) {
		return 0
	}
	d.info.Picture.TL0At, d.info.Picture.TL0 = uint8(at), b[at]
	return at + 1
}

// sizesVP9 reads the scalability structure, which keyframes have.
func sizesVP9(b []byte, sizes []Size) int {
	const hasSizes = 0x10
	if len(b) == 0 {
		return 0
	}
	d, ok := readVP9(b)
	at := d.structs
	if !ok || at == 0 || at >= len(b) || b[at]&hasSizes == 0 {
		return 0
	}
	n := min(int(b[at]>>5)+1, len(sizes))
	at++
	if len(b) < at+4*n {
		return 0
	}
	for i := range n {
		sizes[i] = Size{int(binary.BigEndian.Uint16(b[at+4*i:])), int(binary.BigEndian.Uint16(b[at+4*i+2:]))}
	}
	return n
}
