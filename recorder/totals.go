package recorder

import (
	"sync"
	"time"
)

// Totals sums the recordings that are given it in their Config. The zero
// Totals is ready, and safe for concurrent use.
type Totals struct {
	mu      sync.Mutex // guards what follows
	running map[*Recording]struct{}
	ended   TotalStats
}

// TotalStats is what all recordings have done, those that go on included.
type TotalStats struct {
	Running          int
	Started          uint64
	Broken           uint64 // that stopped by themselves, with an error
	Packets          uint64
	LatePackets      uint64
	LostPackets      uint64
	OverflowPackets  uint64
	Frames           uint64
	DroppedFrames    uint64
	KeyframeRequests uint64
	Bytes            uint64
	Recorded         time.Duration // of finished files
}

func (t *Totals) begin(r *Recording) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running == nil {
		t.running = map[*Recording]struct{}{}
	}
	t.running[r] = struct{}{}
	t.ended.Started++
}

func (t *Totals) end(r *Recording) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.running[r]; known {
		delete(t.running, r)
		s := r.Stats()
		t.ended.add(s)
		t.ended.Recorded += s.Duration
	}
}

// Stats returns the sums as they are now.
func (t *Totals) Stats() TotalStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.ended
	sum.Running = len(t.running)
	for r := range t.running {
		sum.add(r.Stats())
	}
	return sum
}

func (t *TotalStats) add(s Stats) {
	if s.Err != nil {
		t.Broken++
	}
	t.Packets += s.Packets
	t.LatePackets += s.LatePackets
	t.LostPackets += s.LostPackets
	t.OverflowPackets += s.OverflowPackets
	t.Frames += s.Frames
	t.DroppedFrames += s.DroppedFrames
	t.KeyframeRequests += s.KeyframeRequests
	t.Bytes += uint64(max(0, s.Bytes))
}
