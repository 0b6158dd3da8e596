package bandwidth

import "testing"

// TestPause: a camera that makes no pictures for a while costs its viewer nothing, however little the way is believed to
// carry: nothing that is sent is too much.
func TestPause(t *testing.T) {
	t.Parallel()
	now, c := 1000*second, New(1000*second, false)
	d := Demand{Sent: 500_000}
	run := func(time int64, size int) (least int) {
		least = d.Sent
		for end := now + time; now < end; now += 20 * millisecond {
			if size > 0 {
				c.SentPlain(now, size)
			}
			least = min(least, c.Tick(now, d).Budget)
		}
		return least
	}
	run(second, 500) // 200 kbit/s
	c.estimate.rate, c.estimate.doubted = 300_000, true
	if least := run(second, 500); least < d.Sent {
		t.Fatalf("a budget of %d before", least)
	}
	if least := run(3*second, 0); least < d.Sent {
		t.Errorf("a budget of %d in the pause", least)
	}
	if least := run(second, 500); least < d.Sent {
		t.Errorf("a budget of %d after it", least)
	}
	if least := run(second, 1500); least >= d.Sent { // 600 kbit/s
		t.Errorf("a budget of %d for what is too much", least)
	}
}
