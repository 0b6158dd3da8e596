// Package codec reads payload headers: where a frame begins, where decoding can begin, which VP8 picture it is.
package codec

import "strings"

// Codec is a payload format that Inspect understands.
type Codec uint8

// Codecs. Unknown payloads count as frames of their own where decoding can begin.
const (
	Unknown Codec = iota
	Opus
	VP8
	VP9
	H264
	AV1
)

// ByMimeType returns the codec of a MIME type such as "video/VP8", in any case.
func ByMimeType(mimeType string) Codec {
	switch strings.ToLower(mimeType) {
	case "audio/opus":
		return Opus
	case "video/vp8":
		return VP8
	case "video/vp9":
		return VP9
	case "video/h264":
		return H264
	case "video/av1":
		return AV1
	}
	return Unknown
}

// Info is what a payload says about its frame.
type Info struct {
	// Start says that the packet is known to be the first of a frame. H.264 does not always tell.
	Start bool
	// Keyframe says that a decoder can begin with this packet.
	Keyframe bool
	// Parameters says that the packet carries H.264 parameter sets.
	Parameters bool
	// Spatial and Temporal are the layers within the stream that the frame belongs to.
	Spatial, Temporal uint8
	// End says that the packet is the last one of its spatial layer's frame. VP8 and H.264 have only the marker for it.
	End bool
	// Sync says that from this frame on its temporal layer can be decoded by whoever had those below it. Only VP8 tells.
	Sync bool
	// Up is the highest temporal layer that can be decoded from this frame on, with those between, by whoever had the
	// frame's own: none if it is not above that. Of several spatial layers the lowest speaks for all.
	Up uint8
	// Unsure says that the layers and what depends on them are not known: what tells them did not come yet.
	Unsure  bool
	Picture Picture
}

// Picture is the part of a payload descriptor that must be rewritten when packets of two sources become one stream. An
// offset of 0 means that the field is absent: the first byte of a descriptor is never either field.
type Picture struct {
	ID    uint16
	IDAt  uint8
	Long  bool // the ID has 15 bits, not 7
	TL0   uint8
	TL0At uint8
}

// Inspect reads the head of a payload. It never fails: what it cannot read is neither Start nor Keyframe.
func Inspect(c Codec, payload []byte) Info {
	if len(payload) == 0 {
		return Info{}
	}
	switch c {
	case Unknown, Opus:
	case VP8:
		return inspectVP8(payload)
	case VP9:
		return inspectVP9(payload)
	case H264:
		return inspectH264(payload)
	case AV1:
		return inspectAV1(payload)
	}
	return Info{Start: true, Keyframe: true}
}

// Rewrite writes other values of the same size into the descriptor that p was read from.
func (p Picture) Rewrite(payload []byte, id uint16, tl0 uint8) {
	if p.IDAt != 0 && p.Long && int(p.IDAt)+1 < len(payload) {
		payload[p.IDAt] = 0x80 | byte(id>>8)
		payload[p.IDAt+1] = byte(id)
	} else if p.IDAt != 0 && !p.Long && int(p.IDAt) < len(payload) {
		payload[p.IDAt] = byte(id) & 0x7f
	}
	if p.TL0At != 0 && int(p.TL0At) < len(payload) {
		payload[p.TL0At] = tl0
	}
}
