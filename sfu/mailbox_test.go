package sfu

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

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

// FuzzWay has a viewer say anything at all of its way, twice: what is believed stays within bounds.
func FuzzWay(f *testing.F) {
	feedbacks := append([]byte{0x8f, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 1, 0, 0x20, 8}, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0)
	f.Add(feedbacks[:28], feedbacks[:28])
	for _, p := range []rtcp.Packet{
		&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: 1, Bitrate: 200_000, SSRCs: []uint32{2}},
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{{SSRC: 2, FractionLost: 200}}},
		&rtcp.FullIntraRequest{SenderSSRC: 1, FIR: []rtcp.FIREntry{{SSRC: 2, SequenceNumber: 1}}},
	} {
		raw, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, feedbacks[:28])
		f.Add(feedbacks[:28], raw)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		now, buf := int64(time.Hour), new([mailRoom]byte)
		c := newCongestion(now, newSeat(), true, 100_000, &wayTotals{})
		demand := bandwidth.Demand{Sent: 150_000, Next: 1_000_000, Goal: 5_000_000}
		for _, said := range [][]byte{first, second} {
			for range 10 {
				now += int64(10 * time.Millisecond)
				c.control.Sent(now, 1200)
			}
			if r, ok := feedback.Read(said); ok {
				for r.Next() {
					c.mail.put(&r.Event, now)
				}
			}
			c.read(buf)
			d := c.control.Tick(now, demand)
			st := c.describe()
			if d.Budget < 0 || d.Budget > 8_000_000 || d.Padding < 0 || d.Padding > 1<<18 || st.Estimate <= 0 || st.Estimate > 8_000_000 ||
				st.RTT < 0 || !(st.Loss >= 0 && st.Loss <= 1) {
				t.Fatalf("%+v, %+v", d, st)
			}
		}
	})
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
