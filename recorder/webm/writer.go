// Package webm writes WebM and Matroska files that are whole at every moment: seekable, with the right
// duration, and finished as soon as an unreferenced tail is cut off.
package webm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Limits of one cluster.
const (
	maxClusterLength = 30 * time.Second // block times are 16-bit milliseconds around that of their cluster
	maxClusterBytes  = 8 << 20
	clusterHeader    = 4 + 8 + 10
	blockHeader      = 1 + 4 + 4
)

// MaxFrame is the largest frame that a Writer takes.
const MaxFrame = 4 << 20

var (
	errFrame  = errors.New("webm: frame too large, of an unknown track, or before an earlier one")
	errClosed = errors.New("webm: writer is closed")
)

// File is what a Writer writes: bytes are appended, and the first MaxHead of them written again in place.
type File interface {
	io.Writer
	io.WriterAt
}

// Options of a Writer. The zero value works.
type Options struct {
	ClusterLength time.Duration // at most; 0 means one second
	Cues          int           // how many the file has room for; 0 means 1600
	Date          time.Time     // when the recording began
}

// Frame is one frame of one track.
type Frame struct {
	Track    int           // index into the tracks of the Writer
	Time     time.Duration // since the start of the file; never before an earlier frame of the same track
	Duration time.Duration // how long it lasts
	Keyframe bool
	Data     []byte // copied
}

// Writer writes one file. It is not safe for concurrent use. After an error it must not be used further;
// what the file then holds is what Repair makes of it.
type Writer struct {
	file    File
	options Options
	layout  layout
	front   []byte // of the file, up to the end of the journal
	state   state
	index   index
	scratch []byte
	err     error

	sides   [MaxTracks]sides
	tracks  int
	main    int // the track whose keyframes begin clusters
	video   bool
	last    [MaxTracks]time.Duration
	end     time.Duration
	cluster []byte        // header space and blocks of the open cluster
	start   time.Duration // of the open cluster
	seek    bool          // the open cluster begins with a keyframe
}

// NewWriter writes the front of a file that has no frames yet.
func NewWriter(f File, tracks []Track, o Options) (*Writer, error) {
	if len(tracks) == 0 || len(tracks) > MaxTracks {
		return nil, errTrack
	}
	if o.ClusterLength <= 0 || o.ClusterLength > maxClusterLength {
		o.ClusterLength = time.Second
	}
	if o.Cues <= 1 || 2*o.Cues*cueSize > MaxHead/2 {
		o.Cues = defaultCues
	}
	w := &Writer{file: f, options: o, tracks: len(tracks), cluster: make([]byte, clusterHeader)}
	for i := len(tracks) - 1; i >= 0; i-- {
		if err := tracks[i].validate(); err != nil {
			return nil, err
		}
		if tracks[i].Video() {
			w.main, w.video = i, true
			w.sides[i] = sides{width: tracks[i].Width, height: tracks[i].Height}
		}
	}
	head := buildHead(tracks, o.Cues, o.Date)
	l, err := readLayout(head)
	if err != nil {
		return nil, err
	}
	for i, at := range findSides(head, l) {
		w.sides[i].at = at
	}
	w.layout, w.front = l, head[:l.journalEnd:l.journalEnd]
	w.index = index{limit: o.Cues, track: byte(w.main + 1)}
	w.state = state{end: int64(l.end)}
	l.patch(head, w.state)
	if _, err := f.Write(head); err != nil {
		return nil, fmt.Errorf("webm: write head: %w", err)
	}
	w.front = append([]byte(nil), w.front...) // lets go of the rest of the head
	return w, nil
}

// sides are the size of a track's largest picture, and where it stands in the file.
type sides struct{ width, height, at int }

