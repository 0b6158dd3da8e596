package sfu

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/bandwidth"
)

// drawTrack makes an up track of some layers, of which some hold layers themselves.
func drawTrack(t *rapid.T) *upTrack {
	up := newUpTrack(spec{kind: video, mimeType: "video/VP9", clockRate: 90000}, &counters{})
	for i := range rapid.IntRange(0, maxEncodings).Draw(t, "layers") {
		l := newLayer(up, uint64(i), 16)
		l.rid, l.epoch = string(rune('a'+i)), 1
		l.silent.Store(rapid.IntRange(0, 4).Draw(t, "silent") == 0)
		if rapid.Bool().Draw(t, "sized") {
			l.sizes[0].Store(rapid.Uint32Range(16, 2000).Draw(t, "width")<<16 | rapid.Uint32Range(16, 2000).Draw(t, "height"))
		}
		if rapid.Bool().Draw(t, "measured") {
			f := &facts{fps: 30, highest: sublayers{rapid.Uint8Range(0, maxSpatial-1).Draw(t, "s"), rapid.Uint8Range(0, maxTemporal-1).Draw(t, "t")}}
			for s := range f.highest.spatial + 1 {
				for k := range f.highest.temporal + 1 {
					f.rates[s][k] = rapid.IntRange(0, 3_000_000).Draw(t, "rate")
				}
			}
			l.facts.Store(f)
		}
		up.join(l)
	}
	return up
}

func drawWish(t *rapid.T) Preference {
	return Preference{
		RID:       rapid.SampledFrom([]string{"", "", "a", "b", "c", "d", "none"}).Draw(t, "rid"),
		SpatialID: rapid.IntRange(-1, 3).Draw(t, "spatial"), TemporalID: rapid.IntRange(-1, 3).Draw(t, "temporal"),
		MaxHeight:  rapid.SampledFrom([]int{0, 0, 1, 180, 360, 720}).Draw(t, "height"),
		MaxBitrate: rapid.SampledFrom([]int{0, 0, 1, 200_000, 1_000_000}).Draw(t, "bitrate"),
		Paused:     rapid.IntRange(0, 9).Draw(t, "paused") == 0,
	}
}

// TestPick is the law of the choice: it is within the budget, within the wish where that can be, never worse for more
// budget, stable, and nothing only where there is nothing, nothing is wanted or nothing can be paid for.
func TestPick(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		up, wish := drawTrack(t), drawWish(t)
		var buf [maxRungs]rung
		rungs := up.rungs(&buf, wish.TemporalID)
		live := slices.ContainsFunc(*up.layers.Load(), func(l *layer) bool { return !l.silent.Load() })
		if live != (len(rungs) > 0) {
			t.Fatalf("%d rungs of live layers: %t", len(rungs), live)
		}
		current := rapid.IntRange(-1, len(rungs)-1).Draw(t, "current")
		budget := rapid.IntRange(0, 8_000_000).Draw(t, "budget")
		i := pick(rungs, wish, budget, current)
		if i == noRung {
			lowest := len(rungs) > 0 && (budget == 0 || rungs[0].rate+rungs[0].rate*headroom/100 <= budget)
			if lowest && !wish.Paused {
				t.Fatal("nothing, though the lowest can be had")
			}
			return
		}
		r := rungs[i]
		if wish.Paused || r.layer.silent.Load() {
			t.Fatalf("%+v is not to be sent", r)
		}
		if budget > 0 && r.rate > budget {
			t.Fatalf("%d bit/s of %d", r.rate, budget)
		}
		if i > 0 && !within(rungs, r, wish) {
			t.Fatalf("%+v is more than %+v", r, wish)
		}
		if wish.TemporalID >= 0 && int(r.temporal) > wish.TemporalID {
			t.Fatalf("temporal layer %d", r.temporal)
		}
		if more := pick(rungs, wish, budget+rapid.IntRange(0, 1_000_000).Draw(t, "more"), current); budget > 0 && more < i {
			t.Fatalf("rung %d for more than what rung %d is had for", more, i)
		}
		if again := pick(rungs, wish, budget, i); again < i {
			t.Fatalf("rung %d is given up at once for %d", i, again)
		}
		if free := pick(rungs, wish, 0, current); free < i {
			t.Fatalf("rung %d without a limit, %d with one", free, i)
		}
	})
}

