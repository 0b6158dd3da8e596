package webm

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"time"
)

// The front of a file, written once and then rewritten in place:
//
//	EBML header
//	Segment (size of 8 bytes, so that it can be patched)
//	  SeekHead   fixed: Info, Tracks, Cues
//	  Info       Duration patched
//	  Void       journal: two slots, written alternately
//	  Tracks     fixed
//	  Cues       of fixed size: a Void, the cue points, a Void
//	  Cluster...
//
// The journal makes every update atomic, whatever part of it reaches the disk: a slot holds all that
// is needed to write the other fields again, and a torn slot fails its checksum, so the older one counts.

const (
	// MaxHead is the most that the front of a file ever takes.
	MaxHead = 256 << 10

	cueSize     = 20 // of one cue point: all are alike, so a region of n of them is never off by one
	defaultCues = 1600

	slotSize     = 32
	journalMagic = "SCJ1"
	journalSize  = len(journalMagic) + 2*slotSize
)

// ErrDamaged says that a file is not one that a Writer made, or that its front is lost.
var ErrDamaged = errors.New("webm: damaged head")

// layout is where the fields that change lie in a file.
type layout struct {
	segmentSize int // 8 bytes
	segmentData int // positions in SeekHead and Cues count from here
	duration    int // 8 bytes
	journal     int // content of the Void, after the magic
	journalEnd  int
	cues        int // content of Cues
	end         int // first cluster
}

// half is the size of one of the two halves of the cue region. The cue points lie in one of them; thinning
// out writes the shorter list into the other, so the old one is whole until the new one is valid.
func (l layout) half() int { return (l.end - l.cues) / 2 }

// state is what a slot of the journal says.
type state struct {
	generation uint32
	end        int64 // of the last whole cluster
	duration   time.Duration
	cueBase    int // of the cue points, in the cue region
	cueCount   int
}

func (s state) cueEnd() int { return s.cueBase + s.cueCount*cueSize }

func (s state) put(slot []byte) {
	be := binary.BigEndian
	be.PutUint32(slot[0:], s.generation)
	be.PutUint64(slot[4:], uint64(s.end))
	be.PutUint64(slot[12:], uint64(s.duration/time.Millisecond))
	be.PutUint32(slot[20:], uint32(s.cueBase))
	be.PutUint32(slot[24:], uint32(s.cueCount))
	be.PutUint32(slot[28:], crc32.ChecksumIEEE(slot[:28]))
}

func readState(slot []byte) (state, bool) {
	be := binary.BigEndian
	if crc32.ChecksumIEEE(slot[:28]) != be.Uint32(slot[28:]) {
		return state{}, false
	}
	end, ms := be.Uint64(slot[4:]), be.Uint64(slot[12:])
	if end > math.MaxInt64 || ms > math.MaxInt64/uint64(time.Millisecond) {
		return state{}, false
	}
	return state{
		generation: be.Uint32(slot[0:]),
		end:        int64(end),
		duration:   time.Duration(ms) * time.Millisecond,
		cueBase:    int(be.Uint32(slot[20:])),
		cueCount:   int(be.Uint32(slot[24:])),
	}, true
}

// buildHead makes the front of a file with room for twice cues cue points.
func buildHead(tracks []Track, cues int, date time.Time) []byte {
	e := appendUint(nil, idEBMLVersion, 1)
	e = appendUint(e, idEBMLReadVersion, 1)
	e = appendUint(e, idEBMLMaxIDLength, 4)
	e = appendUint(e, idEBMLMaxSizeLength, 8)
	e = appendString(e, idDocType, docType(tracks))
	e = appendUint(e, idDocTypeVersion, 4) // CodecDelay and SeekPreRoll came with version 4
	e = appendUint(e, idDocTypeReadVersion, 2)
	b := appendBytes(nil, idEBML, e)
	b = appendSize(appendID(b, idSegment), 0, 8)

	info := buildInfo(date)
	journal := appendBytes(nil, idVoid, append([]byte(journalMagic), make([]byte, 2*slotSize)...))
	var entries []byte
	for i, t := range tracks {
		entries = appendTrack(entries, i+1, t)
	}
	entries = appendBytes(nil, idTracks, entries)
	region := 2 * cues * cueSize

	seekHead := len(buildSeekHead(0, 0, 0)) // its length does not depend on the positions
	infoAt := seekHead
	tracksAt := infoAt + len(info) + len(journal)
	b = append(b, buildSeekHead(infoAt, tracksAt, tracksAt+len(entries))...)
	b = append(b, info...)
	b = append(b, journal...)
	b = append(b, entries...)
	b = appendSize(appendID(b, idCues), uint64(region), 4)
	at := len(b)
	b = appendVoidHeader(b, region)
	return append(b, make([]byte, region-(len(b)-at))...)
}

