package recorder

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/securecam/securecam/recorder/depacket"
	"github.com/securecam/securecam/recorder/webm"
)

const (
	interleaveWait = 150 * time.Millisecond // a frame waits so long for an earlier one of another track
	audioKept      = 3 * time.Second        // of sound that waits for the first picture
	maxPending     = 8 << 20                // bytes of frames that wait; more are written at once
	createTimeout  = 10 * time.Second
	firstDuration  = 33 * time.Millisecond // of a picture that has no predecessor
)

// muxer begins the file once there is enough to write its head, brings the frames of the tracks into the
// order of their time and writes them. It belongs to the recording's goroutine.
type muxer struct {
	r       *Recording
	epoch   time.Time // zero of the time line
	object  Object
	writer  *webm.Writer // nil until the file has begun
	tracks  []*track     // of the file
	zero    time.Duration
	waiting time.Time // when the first media was there
	opened  time.Time // when the first frame of the open cluster arrived
	pending int       // bytes
	free    [][]byte
}

func newMuxer(r *Recording) *muxer { return &muxer{r: r, epoch: r.cfg.Now()} }

// What is kept of the memory of written frames.
const (
	maxFree       = 64
	maxFreeBuffer = 64 << 10
)

// buffer returns memory for a frame.
func (m *muxer) buffer() []byte {
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b[:0]
	}
	return make([]byte, 0, 16<<10)
}

func (m *muxer) recycle(b []byte) {
	if len(m.free) < maxFree && cap(b) <= maxFreeBuffer {
		m.free = append(m.free, b)
	}
}

// add takes a whole frame of a track. The data is the muxer's from now on.
func (m *muxer) add(t *track, f depacket.Frame) {
	at := t.clock.at(t.timestamp, t.arrived.Sub(m.epoch))
	if m.writer != nil && t.number < 0 {
		m.r.count.dropped.Add(1)
		m.recycle(f.Data)
		return
	}
	m.pending += len(f.Data)
	t.pending.push(frame{
		data: f.Data, private: f.Private, time: at, duration: f.Duration, arrived: t.arrived,
		width: f.Width, height: f.Height, keyframe: f.Keyframe,
	})
}

// drop removes the oldest frame of a track.
func (m *muxer) drop(t *track) {
	f := t.pending.pop()
	m.pending -= len(f.data)
	m.recycle(f.data)
	m.r.count.dropped.Add(1)
}

// advance writes what can be written by now.
func (m *muxer) advance(ctx context.Context, now time.Time) error {
	if m.writer == nil {
		if !m.ready(now) {
			return nil
		}
		if err := m.begin(ctx); err != nil {
			return err
		}
	}
	if err := m.interleave(now, false); err != nil {
		return err
	}
	if m.writer.Open() && now.Sub(m.opened) >= m.r.cfg.ClusterLength {
		return m.flushed(m.writer.Flush())
	}
	return nil
}

// drain writes everything.
func (m *muxer) drain(ctx context.Context, now time.Time) error {
	if m.writer == nil {
		m.ready(now)
		if m.waiting.IsZero() {
			return nil
		}
		if err := m.begin(ctx); err != nil {
			return err
		}
	}
	if err := m.interleave(now, true); err != nil {
		return err
	}
	return m.flushed(m.writer.Close())
}

// interleave writes frames in the order of their time. One waits while an earlier one may come.
func (m *muxer) interleave(now time.Time, all bool) error {
	for {
		next := m.earliest()
		if next == nil {
			return nil
		}
		f := next.pending.head()
		if !all && m.pending < maxPending && now.Sub(f.arrived) < interleaveWait && m.earlierMayCome(f.time) {
			return nil
		}
		if err := m.write(next); err != nil {
			return err
		}
	}
}

func (m *muxer) earliest() *track {
	var next *track
	for _, t := range m.tracks {
		if t.pending.len() > 0 && (next == nil || t.pending.head().time < next.pending.head().time) {
			next = t
		}
	}
	return next
}

func (m *muxer) earlierMayCome(at time.Duration) bool {
	for _, t := range m.tracks {
		if t.pending.len() == 0 && t.lastTime < at {
			return true
		}
	}
	return false
}

// write writes the oldest frame of t.
func (m *muxer) write(t *track) error {
	f := t.pending.head()
	if f.time < m.zero { // sound before the first picture
		m.drop(t)
		return nil
	}
	if step := f.time - t.lastTime; t.written && step <= time.Second {
		t.lastStep = step
	}
	if f.duration == 0 {
		f.duration = t.lastStep
	}
	t.written, t.lastTime = true, f.time
	if f.keyframe && f.width > 0 && f.height > 0 {
		if err := m.writer.Enlarge(t.number, f.width, f.height); err != nil {
			return m.flushed(err)
		}
	}
	open, size := m.writer.Open(), m.writer.Size()
	err := m.writer.WriteFrame(webm.Frame{
		Track: t.number, Time: (f.time - m.zero).Round(time.Millisecond), Duration: f.duration,
		Keyframe: f.keyframe, Data: f.data,
	})
	if !open || m.writer.Size() != size {
		m.opened = f.arrived
	}
	m.pending -= len(f.data)
	m.recycle(f.data)
	t.pending.pop()
	m.r.count.frames.Add(1)
	return m.flushed(err)
}

// flushed brings the counters up to date.
func (m *muxer) flushed(err error) error {
	m.r.count.bytes.Store(m.writer.Size())
	m.r.count.duration.Store(int64(m.writer.Duration()))
	return err
}

// finish ends the object. After a failure it keeps what was whole before.
func (m *muxer) finish(ctx context.Context, failed bool) (Result, error) {
	if m.object == nil {
		return Result{Empty: true}, nil
	}
	if failed || m.writer == nil || m.writer.Empty() {
		return complete(ctx, m.object)
	}
	result := Result{Duration: m.writer.Duration(), Size: m.writer.Size()}
	if err := m.object.Commit(ctx); err != nil {
		return Result{}, fmt.Errorf("recorder: commit %s: %w", m.r.cfg.Key, err)
	}
	m.r.log.Debug("recording complete", slog.Duration("dur", result.Duration), slog.Int64("bytes", result.Size))
	return result, nil
}
