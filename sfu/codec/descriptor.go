package codec

import "encoding/binary"

// A dependency descriptor is the header extension by which AV1 says what a packet's frame is and needs: RTP Payload
// Format For AV1, appendix A.

const (
	maxTemplates = 64
	maxTargets   = 32
	// DescriptorHead is the length of what every descriptor begins with; the 16 bits of the frame number are its last.
	DescriptorHead     = 3
	descriptorNumberAt = 1
)

// indication is what a frame is to a decode target.
type indication uint8

const (
	notPresent indication = iota
	discardable
	switching
	required
)

// Structure is what descriptors refer to until the next keyframe. It is not changed once it was read.
type Structure struct {
	offset  uint8
	targets int
	n       int // templates
	frames  [maxTemplates]template
	// temporal is the highest temporal layer of each decode target.
	temporal [maxTargets]uint8
	spatial  uint8   // highest there is
	sizes    [4]Size // of spatial layers; zeros where the structure has none
}

type template struct {
	spatial, temporal uint8
	indications       [maxTargets]indication
}

// Descriptor is what a descriptor says of its packet.
type Descriptor struct {
	Start, End        bool // first and last packet of a frame
	Number            uint16
	Spatial, Temporal uint8
	Up                uint8 // as in Info
	// Structure is what the descriptor brought, nil for most.
	Structure *Structure
}

// ReadDescriptor reads a descriptor. current is the structure of the last keyframe, nil if none came. It reports false
// for one that cannot be read, or refers to what is not there. Start, End and Number hold even then, if it is not cut
// short: they need no structure.
func ReadDescriptor(b []byte, current *Structure) (Descriptor, bool) {
	if len(b) < DescriptorHead {
		return Descriptor{}, false
	}
	d := Descriptor{Start: b[0]&0x80 != 0, End: b[0]&0x40 != 0, Number: binary.BigEndian.Uint16(b[descriptorNumberAt:])}
	id := b[0] & 0x3f
	r := &bits{b: b[DescriptorHead:]}
	hasTargets, custom := false, false
	if len(b) > DescriptorHead {
		hasStructure := r.flag()
		hasTargets, custom = r.flag(), r.flag()
		r.u(2) // custom frame differences and chains, which come after what is read here
		if hasStructure {
			if d.Structure = readStructure(r); d.Structure == nil {
				return d, false
			}
			current = d.Structure
		}
	}
	if current == nil {
		return d, false
	}
	index := int(id-current.offset) & (maxTemplates - 1)
	if index >= current.n {
		return d, false
	}
	frame := &current.frames[index]
	d.Spatial, d.Temporal = frame.spatial, frame.temporal
	if hasTargets {
		r.u(current.targets)
	}
	d.readIndications(r, current, frame, custom)
	return d, !r.short
}

// readIndications finds out what the frame is a switch indication for: appendix A.4. One for the frame's own layer does
// not help: it holds if the frame itself can be decoded, which it does not say.
func (d *Descriptor) readIndications(r *bits, s *Structure, frame *template, custom bool) {
	for i := range s.targets {
		kind := frame.indications[i]
		if custom {
			kind = indication(r.u(2))
		}
		if kind == switching {
			d.Up = max(d.Up, s.temporal[i])
		}
	}
}

// RenumberDescriptor writes another frame number into a descriptor.
func RenumberDescriptor(b []byte, number uint16) {
	if len(b) >= DescriptorHead {
		binary.BigEndian.PutUint16(b[descriptorNumberAt:], number)
	}
}

// Spatial returns how many spatial layers there are.
func (s *Structure) Spatial() int { return int(s.spatial) + 1 }

// Size returns the picture of a spatial layer, zeros if the structure does not tell.
func (s *Structure) Size(spatial int) Size {
	if spatial < 0 || spatial >= len(s.sizes) {
		return Size{}
	}
	return s.sizes[spatial]
}

// readStructure reads template_dependency_structure, section A.8.2. It returns nil if that is cut short or has too much.
func readStructure(r *bits) *Structure {
	s := &Structure{offset: uint8(r.u(6)), targets: int(r.u(5)) + 1}
	if !s.readLayers(r) {
		return nil
	}
	for i := range s.n {
		f := &s.frames[i]
		for k := range s.targets {
			if f.indications[k] = indication(r.u(2)); f.indications[k] != notPresent {
				s.temporal[k] = max(s.temporal[k], f.temporal)
			}
		}
	}
	for range s.n {
		for r.flag() { // frame differences
			r.u(4)
			if r.short {
				return nil
			}
		}
	}
	s.readChains(r)
	if r.flag() { // resolutions
		for i := range int(s.spatial) + 1 {
			size := Size{int(r.u(16)) + 1, int(r.u(16)) + 1}
			if i < len(s.sizes) {
				s.sizes[i] = size
			}
		}
	}
	if r.short {
		return nil
	}
	return s
}

// readLayers reads template_layers.
func (s *Structure) readLayers(r *bits) bool {
	const sameLayer, nextTemporal, nextSpatial, noMore = 0, 1, 2, 3
	spatial, temporal := uint8(0), uint8(0)
	for {
		if s.n == maxTemplates || r.short {
			return false
		}
		s.frames[s.n] = template{spatial: spatial, temporal: temporal}
		s.n++
		switch r.u(2) {
		case sameLayer:
		case nextTemporal:
			temporal++
		case nextSpatial:
			temporal = 0
			spatial++
		case noMore:
			s.spatial = spatial
			return true
		}
	}
}

// readChains reads template_chains.
func (s *Structure) readChains(r *bits) {
	chains := int(r.ns(uint32(s.targets) + 1))
	if chains == 0 {
		return
	}
	for range s.targets {
		r.ns(uint32(chains))
	}
	for range s.n * chains {
		if r.u(4); r.short {
			return
		}
	}
}

// ns reads a number below n: AV1 bitstream specification, section 4.10.7.
func (r *bits) ns(n uint32) uint32 {
	w := 0
	for x := n; x != 0; x >>= 1 {
		w++
	}
	if w == 0 {
		return 0
	}
	m := uint32(1)<<w - n
	v := r.u(w - 1)
	if v < m {
		return v
	}
	return v<<1 - m + r.u(1)
}
