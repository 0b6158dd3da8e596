package recorder

import (
	"sync/atomic"
	"time"
)

// Stats counts what a recording has done so far.
type Stats struct {
	Packets          uint64 // given to WriteRTP
	LatePackets      uint64 // twice, or after they were given up
	LostPackets      uint64 // given up
	OverflowPackets  uint64 // dropped because the queue was full
	Frames           uint64 // in the file, or in the cluster that is next
	DroppedFrames    uint64 // cut, invalid, or waiting for a keyframe
	KeyframeRequests uint64
	Bytes            int64         // of the file
	Duration         time.Duration // of the file
	Err              error         // what made the recording stop
}

type counters struct {
	packets, late, lost, overflow, frames, dropped, keyframes atomic.Uint64
	bytes, duration                                           atomic.Int64
	err                                                       atomic.Pointer[error]
}

func (c *counters) fail(err error) { c.err.Store(&err) }

// Stats returns the counters of the recording.
func (r *Recording) Stats() Stats {
	c := &r.count
	s := Stats{
		Packets:          c.packets.Load(),
		LatePackets:      c.late.Load(),
		LostPackets:      c.lost.Load(),
		OverflowPackets:  c.overflow.Load(),
		Frames:           c.frames.Load(),
		DroppedFrames:    c.dropped.Load(),
		KeyframeRequests: c.keyframes.Load(),
		Bytes:            c.bytes.Load(),
		Duration:         time.Duration(c.duration.Load()),
	}
	if err := c.err.Load(); err != nil {
		s.Err = *err
	}
	return s
}