func buildInfo(date time.Time) []byte {
	b := appendUint(nil, idTimestampScale, uint64(time.Millisecond))
	b = appendFloat(b, idDuration, 0)
	if !date.IsZero() { // counts nanoseconds since the start of 2001, RFC 8794, section 7.6
		b = appendUint64(b, idDateUTC, uint64(date.Sub(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC))))
	}
	b = appendString(b, idMuxingApp, "securecam")
	b = appendString(b, idWritingApp, "securecam")
	return appendBytes(nil, idInfo, b)
}

func buildSeekHead(info, tracks, cues int) []byte {
	var b []byte
	for _, s := range []struct {
		id uint32
		at int
	}{{idInfo, info}, {idTracks, tracks}, {idCues, cues}} {
		seek := appendBytes(nil, idSeekID, appendID(nil, s.id))
		seek = appendUint64(seek, idSeekPosition, uint64(s.at))
		b = appendBytes(b, idSeek, seek)
	}
	return appendBytes(nil, idSeekHead, b)
}

// readLayout finds the changing fields in the front of a file.
func readLayout(b []byte) (layout, error) {
	var l layout
	e, ok := readElement(b, 0)
	if !ok || e.id != idEBML {
		return l, ErrDamaged
	}
	seg, ok := readElement(b, e.end)
	if !ok || seg.id != idSegment || seg.start-e.end != 12 {
		return l, ErrDamaged
	}
	l.segmentSize, l.segmentData = seg.start-8, seg.start
	for off := seg.start; ; off = e.end {
		if e, ok = readElement(b, off); !ok {
			return l, ErrDamaged
		}
		if e.id == idCues {
			l.cues, l.end = e.start, e.end
			break
		}
		if e.end > len(b) {
			return l, ErrDamaged
		}
		switch {
		case e.id == idInfo:
			l.duration = findDuration(b, e)
		case e.id == idVoid && e.end-e.start == journalSize && string(b[e.start:e.start+4]) == journalMagic:
			l.journal, l.journalEnd = e.start+len(journalMagic), e.end
		}
	}
	if l.duration == 0 || l.journal == 0 || l.end > MaxHead || (l.end-l.cues)%(2*cueSize) != 0 || l.half() == 0 {
		return l, ErrDamaged
	}
	return l, nil
}

func findDuration(b []byte, info element) int {
	for off := info.start; off < info.end; {
		e, ok := readElement(b[:info.end], off)
		if !ok {
			return 0
		}
		if e.id == idDuration && e.end-e.start == 8 && e.end <= info.end {
			return e.start
		}
		off = e.end
	}
	return 0
}

// patch puts s into front, which is the front of the file up to the end of the journal.
func (l layout) patch(front []byte, s state) {
	be := binary.BigEndian
	be.PutUint64(front[l.segmentSize:], 1<<56|uint64(s.end)-uint64(l.segmentData))
	be.PutUint64(front[l.duration:], math.Float64bits(float64(s.duration/time.Millisecond)))
	s.put(front[l.journal+int(s.generation%2)*slotSize:][:slotSize])
}

// commit makes s the state of the file: one small write in its first page, whose last bytes decide.
func (l layout) commit(f io.WriterAt, front []byte, s state) error {
	l.patch(front, s)
	_, err := f.WriteAt(front[l.segmentSize:l.journalEnd], int64(l.segmentSize))
	return err
}

// fill writes the Voids around the cue points.
func (l layout) fill(f io.WriterAt, s state, scratch []byte) error {
	if s.cueBase > 0 {
		if _, err := f.WriteAt(appendVoidHeader(scratch[:0], s.cueBase), int64(l.cues)); err != nil {
			return err
		}
	}
	rest := l.end - l.cues - s.cueEnd()
	if rest == 0 {
		return nil
	}
	_, err := f.WriteAt(appendVoidHeader(scratch[:0], rest), int64(l.cues+s.cueEnd()))
	return err
}
