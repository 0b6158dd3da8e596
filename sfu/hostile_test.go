package sfu

import (
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

// TestNACKsAreFair holds that one viewer's flood of NACKs leaves room for another's.
func TestNACKsAreFair(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	greedy, modest := newDownTrack(b.layer.track, stream{}, nil, newSeat()), newDownTrack(b.layer.track, stream{}, nil, newSeat())
	taken := 0
	for i := range uint16(1000) {
		if b.shard.ask(missing{down: greedy, pid: i}) {
			taken++
		}
	}
	if taken != maxWaiting || !b.shard.ask(missing{down: modest}) {
		t.Errorf("%d of one viewer's NACKs wait and another's finds no room", taken)
	}
	b.shard.act()
	if !b.shard.ask(missing{down: greedy}) {
		t.Error("there is no room after all were answered")
	}
}

// TestLaneDeliversAll holds that a tap gets what was queued when it ended: the tail of a recording.
func TestLaneDeliversAll(t *testing.T) {
	t.Parallel()
	for _, drains := range []bool{true, false} {
		b := newBench(webrtc.MimeTypeVP8)
		b.shard = newShard(nil, 64, 0, monotonic())
		b.shard.drains = drains
		b.fan.shard = b.shard
		sink := &keepingSink{}
		b.shard.add(b.fan, newDownTrack(b.layer.track, stream{}, sink, newSeat()))
		for i := range 50 {
			b.arrive(i%9 == 8)
		}
		b.shard.finish(func() {})
		b.shard.run()
		if drains && len(sink.packets) != 50 {
			t.Errorf("%d of 50 queued packets were delivered", len(sink.packets))
		}
	}
}

// TestReaderWaitsForNobody has a camera begin a stream while the control plane holds its lock: its packets are passed
// over, the reader goes on, and the stream begins later.
func TestReaderWaitsForNobody(t *testing.T) {
	t.Parallel()
	s := newSFU(t)
	c := publishCamera(t, s, "m", vp8)
	s.mu.Lock()
	sess := s.media["m"].publisher
	if l := s.startLayer(sess, video, "", 99, 0); l != nil {
		t.Error("a stream began without the lock")
	}
	s.mu.Unlock()
	w := watch(t, s, "m", "v")
	eventually(t, "picture", func() bool { c.frame(true); return len(w.packets(video)) > 0 })
	if got := w.packets(video); !codec.Inspect(codec.VP8, got[0].Payload).Keyframe {
		t.Error("the first packet is no keyframe")
	}
}
