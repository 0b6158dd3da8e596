package webm

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"
	eb "github.com/at-wat/ebml-go/webm"
)

var errKilled = errors.New("killed")

// disk is a file in memory that dies after a number of bytes: the write that goes beyond is cut there.
type disk struct {
	data   []byte
	last   int // where the last Write began
	left   int
	writes []int // how many bytes had been written before each write
	total  int
}

func newDisk(left int) *disk { return &disk{left: left} }

func (d *disk) take(n int) (int, error) {
	d.writes = append(d.writes, d.total)
	if n > d.left {
		n, d.left = d.left, 0
		d.total += n
		return n, errKilled
	}
	d.left -= n
	d.total += n
	return n, nil
}

func (d *disk) Write(p []byte) (int, error) {
	n, err := d.take(len(p))
	d.last = len(d.data)
	d.data = append(d.data, p[:n]...)
	return n, err
}

func (d *disk) WriteAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > min(len(d.data), MaxHead) {
		return 0, fmt.Errorf("write at %d+%d: outside of the head", off, len(p))
	}
	n, err := d.take(len(p))
	copy(d.data[off:], p[:n])
	return n, err
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > min(len(d.data), MaxHead) {
		return 0, errors.New("read outside of the head")
	}
	return copy(p, d.data[off:]), nil
}

func (d *disk) Size() int64 { return int64(len(d.data)) }

func (d *disk) Truncate(size int64) error {
	if size < int64(d.last) || size > d.Size() {
		return fmt.Errorf("truncate to %d: not within the last write", size)
	}
	d.data = d.data[:size]
	return nil
}

// parsed is a file as an independent reader sees it.
type parsed struct {
	Header  eb.EBMLHeader `ebml:"EBML"`
	Segment eb.Segment    `ebml:"Segment"`
}

func parse(data []byte, p *parsed) error { return ebml.Unmarshal(bytes.NewReader(data), p) }

// check parses a file with an independent reader and holds it against every promise of the package.
func check(t *testing.T, data []byte) parsed {
	t.Helper()
	var p parsed
	if err := parse(data, &p); err != nil {
		t.Fatalf("parse: %v", err)
	}
	seg, ok := readElement(data, bytes.Index(data, []byte{0x18, 0x53, 0x80, 0x67}))
	if !ok || seg.end != len(data) {
		t.Fatalf("segment ends at %d of %d", seg.end, len(data))
	}
	clusters := map[int]uint64{} // position -> time
	var end int64
	last := map[uint64]int64{}
	walk(t, data, seg.start, seg.end, func(e element, at int) {
		if e.id != idCluster {
			return
		}
		c := p.Segment.Cluster[len(clusters)]
		clusters[at-seg.start] = c.Timecode
		for _, b := range c.SimpleBlock {
			when := int64(c.Timecode) + int64(b.Timecode)
			if before, ok := last[b.TrackNumber]; ok && when < before {
				t.Errorf("track %d: %d ms after %d ms", b.TrackNumber, when, before)
			}
			last[b.TrackNumber] = when
			end = max(end, when)
		}
	})
	if len(clusters) != len(p.Segment.Cluster) || len(clusters) == 0 {
		t.Fatalf("%d clusters found, %d parsed", len(clusters), len(p.Segment.Cluster))
	}
	if first := p.Segment.Cluster[0].Timecode; first != 0 {
		t.Errorf("first cluster at %d ms", first)
	}
	if d := p.Segment.Info.Duration; int64(d) <= end || int64(d) > end+1000 {
		t.Errorf("duration %v ms, last block at %d ms", d, end)
	}
	before := -1
	for _, c := range p.Segment.Cues.CuePoint {
		at := int(c.CueTrackPositions[0].CueClusterPosition)
		if when, ok := clusters[at]; !ok || when != c.CueTime || at <= before {
			t.Errorf("cue for %d ms at %d: no such cluster, or out of order", c.CueTime, at)
		}
		before = at
	}
	for _, s := range p.Segment.SeekHead.Seek {
		e, ok := readElement(data, seg.start+int(s.SeekPosition))
		if !ok || !bytes.Equal(appendID(nil, e.id), s.SeekID) {
			t.Errorf("seek head points to %x instead of %x", e.id, s.SeekID)
		}
	}
	return p
}

// walk visits the children of a master element and fails when they do not fill it exactly.
func walk(t *testing.T, data []byte, start, end int, visit func(e element, at int)) {
	t.Helper()
	for off := start; off != end; {
		e, ok := readElement(data, off)
		if !ok || e.end > end {
			t.Fatalf("element at %d: ok %t, end %d of %d", off, ok, e.end, end)
		}
		visit(e, off)
		off = e.end
		switch e.id {
		case idCues, idTracks, idInfo, idSeekHead, idCluster:
			walk(t, data, e.start, e.end, func(element, int) {})
		}
	}
}

var both = []Track{{Codec: VP8, Width: 320, Height: 240}, {Codec: Opus, Channels: 2}}

// fill writes n seconds of 10 pictures and 50 packets of sound a second, with a keyframe every two seconds.
func fill(w *Writer, seconds int) error {
	data := bytes.Repeat([]byte{0x5A}, 300)
	for i := range seconds * 50 {
		at := time.Duration(i) * 20 * time.Millisecond
		if i%5 == 0 {
			err := w.WriteFrame(Frame{Time: at, Duration: 100 * time.Millisecond, Keyframe: i%100 == 0, Data: data})
			if err != nil {
				return err
			}
		}
		err := w.WriteFrame(Frame{Track: 1, Time: at, Duration: 20 * time.Millisecond, Keyframe: true, Data: data[:60]})
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func write(d *disk, o Options, seconds int) error {
	w, err := NewWriter(d, both, o)
	if err != nil {
		return err
	}
	return fill(w, seconds)
}
