package sfu

import "time"

const (
	// lossWindow is over how long a viewer's losses are counted, lossesMatter how many of them count as a bad way.
	lossWindow   = 2 * time.Second
	lossesMatter = 3
	// calmAfter is how long a way has to be good until its viewer need not wait any more.
	calmAfter = 20 * time.Second
	// judgedBy is how many packets tell a way that loses all the time from one that lost a few at once.
	judgedBy = 50
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
	before uint32           // packets sent before it
	losses int              // packets asked for in it
	last   time.Duration    // when it was bad
	vain   [2]time.Duration // when a packet was asked for that had been sent again already: the last time, the one before
	delay  time.Duration
	needed time.Duration // when about as much as that was last
}

// request is packets that a player asked for.
type request struct {
	n, again int           // again of the n not for the first time
	sent     uint32        // packets that the player was sent so far
	at       time.Duration // on the clock of packet arrivals
	answer   time.Duration // until it has what it asked for
	second   time.Duration // how much longer that takes if the first answer is lost
}

// asked takes a request into account. It returns the delay to be.
func (m *margin) asked(r request) time.Duration {
	if r.at-m.since > lossWindow {
		m.since, m.before, m.losses = r.at, r.sent, 0
	}
	m.losses += r.n
	if r.again > 0 {
		m.vain[0], m.vain[1] = r.at, m.vain[0]
	}
	if m.live || m.losses < lossesMatter || r.answer < shortWay {
		return m.delay
	}
	m.last = r.at
	want := r.answer + r.answer/8 + answerSlack
	if m.vain[1] > 0 && r.at-m.vain[1] < calmAfter || m.losesAnswers(r.sent-m.before) { // a freeze every few seconds otherwise
		want += r.second + answerSlack
	}
	// A little less is not worth that players change their pace.
	want = min(want, longestDelay)
	fits := want <= m.delay && want >= m.delay*3/4
	if !fits && (want > m.delay || m.losses > 4*lossesMatter || r.at-m.needed > calmAfter) {
		m.delay, fits = want, true
	}
	if fits {
		m.needed = r.at
	}
	return m.delay
}

// losesAnswers reports whether an answer is likely to be lost before the way is calm again: of packets so many are lost,
// and of requests and of answers as many.
func (m *margin) losesAnswers(packets uint32) bool {
	const windows = float64(calmAfter / lossWindow)
	losses := float64(m.losses)
	return packets >= judgedBy && windows*losses*2*losses/float64(packets) >= 1
}

// calm returns the delay to be when nothing was asked for lately.
func (m *margin) calm(now time.Duration) time.Duration {
	if m.delay > 0 && now-m.last > calmAfter {
		m.delay = 0
	}
	return m.delay
}

// expectLate takes what the camera was just asked for into account: players have to wait for it, too. Caller holds
// ingress.mu.
func (l *layer) expectLate(now int64) {
	r := &l.reception
	if r.firsts+r.vain == 0 {
		return
	}
	rtt := r.rtt
	if rtt == 0 {
		rtt = time.Duration(l.keys.rtt.Load())
	}
	l.late.Store(int64(l.wait.asked(request{
		n: r.firsts, again: r.vain, sent: uint32(r.received), at: time.Duration(now),
		answer: rtt + reorderDelay, second: r.round(),
	})))
	r.firsts, r.vain = 0, 0
}
