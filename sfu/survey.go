package sfu

import (
	"slices"
	"time"
)

// surveyEvery is how often sessions are looked at for Stats.Quality: a receiver reports about once a second.
const surveyEvery = 5 * time.Second

// Quality is how media arrives, as receivers report it by RTCP: of cameras here, and of viewers there, whatever player
// they are. Each session counts once in some seconds, if it has reported anew, and a camera once for each layer.
type Quality struct {
	CameraLoss   Distribution `help:"Share of a camera's packets lost lately, before repairs."`
	CameraJitter Distribution `help:"Seconds by which the arrival of a camera's packets varies."`
	CameraRTT    Distribution `help:"Seconds to a camera and back."`
	ViewerLoss   Distribution `help:"Share of the packets to a viewer lost lately, as it reports."`
	ViewerJitter Distribution `help:"Seconds by which the arrival of packets at a viewer varies, as it reports."`
	ViewerRTT    Distribution `help:"Seconds to a viewer and back, nearly the shortest seen."`
}

// Distribution counts values up to each bound, and beyond the last.
type Distribution struct {
	bounds []float64
	counts []uint64
	sum    float64
}

// Histogram returns the bounds, how many values lay above the bound before each and not above it, with those above the
// last bound at the end, and the sum of all.
func (d Distribution) Histogram() (bounds []float64, counts []uint64, sum float64) {
	return d.bounds, d.counts, d.sum
}

func newDistribution(bounds ...float64) Distribution {
	return Distribution{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (d *Distribution) observe(v float64) {
	i, _ := slices.BinarySearch(d.bounds, v)
	d.counts[i]++
	d.sum += v
}

func newQuality() Quality {
	loss := func() Distribution { return newDistribution(0, .001, .005, .01, .02, .05, .1, .25, .5) }
	jitter := func() Distribution { return newDistribution(.001, .0025, .005, .01, .025, .05, .1, .25, .5) }
	rtt := func() Distribution { return newDistribution(.005, .01, .025, .05, .1, .25, .5, 1, 2) }
	return Quality{loss(), jitter(), rtt(), loss(), jitter(), rtt()}
}

// clone returns a copy that nobody changes.
func (q Quality) clone() Quality {
	for _, d := range []*Distribution{&q.CameraLoss, &q.CameraJitter, &q.CameraRTT, &q.ViewerLoss, &q.ViewerJitter, &q.ViewerRTT} {
		d.counts = slices.Clone(d.counts)
	}
	return q
}

// survey sums up what receivers report until stop is closed.
func (s *SFU) survey() {
	tick := time.NewTicker(surveyEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.informer.stop:
			return
		case <-tick.C:
			s.takeSurvey()
		}
	}
}

// takeSurvey looks at all sessions once.
func (s *SFU) takeSurvey() {
	s.mu.Lock()
	running := make([]*session, 0, len(s.sessions))
	for _, sess := range s.sessions {
		if sess.connected {
			running = append(running, sess)
		}
	}
	s.mu.Unlock()
	var seen []arrival
	for _, sess := range running {
		if sess.role == publish {
			seen = sess.surveyCamera(seen)
		} else {
			seen = sess.surveyViewer(seen)
		}
	}
	s.quality.mu.Lock()
	defer s.quality.mu.Unlock()
	for _, a := range seen {
		s.quality.count(a)
	}
}

// arrival is how one stream arrives. rtt is 0 if it is not known, or was counted with another stream of the session.
type arrival struct {
	role        role
	loss        float64
	jitter, rtt time.Duration
}

// count adds an arrival.
func (q *Quality) count(a arrival) {
	loss, jitter, rtt := &q.CameraLoss, &q.CameraJitter, &q.CameraRTT
	if a.role == play {
		loss, jitter, rtt = &q.ViewerLoss, &q.ViewerJitter, &q.ViewerRTT
	}
	loss.observe(a.loss)
	jitter.observe(a.jitter.Seconds())
	if a.rtt > 0 {
		rtt.observe(a.rtt.Seconds())
	}
}

// surveyCamera appends what was reported to a camera since the survey before.
func (sess *session) surveyCamera(to []arrival) []arrival {
	first := len(to)
	sess.ingress.mu.Lock()
	for _, l := range sess.uplink.layers {
		if l.reported.fresh() {
			to = append(to, arrival{role: publish, loss: l.reported.loss(), jitter: l.reported.delay(l.track.spec.clockRate)})
		}
	}
	sess.ingress.mu.Unlock()
	if len(to) > first {
		to[first].rtt = sess.link.RTT()
	}
	return to
}

// surveyViewer appends what a viewer has reported since the survey before.
func (sess *session) surveyViewer(to []arrival) []arrival {
	first := len(to)
	for _, t := range sess.tracks {
		if t.reported.fresh() {
			to = append(to, arrival{role: play, loss: t.reported.loss(), jitter: t.reported.delay(t.spec.clockRate)})
		}
	}
	if len(to) > first {
		to[first].rtt = sess.egress.way.known()
	}
	return to
}
