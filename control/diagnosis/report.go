package diagnosis

import (
	"slices"
	"sync"
	"time"
)

const (
	// maxReports bounds the streams of which reports are kept; the oldest make
	// room.
	maxReports = 10_000
	// reportInterval is the least time between two reports of one stream, less
	// what clocks and networks jitter.
	reportInterval = 800 * time.Millisecond
	// reportAge is how long a report says anything.
	reportAge = 30 * time.Second
	// lately is how often is marked what was counted by then, to tell what came in this time and the one before.
	lately = 30 * time.Second
)

// Report is how a stream plays, by the viewer's own statistics: the names are
// those of WebRTC's getStats where it has one. Counts are since the beginning
// of the stream.
type Report struct {
	FramesDecoded   uint64  `json:"framesDecoded"`
	FramesDropped   uint64  `json:"framesDropped"`
	FrameWidth      uint32  `json:"frameWidth,omitempty" maximum:"65535"`
	FrameHeight     uint32  `json:"frameHeight,omitempty" maximum:"65535"`
	FreezeCount     uint64  `json:"freezeCount"`
	FreezesDuration float64 `json:"totalFreezesDuration" minimum:"0" maximum:"1e9" doc:"Seconds"`
	PacketsReceived uint64  `json:"packetsReceived"`
	PacketsLost     int64   `json:"packetsLost"`
	Bitrate         float64 `json:"bitrate,omitempty" minimum:"0" maximum:"1e10" doc:"Bit/s of late, all tracks together"`
	RTTMillis       float64 `json:"rttMs,omitempty" minimum:"0" maximum:"600000"`
	JitterMillis    float64 `json:"jitterMs,omitempty" minimum:"0" maximum:"600000" doc:"Of the packets' arrival"`
	JitterBuffer    float64 `json:"jitterBufferMs,omitempty" minimum:"0" maximum:"600000"`
	FirstFrame      float64 `json:"firstFrameMs,omitempty" minimum:"0" maximum:"600000" doc:"From the offer to the first frame shown"`
	GlassToGlass    float64 `json:"glassToGlassMs,omitempty" minimum:"0" maximum:"600000" doc:"From capture to playout, if known"`
	Decoder         string  `json:"decoderImplementation,omitempty" maxLength:"100"`
	Hidden          bool    `json:"hidden,omitempty" doc:"The page is not visible"`
	Blocked         bool    `json:"blocked,omitempty" doc:"The browser does not let the page play"`
}

// Stats are what viewers reported. Freezes and their seconds are sums.
type Stats struct {
	Reports       uint64
	Freezes       uint64
	FreezeSeconds float64 `help:"Seconds that viewers' pictures stood still."`
	FramesDecoded uint64
	FramesDropped uint64
	FirstFrame    Histogram `help:"Seconds from a viewer's offer to its first frame."`
	GlassToGlass  Histogram `help:"Seconds from a camera's lens to a viewer's screen."`
	RoundTrip     Histogram `help:"Seconds to a viewer and back."`
	Loss          Histogram `help:"Share of packets that a viewer lost between two reports."`
	Jitter        Histogram `help:"Seconds by which the arrival of a viewer's packets varies."`
	Bitrate       Histogram `help:"Bit/s that a viewer gets."`
	Frozen        Histogram `help:"Share of the time between two reports that a viewer's picture stood still."`
}

// Histogram counts values up to each bound, and beyond the last.
type Histogram struct {
	bounds []float64
	counts []uint64
	sum    float64
}

// Histogram has control/metrics show it as one.
func (h Histogram) Histogram() (bounds []float64, counts []uint64, sum float64) {
	return h.bounds, h.counts, h.sum
}

