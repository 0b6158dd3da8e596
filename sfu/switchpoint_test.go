package sfu

import (
	"slices"
	"testing"

	"github.com/pion/webrtc/v4"
	"pgregory.net/rapid"

	"github.com/securecam/securecam/sfu/codec"
)

// referrer is a picture of a camera that predicts from what it likes, as far as temporal layers allow.
type referrer struct {
	temporal uint8
	key, up  bool
	needs    []int
}

// encodeFreely makes pictures of VP9. A layer may refer to itself for ever, as with libvpx's own patterns: nobody can join
// it at one of its own pictures then. up is true of every switching up point (RFC 9628, section 4.2: no later picture of a
// higher temporal layer depends on one before this that is of a higher layer, too), so of every picture of the highest.
func encodeFreely(t *rapid.T) []referrer {
	temporals := rapid.Uint8Range(1, 3).Draw(t, "temporals")
	all := make([]referrer, rapid.IntRange(1, 60).Draw(t, "pictures"))
	begin := 0
	for i := range all {
		p := &all[i]
		if p.key = i == 0 || rapid.IntRange(0, 20).Draw(t, "key") == 0; p.key {
			begin = i
			continue
		}
		p.temporal = rapid.Uint8Range(0, temporals-1).Draw(t, "temporal")
		var candidates []int
		for o := begin; o < i; o++ {
			if all[o].temporal <= p.temporal {
				candidates = append(candidates, o)
			}
		}
		newest := len(candidates) - 1
		p.needs = append(p.needs, candidates[newest-rapid.IntRange(0, min(newest, 2)).Draw(t, "back")])
		if rapid.Bool().Draw(t, "two") {
			p.needs = append(p.needs, candidates[newest-rapid.IntRange(0, min(newest, 2)).Draw(t, "farther back")])
		}
	}
	for i := range all {
		all[i].up = !slices.ContainsFunc(all[i+1:], func(later referrer) bool {
			return later.temporal > all[i].temporal && slices.ContainsFunc(later.needs, func(n int) bool {
				return n < i && all[n].temporal > all[i].temporal
			})
		})
	}
	return all
}

// info is what is made of a picture's payload descriptor: flexible mode says what it refers to.
func (p *referrer) info(t *rapid.T, number int) codec.Info {
	b := []byte{
		0x80 | modelBit(!p.key, 0x40) | 0x20 | 0x10 | 0x08 | 0x04, 0x80 | byte(number>>8), byte(number),
		p.temporal<<5 | modelBit(p.up, 0x10),
	}
	for i, n := range p.needs {
		b = append(b, byte(number-n)<<1|modelBit(i < len(p.needs)-1, 1))
	}
	info := codec.Inspect(codec.VP9, append(b, 0))
	if !info.Start || info.Keyframe != p.key || info.Temporal != p.temporal {
		t.Fatalf("%x is taken for %+v", b, info)
	}
	return info
}

// TestVP9SwitchingPoint has what goes out of such a stream change at will: it can always be decoded, and grows at the
// first picture after which it can.
func TestVP9SwitchingPoint(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c cut
		c.aim(0, rapid.Uint8Range(0, 2).Draw(t, "goal"))
		c.begin(0, true)
		all := encodeFreely(t)
		out := make([]bool, len(all))
		for i, p := range all {
			if i > 0 && rapid.IntRange(0, 5).Draw(t, "changes") == 0 {
				c.aim(0, rapid.Uint8Range(0, 2).Draw(t, "goal"))
			}
			info := p.info(t, i)
			before := min(c.now.temporal, c.goal.temporal)
			if i > 0 {
				c.step(uint16(i), &info)
			}
			s := c.of(uint16(i))
			if p.up && p.temporal <= before && s.temporal != c.goal.temporal {
				t.Fatalf("picture %d is a switching up point, and layers up to %d go out, not %d", i, s.temporal, c.goal.temporal)
			}
			out[i] = s.have(&info)
			if out[i] && slices.ContainsFunc(p.needs, func(n int) bool { return !out[n] }) {
				t.Fatalf("picture %d (layer %d) goes out, and of those that it needs, %v, one did not", i, p.temporal, p.needs)
			}
		}
	})
}

// TestNoSwitchingPoint has a viewer want all pictures again of a camera that says of none that more can go out from it on,
// but, as some do, of those of upper layers that their own can: a keyframe helps, and is asked for after a while.
func TestNoSwitchingPoint(t *testing.T) {
	t.Parallel()
	for name, points := range map[string][3]bool{"upper layers": {false, true, true}, "all": {true, true, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(webrtc.MimeTypeVP9)
			d := newDownTrack(b.layer.track, stream{ssrc: 1, payloadType: 96}, &keepingSink{}, newSeat())
			b.shard.add(b.fan, d)
			number := 0
			pictures := func(n int, key bool) {
				for range n {
					temporal := [...]byte{0, 2, 1, 2}[number%4]
					if key {
						temporal = 0
					}
					b.feed(t, uint16(number), append([]byte{
						0x80 | modelBit(!key, 0x40) | 0x20 | 0x08 | 0x04, 0x80 | byte(number>>8), byte(number),
						temporal<<5 | modelBit(points[temporal], 0x10), byte(number / 4),
					}, make([]byte, 100)...), 0)
					number++
				}
			}
			want := func(temporal int) {
				p := NoPreference()
				p.TemporalID = temporal
				d.seat.wish.Store(&p)
				d.choose()
			}
			asked := b.layer.keys.wanted.Load
			pictures(1, true)
			pictures(7, false)
			want(0)
			pictures(200, false)
			if d.cut.now.temporal != 0 || asked() {
				t.Fatalf("%+v goes out, asked for a keyframe %t", d.cut.now, asked())
			}
			want(-1)
			pictures(16, false)
			if asked() {
				t.Fatal("asked for a keyframe at once")
			}
			pictures(200, false)
			if asked() == points[0] || (d.cut.now.temporal >= 2) != points[0] {
				t.Fatalf("%+v goes out, asked for a keyframe %t", d.cut.now, asked())
			}
			pictures(1, true)
			pictures(200, false)
			if d.cut.now.temporal < 2 || asked() {
				t.Errorf("%+v goes out after a keyframe, asked for another %t", d.cut.now, asked())
			}
		})
	}
}
