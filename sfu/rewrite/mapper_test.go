package rewrite

import (
	"testing"

	"pgregory.net/rapid"
)

// mapSeq maps a number alone.
func mapSeq(m *Mapper, seq uint16) (uint16, bool) {
	p, ok := m.Map(Packet{Seq: seq})
	return p.Seq, ok
}

func TestMapper(t *testing.T) {
	t.Parallel()
	const none = -1
	type step struct {
		drop bool
		seq  uint16
		want int
	}
	m := func(seq uint16, want int) step { return step{seq: seq, want: want} }
	d := func(seq uint16) step { return step{drop: true, seq: seq} }
	tests := []struct {
		name  string
		first uint16
		steps []step // outgoing numbers begin at 65534
	}{
		{"in order over both wraps", 65535, []step{m(65535, 65534), m(0, 65535), m(1, 0)}},
		{"gap stays", 10, []step{m(10, 65534), m(13, 1), m(11, 65535), m(12, 0)}},
		{"duplicates map alike", 10, []step{m(10, 65534), m(11, 65535), m(10, 65534), m(11, 65535)}},
		{"before the source began", 10, []step{m(10, 65534), m(9, none)}},
		{"one left out", 10, []step{m(10, 65534), d(11), m(12, 65535), m(11, none), m(10, 65534)}},
		{"first left out", 10, []step{d(10), m(11, 65534), m(10, none)}},
		{"several left out", 10, []step{m(10, 65534), d(11), d(12), m(13, 65535), m(12, none), m(11, none), m(10, 65534)}},
		{"left out after a gap", 10, []step{m(10, 65534), d(12), m(13, 0), m(11, 65535), m(12, none)}},
		{"left out too late", 10, []step{m(10, 65534), m(12, 0), d(11), m(13, 1), m(11, 65535)}},
		{"left out twice", 10, []step{m(10, 65534), d(11), d(11), m(12, 65535)}},
		{"alternating over the wrap", 65534, []step{m(65534, 65534), d(65535), m(0, 65535), d(1), m(2, 0), m(0, 65535), m(1, none)}},
		{"too old", 10, []step{m(10, 65534), m(10+window, 65534+window-65536), m(10, 65534), m(11+window, 65535+window-65536), m(10, none)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mapper := New(65534, 0)
			mapper.Switch(Packet{Seq: tt.first}, 0)
			for i, s := range tt.steps {
				if s.drop {
					mapper.Drop(Packet{Seq: s.seq}, false)
					continue
				}
				out, ok := mapSeq(mapper, s.seq)
				if ok != (s.want != none) || ok && int(out) != s.want {
					t.Fatalf("step %d: Map(%d) = %d, %t; want %d", i, s.seq, out, ok, s.want)
				}
				if !ok {
					continue
				}
				if back, ok := mapper.Source(out); !ok || back != s.seq {
					t.Fatalf("step %d: Source(%d) = %d, %t; want %d", i, out, back, ok, s.seq)
				}
			}
		})
	}
}

func TestMapperBeforeSwitch(t *testing.T) {
	t.Parallel()
	m := New(1, 1)
	m.Drop(Packet{Seq: 5}, false)
	if _, ok := mapSeq(m, 5); ok {
		t.Error("mapped without a source")
	}
	if _, ok := m.Source(1); ok {
		t.Error("source of nothing")
	}
}

