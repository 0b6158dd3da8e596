package webm

import (
	"encoding/binary"
	"time"
)

// cue is a place to seek to: a cluster that begins with a keyframe.
type cue struct {
	time     uint32 // ms
	position int64  // of the cluster in the segment
}

// index is the list of cues of a file. It is never longer than its limit: when it is full, every second
// cue goes, and new ones keep the wider distance.
type index struct {
	limit int
	track byte
	list  []cue
	gap   uint32 // ms between two cues at least
}

// add appends c. It reports whether c was taken and whether the list was thinned out to make room.
func (x *index) add(c cue) (taken, thinned bool) {
	if n := len(x.list); n > 0 && c.time-x.list[n-1].time < x.gap {
		return false, false
	}
	if len(x.list) == x.limit {
		x.thin()
		thinned = true
		if c.time-x.list[len(x.list)-1].time < x.gap {
			return false, true
		}
	}
	x.list = append(x.list, c)
	return true, thinned
}

func (x *index) thin() {
	kept := x.list[:0]
	for i := 0; i < len(x.list); i += 2 {
		kept = append(kept, x.list[i])
	}
	x.list = kept
	if n := len(kept); n > 1 {
		x.gap = (kept[n-1].time - kept[0].time) / uint32(n-1) / 4 * 3 // keyframes do not come like clockwork
	}
}

// appendCue appends a CuePoint of exactly cueSize bytes, RFC 9559, section 5.1.5.1.
func (x *index) appendCue(b []byte, c cue) []byte {
	b = append(b, idCuePoint, 0x80|18, idCueTime, 0x84)
	b = binary.BigEndian.AppendUint32(b, c.time)
	b = append(b, idCueTrackPositions, 0x80|10, idCueTrack, 0x81, x.track, idCueClusterPosition, 0x85)
	p := c.position
	return append(b, byte(p>>32), byte(p>>24), byte(p>>16), byte(p>>8), byte(p))
}

// addCue puts a cue for the cluster at position into the file, in front of the state that makes it valid.
func (w *Writer) addCue(at time.Duration, position int64, next *state) error {
	taken, thinned := w.index.add(cue{uint32(at / time.Millisecond), position})
	if thinned {
		next.cueBase = w.layout.half() - next.cueBase
		next.cueCount = 0
	} else if !taken {
		return nil
	}
	points := w.scratch[:0]
	first := next.cueEnd()
	for _, c := range w.index.list[next.cueCount:] {
		points = w.index.appendCue(points, c)
	}
	next.cueCount = len(w.index.list)
	if rest := w.layout.end - w.layout.cues - next.cueEnd(); rest > 0 {
		points = appendVoidHeader(points, rest)
	}
	w.scratch = points
	_, err := w.file.WriteAt(points, int64(w.layout.cues+first))
	return err
}
