package webm

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Damaged is a file whose Writer was killed.
type Damaged interface {
	io.WriterAt
	io.ReaderAt
	Size() int64
	Truncate(size int64) error
}

// Repaired says what a repaired file holds.
type Repaired struct {
	Size     int64
	Duration time.Duration
	Empty    bool // nothing: the Writer was killed before its first cluster was whole; the file is as it was
}

// Repair finishes a file whose Writer was killed at any moment, in the middle of a write included: what is
// behind the last whole cluster is cut off, and the head says what the file then is. It reads nothing but
// the head. ErrDamaged means that the file cannot be one of a Writer.
func Repair(f Damaged) (Repaired, error) {
	size := f.Size()
	head := make([]byte, min(size, MaxHead))
	if n, err := f.ReadAt(head, 0); n < len(head) && !errors.Is(err, io.EOF) {
		return Repaired{}, fmt.Errorf("webm: read head: %w", err)
	}
	l, s, err := inspect(head, size)
	if err != nil {
		return Repaired{}, err
	}
	if s.end <= int64(l.end) {
		return Repaired{Empty: true}, nil
	}
	if size > s.end {
		if err := f.Truncate(s.end); err != nil {
			return Repaired{}, fmt.Errorf("webm: cut off tail: %w", err)
		}
	}
	if err := l.fill(f, s, make([]byte, 0, 16)); err != nil {
		return Repaired{}, fmt.Errorf("webm: write cues: %w", err)
	}
	s.generation++
	if err := l.commit(f, head[:l.journalEnd], s); err != nil {
		return Repaired{}, fmt.Errorf("webm: write head: %w", err)
	}
	return Repaired{Size: s.end, Duration: s.duration}, nil
}

// inspect finds the newest whole state in a head, of a file of the given size. A head that was cut while it
// was written has none; its state is that of an empty file.
func inspect(head []byte, size int64) (layout, state, error) {
	l, err := readLayout(head)
	if err != nil {
		if size < MaxHead && cut(head) {
			return layout{}, state{}, nil
		}
		return l, state{}, err
	}
	if int64(l.end) > size {
		return l, state{}, nil
	}
	var best state
	found := false
	for i := range 2 {
		s, ok := readState(head[l.journal+i*slotSize:][:slotSize])
		if !ok || !l.holds(s) || s.end > size || found && s.generation-best.generation > 1<<31 {
			continue
		}
		best, found = s, true
	}
	if !found {
		return l, state{}, ErrDamaged
	}
	return l, best, nil
}

// holds reports whether s can be a state of a file with layout l.
func (l layout) holds(s state) bool {
	half := l.half()
	return s.end >= int64(l.end) && (s.cueBase == 0 || s.cueBase == half) && s.cueCount <= half/cueSize
}

// cut reports whether b is the beginning of a head whose end is missing, and not something else.
func cut(b []byte) bool {
	e, ok := readElement(b, 0)
	if !ok {
		return len(b) < 12
	}
	if e.id != idEBML {
		return false
	}
	for off := e.end; off < len(b); off = e.end {
		if e, ok = readElement(b, off); !ok {
			return len(b)-off < 12
		}
		switch e.id {
		case idSegment:
			if e.start-off != 12 {
				return false
			}
			e.end = e.start
		case idSeekHead, idInfo, idVoid, idTracks, idCues:
		default:
			return false
		}
	}
	return true
}