// TestLadder puts layers in the order of their pictures, whatever their names and order are.
func TestLadder(t *testing.T) {
	t.Parallel()
	up := newUpTrack(spec{kind: video, mimeType: "video/VP8", clockRate: 90000}, &counters{})
	add := func(rid string, w, h uint32, rates ...int) {
		l := newLayer(up, 1, 16)
		l.rid, l.epoch = rid, 1
		l.sizes[0].Store(w<<16 | h)
		f := &facts{highest: sublayers{0, uint8(len(rates) - 1)}}
		copy(f.rates[0][:], rates)
		l.facts.Store(f)
		up.join(l)
	}
	add("x", 640, 360, 250_000, 250_000)
	add("low", 1280, 720, 2_000_000)
	add("high", 320, 180, 50_000, 50_000, 50_000)
	var buf [maxRungs]rung
	rungs := up.rungs(&buf, -1)
	got := ""
	for _, r := range rungs {
		got += r.rid + " "
	}
	if got != "high high high x low " {
		t.Errorf("order %s", got)
	}
	for _, tt := range []struct {
		name    string
		wish    func(*Preference)
		budget  int
		current int
		want    int
	}{
		{"best", func(*Preference) {}, 0, noRung, 4},
		{"low layer at full rate rather than a slower better one", func(*Preference) {}, 400_000, noRung, 2},
		{"thinned before nothing", func(*Preference) {}, 120_000, noRung, 1},
		{"nothing before starvation", func(*Preference) {}, 40_000, noRung, noRung},
		{"no headroom to stay", func(*Preference) {}, 2_000_000, 4, 4},
		{"headroom to go up", func(*Preference) {}, 2_100_000, 3, 3},
		{"enough headroom", func(*Preference) {}, 2_200_000, 3, 4},
		{"height", func(p *Preference) { p.MaxHeight = 400 }, 0, noRung, 3},
		{"height below all", func(p *Preference) { p.MaxHeight = 100 }, 0, noRung, 2},
		{"name", func(p *Preference) { p.RID = "x" }, 0, noRung, 3},
		{"name and too little", func(p *Preference) { p.RID = "low" }, 600_000, noRung, 3},
		{"bitrate", func(p *Preference) { p.MaxBitrate = 100_000 }, 0, noRung, 1},
		{"paused", func(p *Preference) { p.Paused = true }, 0, noRung, noRung},
	} {
		wish := NoPreference()
		tt.wish(&wish)
		if got := pick(rungs, wish, tt.budget, tt.current); got != tt.want {
			t.Errorf("%s: rung %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestHeavyKeyframe has a keyframe double what the layer that a viewer gets is measured to take: it goes on as long as
// its way does not complain, but no longer than it is wished for, and what is better does not begin for it.
func TestHeavyKeyframe(t *testing.T) {
	t.Parallel()
	b := newBench(webrtc.MimeTypeVP8)
	up := b.layer.track
	layers := []*layer{b.layer, newLayer(up, 2, 16), newLayer(up, 3, 16)}
	measured := func(i, rate int) {
		f := &facts{fps: 30}
		f.rates[0][0] = rate
		layers[i].facts.Store(f)
	}
	for i, l := range layers {
		l.keys, l.rid, l.slot = newKeyframes(time.Hour, func(bool) {}), string(rune('a'+i)), uint8(i)
		l.sizes[0].Store(uint32(320*(i+1))<<16 | uint32(180*(i+1)))
		measured(i, 500_000*(i+1))
		if i > 0 {
			up.join(l)
		}
	}
	d := newDownTrack(up, stream{ssrc: 1, payloadType: 96}, &keepingSink{}, newSeat())
	b.shard.add(b.fan, d)
	d.layer, d.target = layers[1], layers[1]
	got := func() string { d.choose(); return d.target.rid }
	d.seat.limit(1_400_000, bandwidth.Decision{Keep: true})
	measured(1, 2_000_000)
	if rid := got(); rid != "b" {
		t.Errorf("with a keyframe in what it takes, layer b gives way to %s", rid)
	}
	d.target = layers[2] // about to begin
	if rid := got(); rid != "c" {
		t.Errorf("layer c, which is about to begin, gives way to %s", rid)
	}
	d.target = layers[1]
	wish := NoPreference()
	wish.MaxHeight = 180
	d.seat.wish.Store(&wish)
	if rid := got(); rid != "a" {
		t.Errorf("layer %s goes on, which is not wished for", rid)
	}
	wish = NoPreference()
	d.target = layers[1]
	d.seat.limit(1_400_000, bandwidth.Decision{})
	if rid := got(); rid != "a" {
		t.Errorf("layer %s goes on, which is too much for the way", rid)
	}
}
