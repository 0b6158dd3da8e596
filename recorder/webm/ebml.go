package webm

import (
	"encoding/binary"
	"math"
)

// Element ids, RFC 8794 (EBML) and RFC 9559 (Matroska), marker bits included.
const (
	idEBML               = 0x1A45DFA3
	idEBMLVersion        = 0x4286
	idEBMLReadVersion    = 0x42F7
	idEBMLMaxIDLength    = 0x42F2
	idEBMLMaxSizeLength  = 0x42F3
	idDocType            = 0x4282
	idDocTypeVersion     = 0x4287
	idDocTypeReadVersion = 0x4285
	idVoid               = 0xEC

	idSegment      = 0x18538067
	idSeekHead     = 0x114D9B74
	idSeek         = 0x4DBB
	idSeekID       = 0x53AB
	idSeekPosition = 0x53AC

	idInfo           = 0x1549A966
	idTimestampScale = 0x2AD7B1
	idDuration       = 0x4489
	idDateUTC        = 0x4461
	idMuxingApp      = 0x4D80
	idWritingApp     = 0x5741

	idTracks            = 0x1654AE6B
	idTrackEntry        = 0xAE
	idTrackNumber       = 0xD7
	idTrackUID          = 0x73C5
	idTrackType         = 0x83
	idFlagLacing        = 0x9C
	idLanguage          = 0x22B59C
	idCodecID           = 0x86
	idCodecPrivate      = 0x63A2
	idCodecDelay        = 0x56AA
	idSeekPreRoll       = 0x56BB
	idVideo             = 0xE0
	idPixelWidth        = 0xB0
	idPixelHeight       = 0xBA
	idAudio             = 0xE1
	idSamplingFrequency = 0xB5
	idChannels          = 0x9F

	idCues               = 0x1C53BB6B
	idCuePoint           = 0xBB
	idCueTime            = 0xB3
	idCueTrackPositions  = 0xB7
	idCueTrack           = 0xF7
	idCueClusterPosition = 0xF1

	idCluster     = 0x1F43B675
	idTimestamp   = 0xE7
	idSimpleBlock = 0xA3
)

// appendID appends an element id, which carries its own length in its leading bits.
func appendID(b []byte, id uint32) []byte {
	for shift := 24; shift > 0; shift -= 8 {
		if id>>shift != 0 {
			b = append(b, byte(id>>shift))
		}
	}
	return append(b, byte(id))
}

// appendSize appends n as an element size of exactly width bytes (1, 2, 4 or 8); n must fit.
func appendSize(b []byte, n uint64, width int) []byte {
	n |= 1 << (7 * width) // the length marker, RFC 8794, section 4
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(n>>shift))
	}
	return b
}

// appendBytes appends an element with the given content.
func appendBytes(b []byte, id uint32, content []byte) []byte {
	width := 1
	for uint64(len(content)) >= 1<<(7*width)-1 { // all ones means unknown, RFC 8794, section 6.2
		width *= 2
	}
	return append(appendSize(appendID(b, id), uint64(len(content)), width), content...)
}

func appendString(b []byte, id uint32, s string) []byte { return appendBytes(b, id, []byte(s)) }

// appendUint appends an unsigned integer in as few bytes as it needs.
func appendUint(b []byte, id uint32, v uint64) []byte {
	width := 1
	for width < 8 && v>>(8*width) != 0 {
		width++
	}
	b = appendSize(appendID(b, id), uint64(width), 1)
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		b = append(b, byte(v>>shift))
	}
	return b
}

// appendUint64 appends an integer of eight bytes, for fields that are rewritten in place.
func appendUint64(b []byte, id uint32, v uint64) []byte {
	return binary.BigEndian.AppendUint64(appendSize(appendID(b, id), 8, 1), v)
}

func appendFloat(b []byte, id uint32, v float64) []byte {
	return appendUint64(b, id, math.Float64bits(v))
}

// appendVoidHeader appends the header of a Void that takes total bytes with its header.
// A Void cannot be one byte long: the regions that need one are laid out so that it never is.
func appendVoidHeader(b []byte, total int) []byte {
	switch {
	case total == 0:
		return b
	case total < 2+127:
		return appendSize(append(b, idVoid), uint64(total-2), 1)
	default:
		return appendSize(append(b, idVoid), uint64(total-9), 8)
	}
}

// element is the header of one element in a buffer and where its content lies.
type element struct {
	id         uint32
	start, end int // of the content; end may lie outside of the buffer
}

// readElement reads the header at off. It reports false when the header is cut or invalid.
// An unknown size yields an end of math.MaxInt.
func readElement(b []byte, off int) (element, bool) {
	id, off, ok := readVint(b, off, 4, false)
	if !ok {
		return element{}, false
	}
	size, start, ok := readVint(b, off, 8, true)
	if !ok {
		return element{}, false
	}
	e := element{id: uint32(id), start: start, end: math.MaxInt}
	if size < uint64(math.MaxInt-start) {
		e.end = start + int(size)
	}
	return e, true
}

// readVint reads a variable length integer of at most limit bytes; strip removes the length marker.
func readVint(b []byte, off, limit int, strip bool) (v uint64, next int, ok bool) {
	if off < 0 || off >= len(b) || b[off] == 0 {
		return 0, 0, false
	}
	width := 1
	for b[off]&(0x80>>(width-1)) == 0 {
		width++
	}
	if width > limit || width > len(b)-off {
		return 0, 0, false
	}
	for _, c := range b[off : off+width] {
		v = v<<8 | uint64(c)
	}
	if strip {
		mark := uint64(1) << (7 * width)
		v &^= mark
		if v == mark-1 {
			v = math.MaxUint64
		}
	}
	return v, off + width, true
}
