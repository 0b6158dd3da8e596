package recorder

import "time"

// lose is called where packets are missing. A picture without its predecessors is worth nothing: video goes on
// with the next keyframe, sound with the next packet.
func (t *track) lose() {
	if t.assembling {
		t.assembling = false
		t.r.count.dropped.Add(1)
	}
	t.synced = t.synced && !t.video()
}

// assemble takes the next packet in order.
func (t *track) assemble(p *packet) {
	if len(p.payload) == 0 { // padding, sent to probe the bandwidth
		return
	}
	if t.assembling && p.timestamp != t.timestamp {
		t.endFrame()
	}
	if !t.assembling {
		if !t.synced && !t.depack.Begins(p.payload) {
			if p.marker {
				t.r.count.dropped.Add(1)
			}
			return
		}
		t.assembling, t.timestamp, t.arrived = true, p.timestamp, p.arrived
		t.depack.Reset()
		if t.data == nil {
			t.data = t.r.mux.buffer()
		}
		t.data = t.data[:0]
	}
	var err error
	if t.data, err = t.depack.Push(t.data, p.payload); err != nil {
		t.lose()
		return
	}
	if p.marker || !t.video() {
		t.endFrame()
	}
}

// endFrame hands the assembled frame on, when it can be decoded.
func (t *track) endFrame() {
	if !t.assembling {
		return
	}
	f, err := t.depack.Finish(t.data)
	if err != nil {
		t.lose()
		return
	}
	t.assembling = false
	if len(f.Data) == 0 {
		return
	}
	if !t.synced && !f.Keyframe {
		t.r.count.dropped.Add(1)
		return
	}
	if f.Keyframe {
		t.synced, t.lastKey = true, t.arrived
	}
	t.data = nil
	t.r.mux.add(t, f)
}

// frameQueue is a queue of frames that keeps its memory.
type frameQueue struct {
	frames []frame
	first  int
}

// frame is a frame on the time line of the recording.
type frame struct {
	data     []byte
	private  []byte
	time     time.Duration
	duration time.Duration
	arrived  time.Time
	width    int
	height   int
	keyframe bool
}

func (q *frameQueue) len() int     { return len(q.frames) - q.first }
func (q *frameQueue) head() *frame { return &q.frames[q.first] }
func (q *frameQueue) all() []frame { return q.frames[q.first:] }

func (q *frameQueue) push(f frame) {
	if len(q.frames) == cap(q.frames) && q.first > 0 {
		q.frames = q.frames[:copy(q.frames, q.frames[q.first:])]
		q.first = 0
	}
	q.frames = append(q.frames, f)
}

func (q *frameQueue) pop() frame {
	f := q.frames[q.first]
	q.frames[q.first] = frame{}
	if q.first++; q.first == len(q.frames) {
		q.frames, q.first = q.frames[:0], 0
	}
	return f
}
