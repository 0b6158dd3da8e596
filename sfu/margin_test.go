package sfu

import (
	"testing"
	"time"
)

// TestMargin has a viewer on a bad way: it waits as long as an answer takes, longer where answers are lost too, and no
// more once the way is good.
func TestMargin(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	second := func(m *margin, from time.Duration, n, again int) (delay time.Duration) {
		for i := range 10 {
			delay = m.asked(n, again, from+time.Duration(i)*100*time.Millisecond, rtt)
		}
		return delay
	}
	var m margin
	at := time.Hour
	if d := m.asked(lossesMatter-1, 0, at, rtt); d != 0 {
		t.Errorf("a packet or two lost: waits %s", d)
	}
	if d := second(&m, at, 1, 0); d <= rtt || d > 2*rtt {
		t.Errorf("some lost: waits %s, want more than a round trip", d)
	}
	if d := second(&m, at+time.Second, 2, 1); d <= 2*rtt || d > 3*rtt {
		t.Errorf("answers lost: waits %s, want more than two round trips", d)
	}
	if d := m.calm(at + 10*time.Second); d <= 2*rtt {
		t.Errorf("after some seconds: waits %s", d)
	}
	if d := m.calm(at + 2*time.Second + calmAfter); d != 0 {
		t.Errorf("after a while: waits %s", d)
	}
	live := margin{live: true}
	if d := second(&live, at, 5, 3); d != 0 {
		t.Errorf("who steers waits %s", d)
	}
	var near margin
	if d := near.asked(100, 50, at, shortWay/2); d != 0 {
		t.Errorf("a viewer near by waits %s", d)
	}
	var far margin
	if d := far.asked(100, 50, at, mostRTT); d != longestDelay {
		t.Errorf("a viewer far off waits %s", d)
	}
}

// TestMarginForgets has an answer lost once a minute: that is not worth that the viewer waits for two.
func TestMarginForgets(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	var m margin
	at := time.Hour
	for range 5 {
		for range 10 {
			at += 100 * time.Millisecond
			m.asked(1, 0, at, rtt)
		}
		if d := m.asked(1, 1, at, rtt); d > 2*rtt {
			t.Fatalf("one answer lost: waits %s", d)
		}
		at += time.Minute
		m.calm(at)
	}
}

// TestMarginNear has answers lost on a short way: the player asks again no sooner than players do.
func TestMarginNear(t *testing.T) {
	t.Parallel()
	const rtt = 30 * time.Millisecond
	var m margin
	at, delay := time.Hour, time.Duration(0)
	for range 10 {
		at += 200 * time.Millisecond
		delay = m.asked(2, 1, at, rtt)
	}
	if delay < rtt+askAgain {
		t.Errorf("waits %s", delay)
	}
}