func TestMapperSwitch(t *testing.T) {
	t.Parallel()
	m := New(100, 1<<32-10)
	m.Switch(Packet{Seq: 7, Timestamp: 500, PictureID: 40, TL0: 3}, 12345)
	got, _ := m.Map(Packet{Seq: 7, Timestamp: 500, PictureID: 40, TL0: 3})
	if want := (Packet{100, 1<<32 - 10, 40, 3}); got != want {
		t.Fatalf("first packet %+v, want %+v", got, want)
	}
	m.Map(Packet{Seq: 8, Timestamp: 520, PictureID: 41, TL0: 4})
	if _, ok := m.Source(102); ok {
		t.Error("source of a number not used yet")
	}

	m.Switch(Packet{Seq: 60000, Timestamp: 9, PictureID: 32767, TL0: 255}, 3000)
	if _, ok := m.Source(101); ok {
		t.Error("source of a number of the previous source")
	}
	got, _ = m.Map(Packet{Seq: 60000, Timestamp: 9, PictureID: 32767, TL0: 255})
	if want := (Packet{102, 10 + 3000, 42, 5}); got != want {
		t.Errorf("after the switch %+v, want %+v", got, want)
	}
	if ts := m.Timestamp(9); ts != 3010 {
		t.Errorf("Timestamp = %d", ts)
	}
	got, _ = m.Map(Packet{Seq: 60001, Timestamp: 0, PictureID: 0, TL0: 0}) // a frame shown earlier
	if want := (Packet{103, 3001, uint16(42 + 32769), 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	m.Switch(Packet{Seq: 1, Timestamp: 1}, 1<<31) // a clock that went backwards
	if got, _ = m.Map(Packet{Seq: 1, Timestamp: 1}); got.Timestamp != 3011 || got.Seq != 104 {
		t.Errorf("after a bad clock %+v", got)
	}
}

// TestMapperFilledBeforePicture goes over to another source when a number was filled before the picture in front of it came.
func TestMapperFilledBeforePicture(t *testing.T) {
	t.Parallel()
	m := New(100, 0)
	m.Switch(Packet{Seq: 10, PictureID: 5, TL0: 1}, 0)
	m.Map(Packet{Seq: 10, PictureID: 5, TL0: 1})
	m.Fill(Packet{Seq: 12, Timestamp: 20, PictureID: 7, TL0: 2})
	m.Map(Packet{Seq: 11, Timestamp: 10, PictureID: 6, TL0: 2})
	m.Switch(Packet{Seq: 50, PictureID: 9, TL0: 9}, 1)
	if got, _ := m.Map(Packet{Seq: 50, PictureID: 9, TL0: 9}); got != (Packet{103, 21, 7, 3}) {
		t.Errorf("%+v, want the picture after 6, and number and time after what was filled", got)
	}
}

// TestMapperContinuous holds for any sources, any packets left out: what goes out in order counts up by one, time
// rises, and every number maps back to where it came from.
func TestMapperContinuous(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		next, ts := rapid.Uint16().Draw(t, "out"), rapid.Uint32().Draw(t, "ts")
		m := New(next, ts)
		started := false
		for range rapid.IntRange(1, 4).Draw(t, "sources") {
			p := Packet{Seq: rapid.Uint16().Draw(t, "seq"), Timestamp: rapid.Uint32().Draw(t, "srcTS")}
			m.Switch(p, rapid.Uint32Range(0, 90000).Draw(t, "elapsed"))
			sent := map[uint16]uint16{}
			for range rapid.IntRange(0, 200).Draw(t, "packets") {
				if rapid.IntRange(0, 3).Draw(t, "drop") == 0 {
					m.Drop(p, false)
					if _, ok := mapSeq(m, p.Seq); ok {
						t.Fatalf("%d was left out and maps", p.Seq)
					}
				} else {
					out, ok := m.Map(p)
					if !ok || out.Seq != next {
						t.Fatalf("Map(%d) = %d, %t; want %d", p.Seq, out.Seq, ok, next)
					}
					if started && int32(out.Timestamp-ts) < 0 {
						t.Fatalf("timestamp %d after %d", out.Timestamp, ts)
					}
					sent[out.Seq], next, ts, started = p.Seq, next+1, out.Timestamp, true
				}
				p.Seq++
				p.Timestamp += rapid.Uint32Range(0, 6000).Draw(t, "step")
			}
			known := 0
			for out, seq := range sent {
				back, ok := m.Source(out)
				if ok && back != seq {
					t.Fatalf("Source(%d) = %d, want %d", out, back, seq)
				}
				if again, mapped := mapSeq(m, seq); mapped != ok || ok && again != out {
					t.Fatalf("Map(%d) = %d, %t; Source says %t", seq, again, mapped, ok)
				}
				if ok {
					known++
				}
			}
			if known < min(len(sent), maxRuns-1) {
				t.Fatalf("only %d of %d packets map back", known, len(sent))
			}
		}
	})
}

// FuzzMapper holds that no order of packets gives one outgoing number to two source packets still in reach.
func FuzzMapper(f *testing.F) {
	f.Add(uint16(65530), []byte{0, 1, 2, 131, 4, 250, 7, 3})
	f.Fuzz(func(t *testing.T, first uint16, ops []byte) {
		m := New(first^0x5555, 0)
		m.Switch(Packet{Seq: first}, 0)
		newest := first
		for _, op := range ops {
			seq := newest + uint16(int16(int8(op<<1)))*64 // back and forth by up to half of the space
			if op&0x80 != 0 {
				m.Drop(Packet{Seq: seq}, false)
			} else if out, ok := mapSeq(m, seq); ok {
				if back, ok := m.Source(out); !ok || back != seq {
					t.Fatalf("Map(%d) = %d, Source = %d, %t", seq, out, back, ok)
				}
			}
			if int16(seq-newest) > 0 {
				newest = seq
			}
		}
	})
}

func BenchmarkMap(b *testing.B) {
	m := New(0, 0)
	m.Switch(Packet{}, 0)
	p := Packet{}
	b.ReportAllocs()
	for b.Loop() {
		p.Seq++
		m.Map(p)
	}
}

// TestMapperAllocatesNothing maps, leaves out, looks back and goes over to another source.
func TestMapperAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	m := New(65000, 1)
	p := Packet{Seq: 7}
	m.Switch(p, 0)
	if n := testing.AllocsPerRun(5000, func() {
		p.Seq++
		p.Timestamp += 3000
		switch p.Seq % 50 {
		case 3:
			m.Drop(p, true)
		case 11: // missing
		case 40:
			m.Switch(p, 3000)
			fallthrough
		default:
			out, ok := m.Map(p)
			if back, found := m.Source(out.Seq); !ok || !found || back != p.Seq {
				t.Fatalf("%d became %d, which was %d", p.Seq, out.Seq, back)
			}
			m.Fill(Packet{Seq: p.Seq - 5})
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
