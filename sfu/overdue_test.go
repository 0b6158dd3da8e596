package sfu

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/securecam/securecam/sfu/codec"
)

const (
	overloadPackets = 9 // a frame
	overloadFrame   = 33 * time.Millisecond
	// overloadAnswer is how long the camera takes to send a keyframe that it was asked for.
	overloadAnswer = 100 * time.Millisecond
)

// overload drives a shard through virtual time, which passes while its sinks are written to.
type overload struct {
	*bench
	cost    time.Duration // of each packet to each viewer
	sinks   []*slowSink
	next    int64 // when the next packet comes
	packets int
	picture uint16
	wanted  int64 // since when a keyframe is, 0 if none is
	asked   int
}

// slowSink takes as long as an overloaded machine.
type slowSink struct {
	keepingSink
	in    *overload
	waits []time.Duration // from the camera to here
}

func (s *slowSink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	s.in.now += int64(s.in.cost)
	came := int64(binary.BigEndian.Uint64(payload[len(payload)-8:]))
	s.waits = append(s.waits, time.Duration(s.in.now-came))
	return s.keepingSink.WriteRTP(h, payload)
}

func newOverload(viewers int, cost time.Duration) *overload {
	o := &overload{bench: newBench(webrtc.MimeTypeVP8), cost: cost, next: 1}
	o.shard.queue = make(chan job, defaultShardQueue)
	o.shard.delay = maxDelay
	for i := range viewers {
		s := &slowSink{in: o}
		o.sinks = append(o.sinks, s)
		d := newDownTrack(o.layer.track, stream{ssrc: uint32(i + 1), payloadType: 96}, s, newSeat())
		d.instant = true
		o.shard.add(o.fan, d)
	}
	return o
}

// camera sends the next packet, which comes at next.
func (o *overload) camera() {
	n := o.packets % overloadPackets
	key := false
	if n == 0 {
		o.picture++
		if o.layer.keys.wanted.Load() && o.wanted == 0 {
			o.wanted = o.next
			o.asked++
		}
		if key = o.wanted != 0 && o.next-o.wanted >= int64(overloadAnswer); key {
			o.wanted = 0
		}
	}
	p := rtp.Packet{Header: rtp.Header{
		Version: 2, PayloadType: 100, SequenceNumber: uint16(o.packets), Timestamp: uint32(o.picture) * 2970, Marker: n == overloadPackets-1,
	}}
	p.Payload = append(payload(codec.VP8, key, n, o.picture), make([]byte, 960)...)
	binary.BigEndian.PutUint64(p.Payload[len(p.Payload)-8:], uint64(o.next))
	raw, _ := p.Marshal()
	o.layer.receive(raw, o.next)
	o.packets++
	o.next += int64(overloadFrame) / overloadPackets
}

// run goes on until then. stall, if it is not nil, may let time pass before each burst.
func (o *overload) run(until time.Duration, stall func()) {
	for o.now < int64(until) {
		for o.next <= o.now {
			o.camera()
		}
		if stall != nil {
			stall()
		}
		select {
		case j := <-o.shard.queue:
			o.shard.collect(j, nil)
		default:
			o.now = max(o.now, o.next)
		}
		if len(o.shard.replaying) > 0 {
			o.shard.catchUp()
		}
	}
}

// check fails unless what every viewer got can be decoded as a whole, but for frames that were broken off.
func (o *overload) check(t *testing.T) {
	t.Helper()
	for v, s := range o.sinks {
		decodable, have, last := true, 0, uint16(0)
		for i, p := range s.packets {
			info := codec.Inspect(codec.VP8, p.Payload)
			if i > 0 && p.SequenceNumber != s.packets[i-1].SequenceNumber+1 {
				t.Fatalf("viewer %d: packet %d after %d", v, p.SequenceNumber, s.packets[i-1].SequenceNumber)
			}
			if info.Start {
				whole := have == overloadPackets && info.Picture.ID == last+1
				if decodable = info.Keyframe || decodable && whole; !decodable {
					t.Fatalf("viewer %d: picture %d cannot be decoded (%d packets of %d came)", v, info.Picture.ID, have, last)
				}
				have, last = 0, info.Picture.ID
			}
			have++
		}
	}
}

// TestOverloadIsLatency gives a shard half as much again as it can do: packets come late, no later than the bound, and
// what has to be left out is left out so that decoding goes on.
func TestOverloadIsLatency(t *testing.T) {
	t.Parallel()
	const viewers, seconds = 4, 60
	o := newOverload(viewers, overloadFrame/overloadPackets/viewers*3/2)
	o.run(seconds*time.Second, nil)
	o.check(t)
	c := o.layer.track.counters.load()
	if c.Skips == 0 || c.Dropped == 0 || o.asked < 2 {
		t.Errorf("counters %+v, the camera was asked for %d keyframes", c, o.asked)
	}
	// A frame that was begun is finished, and a burst sent.
	limit := maxDelay + overloadFrame*3/2 + maxBurst*viewers*o.cost
	for v, s := range o.sinks {
		late, least := time.Duration(0), o.packets*5/10
		for _, w := range s.waits {
			late = max(late, w)
		}
		if late > limit || late < maxDelay/2 {
			t.Errorf("viewer %d: the latest packet waited %v, want %v at most", v, late, limit)
		}
		if len(s.packets) < least {
			t.Errorf("viewer %d got %d packets of %d", v, len(s.packets), o.packets)
		}
	}
}

// TestStall has a shard with enough to do stand still for a while.
func TestStall(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		stall time.Duration
		loses bool
	}{{250 * time.Millisecond, false}, {time.Second, true}, {10 * time.Second, true}} {
		o := newOverload(2, overloadFrame/overloadPackets/4)
		stalled := false
		o.run(20*time.Second, func() {
			if !stalled && o.now > int64(3*time.Second) {
				o.now += int64(tt.stall)
				stalled = true
			}
		})
		o.check(t)
		c := o.layer.track.counters.load()
		if lost := c.Skips > 0; lost != tt.loses || lost != (c.Dropped > 0) {
			t.Errorf("%v: counters %+v", tt.stall, c)
		}
		if asked := o.asked - 1; !tt.loses && asked > 0 || tt.loses && asked != 1 {
			t.Errorf("%v: the camera was asked for %d keyframes", tt.stall, asked)
		}
		for _, s := range o.sinks {
			if end := s.waits[len(s.waits)-1]; end > overloadFrame {
				t.Errorf("%v: in the end packets wait %v", tt.stall, end)
			}
			if n := len(s.packets); !tt.loses && n < o.packets-4*overloadPackets || tt.loses && n < o.packets/3 {
				t.Errorf("%v: %d packets of %d came", tt.stall, n, o.packets)
			}
		}
	}
}

// TestOverwritten has a tap stop for longer than the history reaches: it goes on with a keyframe.
func TestOverwritten(t *testing.T) {
	t.Parallel()
	o := newOverload(1, 0)
	o.shard.delay = 0
	o.run(time.Second, nil)
	before := len(o.sinks[0].packets)
	o.now += int64(10 * time.Second)
	o.run(20*time.Second, nil)
	o.check(t)
	if c := o.layer.track.counters.load(); c.Skips != 1 || c.Dropped == 0 || o.asked != 2 {
		t.Errorf("counters %+v, the camera was asked %d times", c, o.asked)
	}
	if n := len(o.sinks[0].packets) - before; n < 7*30*overloadPackets {
		t.Errorf("%d packets came after the stop", n)
	}
}