// Enlarge says that a track has pictures of this size. The head names the largest that there were: players make room by
// it, and show smaller ones in the same place.
func (w *Writer) Enlarge(track, width, height int) error {
	if w.err != nil {
		return w.err
	}
	if track < 0 || track >= w.tracks || w.sides[track].at == 0 || width <= 0 || height <= 0 {
		return errFrame
	}
	s := &w.sides[track]
	if width*height <= s.width*s.height {
		return nil
	}
	s.width, s.height = width, height
	if _, err := w.file.WriteAt(appendSides(w.scratch[:0], width, height), int64(s.at)); err != nil {
		w.err = fmt.Errorf("webm: write size: %w", err)
	}
	return w.err
}

// WriteFrame adds a frame. It writes to the file only when the frame begins a new cluster: at a keyframe of
// the main track, and when the open cluster has become too long.
func (w *Writer) WriteFrame(f Frame) error {
	if w.err != nil {
		return w.err
	}
	if len(f.Data) > MaxFrame || f.Track < 0 || f.Track >= w.tracks || f.Time < w.last[f.Track] {
		return errFrame
	}
	key := f.Keyframe && f.Track == w.main
	if w.splits(f, key && w.video) {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if !w.Open() {
		w.start, w.seek = f.Time.Truncate(time.Millisecond), key
	}
	w.appendBlock(f)
	w.last[f.Track] = f.Time
	w.end = max(w.end, f.Time+f.Duration)
	return nil
}

// splits reports whether f has to begin a cluster of its own.
func (w *Writer) splits(f Frame, key bool) bool {
	since := f.Time - w.start
	return w.Open() && (key || since >= w.options.ClusterLength || since < -maxClusterLength ||
		len(w.cluster)+blockHeader+len(f.Data) > maxClusterBytes)
}

// appendBlock appends a SimpleBlock, RFC 9559, section 10.2.
func (w *Writer) appendBlock(f Frame) {
	b := append(w.cluster, idSimpleBlock)
	b = binary.BigEndian.AppendUint32(b, 1<<28|uint32(4+len(f.Data)))
	relative := int16(f.Time/time.Millisecond - w.start/time.Millisecond)
	b = append(b, 0x80|byte(f.Track+1), byte(relative>>8), byte(relative), 0)
	if f.Keyframe {
		b[len(b)-1] = 0x80
	}
	w.cluster = append(b, f.Data...)
}

// Open reports whether there are frames that are not in the file yet.
func (w *Writer) Open() bool { return len(w.cluster) > clusterHeader }

// Flush appends the open cluster to the file and makes it part of it.
func (w *Writer) Flush() error {
	if w.err == nil && w.Open() {
		w.err = w.flush()
	}
	return w.err
}

func (w *Writer) flush() error {
	head := appendSize(appendID(w.cluster[:0], idCluster), uint64(len(w.cluster)-12), 8)
	appendUint64(head, idTimestamp, uint64(w.start/time.Millisecond))
	if _, err := w.file.Write(w.cluster); err != nil {
		return fmt.Errorf("webm: write cluster: %w", err)
	}
	next := w.state
	next.generation++
	next.end += int64(len(w.cluster))
	next.duration = w.end.Round(time.Millisecond)
	if w.seek {
		if err := w.addCue(w.start, w.state.end-int64(w.layout.segmentData), &next); err != nil {
			return fmt.Errorf("webm: write cue: %w", err)
		}
	}
	if err := w.layout.commit(w.file, w.front, next); err != nil {
		return fmt.Errorf("webm: write head: %w", err)
	}
	if next.cueBase > w.state.cueBase {
		if err := w.layout.fill(w.file, next, w.scratch); err != nil {
			return fmt.Errorf("webm: write cues: %w", err)
		}
	}
	w.state = next
	w.cluster = w.cluster[:clusterHeader]
	return nil
}

// Close flushes. The file is complete then; a Writer holds nothing else that has to be released.
func (w *Writer) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	w.err = errClosed
	return nil
}

// Size is how long the file is as far as it is whole.
func (w *Writer) Size() int64 { return w.state.end }

// Duration is how long the flushed frames last.
func (w *Writer) Duration() time.Duration { return w.state.duration }

// Empty reports whether the file has no frames.
func (w *Writer) Empty() bool { return w.state.end == int64(w.layout.end) }
