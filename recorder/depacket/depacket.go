// Package depacket puts RTP payloads of VP8, VP9, AV1, H.264 and Opus back together to the frames that a
// Matroska file holds. It trusts nothing that it reads, and keeps no memory of its own per frame.
package depacket

import (
	"errors"
	"time"
)

// MaxFrame is the largest frame that is put together.
const MaxFrame = 4 << 20

// Errors of this package.
var (
	ErrInvalid = errors.New("depacket: invalid payload")
	ErrLarge   = errors.New("depacket: frame too large")
)

// Frame is a whole frame.
type Frame struct {
	Data          []byte // empty when the packets carried only parameters
	Keyframe      bool
	Duration      time.Duration // audio
	Width, Height int           // video keyframes
	Private       []byte        // keyframes of AV1 and H.264: CodecPrivate
}

// Depacketizer puts the frames of one track together. The packets of a frame are pushed in order and without
// gaps; after a gap the next frame begins with Reset.
type Depacketizer interface {
	// Begins reports whether payload is the first one of what may be a keyframe.
	Begins(payload []byte) bool
	// Reset prepares for the first packet of a frame.
	Reset()
	// Push appends what payload adds to frame. After an error the frame is lost.
	Push(frame, payload []byte) ([]byte, error)
	// Finish ends a frame. Its Data is frame, maybe grown.
	Finish(frame []byte) (Frame, error)
}

// New returns a Depacketizer for a codec, by its Matroska codec id, and nil for others.
func New(codec string) Depacketizer {
	switch codec {
	case "V_VP8":
		return &vp8{}
	case "V_VP9":
		return &vp9{}
	case "V_AV1":
		return &av1{}
	case "V_MPEG4/ISO/AVC":
		return &h264{}
	case "A_OPUS":
		return &opus{}
	}
	return nil
}

// grow appends media to a frame within the limit.
func grow(frame, media []byte) ([]byte, error) {
	if len(frame)+len(media) > MaxFrame {
		return frame, ErrLarge
	}
	return append(frame, media...), nil
}
