package webm

import (
	"encoding/binary"
	"errors"
	"time"
)

// Codec is a Matroska codec id.
type Codec string

// The codecs that a Writer takes. AVC makes the file Matroska; with the others it is WebM.
const (
	VP8  Codec = "V_VP8"
	VP9  Codec = "V_VP9"
	AV1  Codec = "V_AV1"
	AVC  Codec = "V_MPEG4/ISO/AVC"
	Opus Codec = "A_OPUS"
)

// MaxTracks is how many tracks a file may have: block headers then need one byte for the number.
const MaxTracks = 8

// maxSide is the largest width and height that the head says: VP9 knows of one pixel more.
const maxSide = 1<<16 - 1

// maxPrivate bounds CodecPrivate, so that what is rewritten in place stays near the front of the file.
const maxPrivate = 16 << 10

// Opus in Matroska: 312 samples at 48 kHz are the look-ahead of libopus, 80 ms are what a decoder
// needs to converge after a seek (RFC 7845, sections 4.2 and 4.6).
const (
	opusRate        = 48000
	opusPreSkip     = 312
	opusCodecDelay  = opusPreSkip * time.Second / opusRate
	opusSeekPreRoll = 80 * time.Millisecond
)

var errTrack = errors.New("webm: invalid track")

// Track describes one track of a file.
type Track struct {
	Codec         Codec
	Width, Height int    // video: of the first keyframe; see Writer.Enlarge
	Channels      int    // Opus: 1 or 2
	Private       []byte // AV1: av1C, AVC: avcC; otherwise empty
}

// Video reports whether the track carries pictures.
func (t Track) Video() bool { return t.Codec != Opus }

func (t Track) validate() error {
	switch t.Codec {
	case VP8, VP9, AV1, AVC:
		if t.Width <= 0 || t.Height <= 0 {
			return errTrack
		}
	case Opus:
		if t.Channels != 1 && t.Channels != 2 {
			return errTrack
		}
	default:
		return errTrack
	}
	if len(t.Private) > maxPrivate {
		return errTrack
	}
	return nil
}

// ContentType is the media type of a file with these tracks.
func ContentType(tracks []Track) string {
	audio := "audio/webm"
	for _, t := range tracks {
		if t.Codec == AVC {
			return "video/x-matroska"
		}
		if t.Video() {
			audio = "video/webm"
		}
	}
	return audio
}

func docType(tracks []Track) string {
	for _, t := range tracks {
		if t.Codec == AVC {
			return "matroska"
		}
	}
	return "webm"
}

// appendTrack appends a TrackEntry, RFC 9559, section 5.1.4.1.
func appendTrack(b []byte, number int, t Track) []byte {
	e := appendUint(nil, idTrackNumber, uint64(number))
	e = appendUint(e, idTrackUID, uint64(number))
	e = appendUint(e, idFlagLacing, 0)
	e = appendString(e, idLanguage, "und")
	e = appendString(e, idCodecID, string(t.Codec))
	if t.Video() {
		e = appendUint(e, idTrackType, 1)
		if len(t.Private) > 0 {
			e = appendBytes(e, idCodecPrivate, t.Private)
		}
		e = appendBytes(e, idVideo, appendSides(nil, t.Width, t.Height))
	} else {
		e = appendUint(e, idTrackType, 2)
		e = appendBytes(e, idCodecPrivate, opusHead(t.Channels))
		e = appendUint(e, idCodecDelay, uint64(opusCodecDelay))
		e = appendUint(e, idSeekPreRoll, uint64(opusSeekPreRoll))
		a := appendFloat(nil, idSamplingFrequency, opusRate)
		a = appendUint(a, idChannels, uint64(t.Channels))
		e = appendBytes(e, idAudio, a)
	}
	return appendBytes(b, idTrackEntry, e)
}

// sidesSize is what appendSides appends.
const sidesSize = 2 * (1 + 1 + 2)

// appendSides appends a picture's size, in fields that are rewritten in place when a larger picture comes.
func appendSides(b []byte, width, height int) []byte {
	b = binary.BigEndian.AppendUint16(appendSize(appendID(b, idPixelWidth), 2, 1), uint16(min(width, maxSide)))
	return binary.BigEndian.AppendUint16(appendSize(appendID(b, idPixelHeight), 2, 1), uint16(min(height, maxSide)))
}

// findSides returns where the sizes of the tracks' pictures stand in the front of a file, 0 for tracks without.
func findSides(front []byte, l layout) (at [MaxTracks]int) {
	children := func(of element, id uint32, found func(element)) {
		for off := of.start; off < of.end; {
			e, ok := readElement(front[:of.end], off)
			if !ok {
				return
			}
			if e.id == id {
				found(e)
			}
			off = e.end
		}
	}
	n := 0
	children(element{start: l.segmentData, end: l.end}, idTracks, func(tracks element) {
		children(tracks, idTrackEntry, func(entry element) {
			children(entry, idVideo, func(video element) {
				if n < MaxTracks && video.end-video.start == sidesSize {
					at[n] = video.start
				}
			})
			n++
		})
	})
	return at
}

// opusHead is the identification header, RFC 7845, section 5.1, with channel mapping family 0.
func opusHead(channels int) []byte {
	b := append([]byte("OpusHead"), 1, byte(channels))
	b = binary.LittleEndian.AppendUint16(b, opusPreSkip)
	b = binary.LittleEndian.AppendUint32(b, opusRate)
	return append(b, 0, 0, 0) // output gain, mapping family
}
