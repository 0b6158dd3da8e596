package sfu

import (
	"testing"
	"time"
)

// ask is a request of a player that was sent nothing since the one before: only what was asked for in vain tells that
// answers are lost.
func ask(n, again int, at, rtt time.Duration) request {
	return request{n: n, again: again, at: at, answer: rtt, second: max(rtt, askAgain)}
}

// TestMarginForesees has a way lose so much of what it carries that answers will be among it, or a little, or much at
// once.
func TestMarginForesees(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	for _, tt := range []struct {
		name         string
		packets, of  int // lost, evenly, each second
		times        int // at once
		wantsTheNext bool
	}{
		{"5% of 300", 15, 300, 1, true},
		{"5% of a small picture", 3, 60, 1, true},
		{"0.5% of 300", 2, 300, 1, false},
		{"three at once", 1, 300, 3, false},
		{"five of a small picture at once", 1, 30, 5, false},
	} {
		var m margin
		delay, sent, at := time.Duration(0), 0, time.Hour
		for range 3 * tt.packets {
			r := ask(tt.times, 0, at, rtt)
			r.sent = uint32(sent)
			delay = m.asked(r)
			sent += tt.of / tt.packets
			at += time.Second / time.Duration(tt.packets)
			if tt.times > 1 {
				break
			}
		}
		if got := delay > 2*rtt; got != tt.wantsTheNext || tt.wantsTheNext && delay > 3*rtt {
			t.Errorf("%s: waits %s", tt.name, delay)
		}
	}
}

// TestMargin has a viewer on a bad way: it waits as long as an answer takes, longer where answers are lost too, and no
// more once the way is good.
func TestMargin(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	second := func(m *margin, from time.Duration, n, again int) (delay time.Duration) {
		for i := range 10 {
			delay = m.asked(ask(n, again, from+time.Duration(i)*100*time.Millisecond, rtt))
		}
		return delay
	}
	var m margin
	at := time.Hour
	if d := m.asked(ask(lossesMatter-1, 0, at, rtt)); d != 0 {
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
	if d := near.asked(ask(100, 50, at, shortWay/2)); d != 0 {
		t.Errorf("a viewer near by waits %s", d)
	}
	var far margin
	if d := far.asked(ask(100, 50, at, mostRTT)); d != longestDelay {
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
			m.asked(ask(1, 0, at, rtt))
		}
		if d := m.asked(ask(1, 1, at, rtt)); d > 2*rtt {
			t.Fatalf("one answer lost: waits %s", d)
		}
		at += time.Minute
		m.calm(at)
	}
}

// TestMarginShrinks has a viewer's way lose a little all the time, after a moment when it was thought to be long: that does
// not count for ever.
func TestMarginShrinks(t *testing.T) {
	t.Parallel()
	const rtt = 100 * time.Millisecond
	var m margin
	at := time.Hour
	for i := range 5 * int(calmAfter/time.Second) {
		r := ask(2, 0, at, rtt)
		if i < 2 {
			r.answer = 4 * rtt
		}
		m.asked(r)
		at += time.Second
		m.calm(at)
	}
	if m.delay < rtt || m.delay > 2*rtt {
		t.Errorf("waits %s", m.delay)
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
		delay = m.asked(ask(2, 1, at, rtt))
	}
	if delay < rtt+askAgain {
		t.Errorf("waits %s", delay)
	}
}
