package sfu

import (
	"testing"

	"github.com/securecam/securecam/sfu/bandwidth"
	"github.com/securecam/securecam/sfu/feedback"
)

// claims is a feedback of 28 bytes that says of so many packets that none came.
func claims(packets uint16) *feedback.Event {
	raw := []byte{
		0x80 | 15, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, byte(packets >> 8), byte(packets), 0, 0, 0, 0, // head
		byte(packets>>8) & 0x1f, byte(packets), 0, 0, 0, 0, 0, 0, // one run
	}
	return &feedback.Event{Kind: feedback.TransportCC, Raw: raw}
}

// TestFeedbackOfMany holds that a viewer cannot keep a shard busy with short packets that speak of very many others.
func TestFeedbackOfMany(t *testing.T) {
	t.Parallel()
	c := &congestion{control: bandwidth.New(1, true)}
	buf := new([mailRoom]byte)
	for round := range 2 { // what was read makes room
		for range 200 {
			c.mail.put(claims(4000), 1)
		}
		c.read(buf)
		if got, want := c.control.Stats().Unknown, uint64((round+1)*(mailPackets/4000)*4000); got != want {
			t.Errorf("looked for %d packets, want %d", got, want)
		}
	}
	for range 20 { // of a browser after a stall of two seconds
		c.mail.put(claims(100), 1)
	}
	before := c.control.Stats().Feedbacks
	c.read(buf)
	if got := c.control.Stats().Feedbacks - before; got != 20 {
		t.Errorf("%d of 20 were heard", got)
	}
}

func BenchmarkHostileFeedback(b *testing.B) {
	c := &congestion{control: bandwidth.New(1, true)}
	buf := new([mailRoom]byte)
	for b.Loop() {
		for range 200 {
			c.mail.put(claims(4000), 1)
		}
		c.read(buf)
	}
}
