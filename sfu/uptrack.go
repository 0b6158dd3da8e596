package sfu

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/securecam/securecam/sfu/codec"
)

// upTrack is what viewers and taps follow. It outlives its publisher: after a takeover its packets come from layers
// of the next one.
type upTrack struct {
	info     TrackInfo
	spec     spec
	codec    codec.Codec
	counters *counters

	layers atomic.Pointer[[]*layer] // of the newest publisher; replaced, never changed, under SFU.mu
	fans   atomic.Pointer[[]*fan]   // replaced, never changed, under SFU.mu
}

func newUpTrack(sp spec, c *counters) *upTrack {
	t := &upTrack{spec: sp, codec: codec.ByMimeType(sp.mimeType), counters: c}
	t.info = TrackInfo{
		ID: sp.kind.String(), Kind: sp.kind.String(), MimeType: sp.mimeType,
		ClockRate: sp.clockRate, Channels: sp.channels, Fmtp: sp.fmtp,
		RequestKeyframe: t.requestKeyframe,
	}
	t.layers.Store(&[]*layer{})
	t.fans.Store(&[]*fan{})
	return t
}

// requestKeyframe asks every layer for a keyframe.
func (t *upTrack) requestKeyframe() {
	for _, l := range *t.layers.Load() {
		l.keys.request()
	}
}

// join adds a layer, in the place of the one of that name or of those of an earlier publisher. Caller holds SFU.mu.
func (t *upTrack) join(l *layer) {
	layers := slices.DeleteFunc(slices.Clone(*t.layers.Load()), func(o *layer) bool {
		return o.epoch != l.epoch || o.rid == l.rid
	})
	for slices.ContainsFunc(layers, func(o *layer) bool { return o.slot == l.slot }) {
		l.slot++
	}
	layers = append(layers, l)
	t.layers.Store(&layers)
}

// several reports whether there is something to choose among; t may be nil.
func (t *upTrack) several() bool {
	if t == nil {
		return false
	}
	layers := *t.layers.Load()
	return len(layers) > 1 || len(layers) == 1 && layers[0].spatial() > 0
}

// has reports whether l is one of the layers now.
func (t *upTrack) has(l *layer) bool { return slices.Contains(*t.layers.Load(), l) }

// reconsider has everybody who follows the track choose anew among its layers.
func (t *upTrack) reconsider() {
	for _, f := range *t.fans.Load() {
		if !f.stale.Swap(true) {
			f.shard.post(f.reconsider)
		}
	}
}

// monotonic returns a clock of nanoseconds since now.
func monotonic() func() int64 {
	start := time.Now()
	return func() int64 { return int64(time.Since(start)) }
}