func newHistogram(bounds ...float64) Histogram {
	return Histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (h *Histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.counts[i]++
	h.sum += v
}

func (h *Histogram) clone() Histogram {
	return Histogram{bounds: h.bounds, counts: slices.Clone(h.counts), sum: h.sum}
}

// reports are the last reports of the streams that run.
type reports struct {
	mu    sync.Mutex // guards what follows
	of    map[string]*kept
	total Stats
}

type kept struct {
	Report
	at       time.Time
	showed   time.Time // the first report that counted as many frames
	showedBy uint64    // packets by then
	marks    [2]mark   // the older first
}

// mark is what had frozen at a moment.
type mark struct {
	at      time.Time
	freezes uint64
	frozen  float64
}

// note takes a report in the place of the one before. A hidden page decodes nothing, and one that may not play shows it.
func (k *kept) note(report Report, now time.Time) {
	anew := k.showed.IsZero() || report.FramesDecoded != k.FramesDecoded || report.PacketsReceived < k.PacketsReceived
	if anew || report.Hidden || report.Blocked {
		k.showed, k.showedBy = now, report.PacketsReceived
	}
	if report.FramesDecoded == 0 {
		k.showedBy = 0
	}
	k.mark(report, now)
	k.Report, k.at = report, now
}

// mark moves what freezes are counted from. Caller has not taken report yet.
func (k *kept) mark(report Report, now time.Time) {
	anew := report.FreezeCount < k.FreezeCount || report.FramesDecoded < k.FramesDecoded
	switch {
	case anew || k.marks[1].at.IsZero():
		k.marks = [2]mark{{at: now}, {at: now}}
	case now.Sub(k.at) > 2*lately: // nobody knows when it was
		m := mark{now, report.FreezeCount, report.FreezesDuration}
		k.marks = [2]mark{m, m}
	case now.Sub(k.marks[1].at) >= lately:
		k.marks = [2]mark{k.marks[1], {k.at, k.FreezeCount, k.FreezesDuration}}
	}
}

func newReports() *reports {
	return &reports{of: make(map[string]*kept), total: Stats{
		FirstFrame:   newHistogram(.05, .1, .15, .25, .5, 1, 2, 5, 10),
		GlassToGlass: newHistogram(.05, .1, .15, .25, .5, 1, 2, 5, 10),
		RoundTrip:    newHistogram(.005, .01, .025, .05, .1, .25, .5, 1, 2),
		Loss:         newHistogram(0, .001, .005, .01, .02, .05, .1, .25, .5),
		Jitter:       newHistogram(.001, .0025, .005, .01, .025, .05, .1, .25, .5),
		Bitrate:      newHistogram(50e3, 100e3, 250e3, 500e3, 1e6, 2e6, 4e6, 8e6, 16e6),
		Frozen:       newHistogram(0, .01, .02, .05, .1, .25, .5),
	}}
}

// keep takes a report, unless the one before is too young.
func (r *reports) keep(stream string, report Report, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.of[stream]
	if before == nil {
		r.makeRoom(now)
		before = &kept{}
		r.of[stream] = before
	} else if now.Sub(before.at) < reportInterval {
		return false
	}
	r.count(before.Report, &report, now.Sub(before.at))
	before.note(report, now)
	return true
}

// count adds what is new in a report. A viewer that connected anew counts from
// zero again. passed is the time since the report before. Caller holds mu.
func (r *reports) count(before Report, report *Report, passed time.Duration) {
	t := &r.total
	t.Reports++
	if report.PacketsReceived < before.PacketsReceived || report.FramesDecoded < before.FramesDecoded {
		before = Report{}
	}
	t.FramesDecoded += report.FramesDecoded - before.FramesDecoded
	t.FramesDropped += grown(before.FramesDropped, report.FramesDropped)
	t.Freezes += grown(before.FreezeCount, report.FreezeCount)
	frozen := max(report.FreezesDuration-before.FreezesDuration, 0)
	t.FreezeSeconds += frozen
	if before.FramesDecoded > 0 && passed < reportAge {
		t.Frozen.observe(min(frozen/passed.Seconds(), 1))
	}
	t.states(&before, report)
	lost := max(report.PacketsLost-before.PacketsLost, 0)
	if all := float64(report.PacketsReceived-before.PacketsReceived) + float64(lost); all > 0 {
		t.Loss.observe(float64(lost) / all)
	}
}

// states counts what a report says of its moment, as far as it says anything.
func (t *Stats) states(before, report *Report) {
	if report.FirstFrame > 0 && before.FirstFrame == 0 {
		t.FirstFrame.observe(report.FirstFrame / 1e3)
	}
	if report.GlassToGlass > 0 {
		t.GlassToGlass.observe(report.GlassToGlass / 1e3)
	}
	if report.RTTMillis > 0 {
		t.RoundTrip.observe(report.RTTMillis / 1e3)
	}
	if report.JitterMillis > 0 {
		t.Jitter.observe(report.JitterMillis / 1e3)
	}
	if report.Bitrate > 0 {
		t.Bitrate.observe(report.Bitrate)
	}
}

func grown(before, now uint64) uint64 {
	if now < before {
		return 0
	}
	return now - before
}

// makeRoom forgets what says nothing any more, and the oldest if that is not
// enough. Caller holds mu.
func (r *reports) makeRoom(now time.Time) {
	if len(r.of) < maxReports {
		return
	}
	oldest, at := "", now
	for id, k := range r.of {
		if now.Sub(k.at) > reportAge {
			delete(r.of, id)
		} else if k.at.Before(at) {
			oldest, at = id, k.at
		}
	}
	if len(r.of) >= maxReports {
		delete(r.of, oldest)
	}
}

// tell adds what a stream's viewer reported to what is known of it, if there is anything.
func (r *reports) tell(stream string, f *Facts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.of[stream]
	if k == nil {
		return
	}
	report := k.Report
	f.Report, f.ReportedAt = &report, k.at
	since := k.marks[0]
	f.Freezes = grown(since.freezes, report.FreezeCount)
	f.Frozen = time.Duration(max(report.FreezesDuration-since.frozen, 0) * float64(time.Second))
	f.Undecoded, f.StuckFor = report.PacketsReceived-k.showedBy, k.at.Sub(k.showed)
}

func (r *reports) stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.total
	for _, h := range []*Histogram{&s.FirstFrame, &s.GlassToGlass, &s.RoundTrip, &s.Loss, &s.Jitter, &s.Bitrate, &s.Frozen} {
		*h = h.clone()
	}
	return s
}
