package sfu

import "slices"

// maxEncodings bounds the layers of an up track, maxRungs what can be chosen among.
const (
	maxEncodings = 4
	maxRungs     = maxEncodings * (maxSpatial + maxTemporal)
)

// rung is one way to send an up track: a layer, up to some spatial and temporal layer within it.
type rung struct {
	layer             *layer
	rid               string
	spatial, temporal uint8
	width, height     int  // zeros if not known
	depth             int  // how many spatial layers of the stream are below the highest of the rung
	rate              int  // bit/s
	thin              bool // fewer frames a second than the camera sends
}

const (
	// headroom is the share by which a budget must exceed what something better needs before a viewer gets it, in
	// percent: a link that is just enough is soon too small.
	headroom = 10
	// bitsPerPixel guesses, by what browsers spend, the rate of a layer that was not measured yet: tenths of a bit per
	// second for each pixel of its picture.
	bitsPerPixel = 27
	// guessedRate is that of a layer of which not even the picture is known.
	guessedRate = 150_000
)

// noRung means: send nothing.
const noRung = -1

// pick chooses what a viewer is sent: the best rung that its wish allows and its budget (bit/s, 0 means unlimited)
// carries. rungs are in the order of ladder; current is what it is sent now, noRung if nothing is. A wish is a limit:
// where nothing is within it, the lowest rung is the nearest. A budget is one too, but nothing is sent that is beyond
// it: what starves takes everything else of the viewer with it.
func pick(rungs []rung, wish Preference, budget, current int) int {
	if wish.Paused || len(rungs) == 0 {
		return noRung
	}
	best := noRung
	for i, r := range rungs {
		if i > 0 && !within(rungs, r, wish) {
			continue
		}
		need := r.need(i > current)
		if budget == 0 || need <= budget {
			best = i
		}
	}
	return best
}

// keep returns what goes on in the place of what was picked: what is sent, or about to be, if that is better and still
// wished for. What it is measured to take does not count.
func keep(rungs []rung, wish Preference, picked, sent int) int {
	if sent <= picked || wish.Paused || sent > 0 && !within(rungs, rungs[sent], wish) {
		return picked
	}
	return sent
}

// need is what a budget must be for a rung, which is more if it is to begin.
func (r *rung) need(begin bool) int {
	if begin {
		return r.rate + r.rate*headroom/100
	}
	return r.rate
}

// within reports whether a rung is no more than a wish asks for.
func within(rungs []rung, r rung, wish Preference) bool {
	if wish.MaxBitrate > 0 && r.rate > wish.MaxBitrate {
		return false
	}
	if r.layer == rungs[0].layer && r.depth == rungs[0].depth {
		return true // the smallest picture is the nearest to any wish
	}
	if wish.MaxHeight > 0 && min(r.width, r.height) > wish.MaxHeight {
		return false
	}
	if wish.SpatialID >= 0 && r.depth > wish.SpatialID {
		return false
	}
	if wish.RID == "" {
		return true
	}
	for i := len(rungs) - 1; i >= 0; i-- {
		if rungs[i].rid == wish.RID {
			return !better(rungs[i], r)
		}
	}
	return true // there is no such layer now: any will do
}

// better reports whether b has the larger picture, or the same at a higher rate.
func better(a, b rung) bool {
	if p, q := a.width*a.height, b.width*b.height; p != q && p > 0 && q > 0 {
		return q > p
	}
	return b.rate > a.rate
}

// ladder puts rungs in order, the least first: by picture where all are known, by rate where not, and thinned ones
// below the whole. Thinned rungs stay only of the smallest picture: a viewer rather has a smaller picture than a slower
// one.
func ladder(rungs []rung) []rung {
	sized := !slices.ContainsFunc(rungs, func(r rung) bool { return r.width*r.height == 0 })
	slices.SortStableFunc(rungs, func(a, b rung) int {
		if sized && a.width*a.height != b.width*b.height {
			return a.width*a.height - b.width*b.height
		}
		return a.rate - b.rate
	})
	first := slices.IndexFunc(rungs, func(r rung) bool { return !r.thin })
	if first < 0 {
		return rungs
	}
	lowest := rungs[first]
	return slices.DeleteFunc(rungs, func(r rung) bool {
		return r.thin && (r.layer != lowest.layer || r.depth != lowest.depth)
	})
}

// rungs lists what can be chosen of the track, into buf. temporal limits the temporal layers, -1 means no limit.
func (t *upTrack) rungs(buf *[maxRungs]rung, temporal int) []rung {
	out := buf[:0]
	for _, l := range *t.layers.Load() {
		if !l.silent.Load() && len(out)+maxSpatial+maxTemporal <= maxRungs {
			out = l.rungs(out, temporal)
		}
	}
	return ladder(out)
}

// rungs appends those of one layer.
func (l *layer) rungs(out []rung, temporal int) []rung {
	f := l.facts.Load()
	if f == nil {
		w, h := l.size(0)
		return append(out, rung{
			layer: l, rid: l.rid, spatial: everything, temporal: top(everything, temporal),
			width: w, height: h, rate: guess(w, h),
		})
	}
	t := top(f.highest.temporal, temporal)
	limit := top(everything, temporal)
	for lower := range t {
		w, h := l.size(0)
		out = append(out, rung{layer: l, rid: l.rid, temporal: lower, width: w, height: h, rate: f.rate(0, lower), thin: true})
	}
	for s := range f.highest.spatial + 1 {
		w, h := l.size(s)
		r := rung{layer: l, rid: l.rid, spatial: s, temporal: limit, depth: int(s), width: w, height: h, rate: f.rate(s, t)}
		if s == f.highest.spatial {
			r.spatial = everything // also what is yet to come
		}
		out = append(out, r)
	}
	return out
}

func top(highest uint8, limit int) uint8 {
	if limit >= 0 && limit < int(highest) {
		return uint8(limit)
	}
	return highest
}

func guess(width, height int) int {
	if width*height == 0 {
		return guessedRate
	}
	return width * height * bitsPerPixel / 10
}

// least is what it takes to send the least of the track, 0 if there is nothing yet.
func (t *upTrack) least() int {
	var buf [maxRungs]rung
	rungs := t.rungs(&buf, -1)
	if len(rungs) == 0 {
		return 0
	}
	return rungs[0].need(true)
}
