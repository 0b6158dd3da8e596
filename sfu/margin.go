package sfu

import "time"

const (
	// lossWindow is over how long a viewer's losses are counted, lossesMatter how many of them count as a bad way.
	lossWindow   = 2 * time.Second
	lossesMatter = 3
	// calmAfter is how long a way has to be good until its viewer need not wait any more.
	calmAfter = 20 * time.Second
	// shortWay is a round trip that a player's own buffer is long enough for.
	shortWay = 25 * time.Millisecond
	// longestDelay bounds what a viewer is made to wait, anyDelay is a player's own bound.
	longestDelay, anyDelay = 600 * time.Millisecond, 10 * time.Second
	// answerSlack is what a player takes to ask, and the shard to answer.
	answerSlack = 40 * time.Millisecond
	// askAgain is how long players that only receive wait at least before they ask for the same again: they do not know
	// the round trip. Chromium takes it for this.
	askAgain = 100 * time.Millisecond
)

// margin is how long a viewer's player holds pictures back so that what is lost can be sent again in time. A player
// that only receives does not know the round-trip time, and stands still at every loss; the server knows it.
type margin struct {
	live   bool             // the viewer rather stands still than waits
	since  time.Duration    // beginning of the window
	losses int              // packets asked for in it
	last   time.Duration    // when it was bad
	vain   [2]time.Duration // when a packet was asked for that had been sent again already: the last time, the one before
	delay  time.Duration
}

// asked takes NACKs into account: so many packets were asked for, again of them not for the first time. It returns the
// delay to be.
func (m *margin) asked(n, again int, now, rtt time.Duration) time.Duration {
	if now-m.since > lossWindow {
		m.since, m.losses = now, 0
	}
	m.losses += n
	if again > 0 {
		m.vain[0], m.vain[1] = now, m.vain[0]
	}
	if m.live || m.losses < lossesMatter || rtt < shortWay {
		return m.delay
	}
	m.last = now
	want := rtt + rtt/8 + answerSlack
	if m.vain[1] > 0 && now-m.vain[1] < calmAfter { // that is a freeze every few seconds otherwise
		want += max(rtt, askAgain) + answerSlack
	}
	// A little more or less is not worth that players change their pace.
	if want = min(want, longestDelay); want > m.delay || want < m.delay*3/4 && m.losses > 4*lossesMatter {
		m.delay = want
	}
	return m.delay
}

// calm returns the delay to be when nothing was asked for lately.
func (m *margin) calm(now time.Duration) time.Duration {
	if m.delay > 0 && now-m.last > calmAfter {
		m.delay = 0
	}
	return m.delay
}
