package codec

import (
	"encoding/hex"
	"testing"
)

// writer writes bit fields, for descriptors of the tests' own.
type writer struct {
	b []byte
	n int
}

func (w *writer) u(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

// l2t2 is a descriptor with the structure of two spatial and two temporal layers, whose templates begin at number 60,
// for a packet of this template.
func l2t2(template uint32, chains bool) []byte {
	w := &writer{}
	w.u(1, 1) // first packet of the frame
	w.u(0, 1) // not the last one
	w.u((60+template)%64, 6)
	w.u(0x1234, 16)
	w.u(0b10000, 5) // with a structure
	w.u(60, 6)
	w.u(3, 5) // four decode targets: S0T0 S0T1 S1T0 S1T1
	for _, next := range []uint32{1, 2, 1, 3} {
		w.u(next, 2)
	}
	for _, frame := range [][4]uint32{{2, 2, 2, 2}, {0, 1, 0, 3}, {0, 0, 2, 2}, {0, 0, 0, 1}} {
		for _, indication := range frame {
			w.u(indication, 2)
		}
	}
	for _, differences := range [][]uint32{{}, {1}, {0}, {1, 0}} {
		for _, d := range differences {
			w.u(1, 1)
			w.u(d, 4)
		}
		w.u(0, 1)
	}
	if chains {
		w.u(0b10, 2) // two chains: ns(5) writes 2 as 10
		for range 4 {
			w.u(0, 1)
		}
		for range 8 {
			w.u(1, 4)
		}
	} else {
		w.u(0, 2)
	}
	w.u(1, 1)
	for _, side := range []uint32{639, 359, 1279, 719} {
		w.u(side, 16)
	}
	return w.b
}

func TestReadDescriptor(t *testing.T) {
	t.Parallel()
	for _, chains := range []bool{false, true} {
		d, ok := ReadDescriptor(l2t2(0, chains), nil)
		if !ok || d.Structure == nil {
			t.Fatalf("structure not read: %+v", d)
		}
		s := d.Structure
		if !d.Start || d.End || d.Number != 0x1234 || d.Spatial != 0 || d.Temporal != 0 || d.Up != 1 {
			t.Errorf("keyframe %+v", d)
		}
		if s.Spatial() != 2 || s.Size(0) != (Size{640, 360}) || s.Size(1) != (Size{1280, 720}) ||
			s.Size(2) != (Size{}) || s.Size(-1) != (Size{}) {
			t.Errorf("structure %+v", s)
		}
		for _, tt := range []struct {
			name string
			raw  []byte
			want Descriptor
			ok   bool
		}{
			{"first temporal layer above", []byte{0x80 | 61, 0, 7}, Descriptor{Start: true, Number: 7, Temporal: 1}, true},
			{"upper spatial layer", []byte{0x40 | 62, 0, 8}, Descriptor{End: true, Number: 8, Spatial: 1, Up: 1}, true},
			{"top, over the end of numbers", []byte{63, 0, 9}, Descriptor{Number: 9, Spatial: 1, Temporal: 1}, true},
			{"own indications", []byte{61, 0, 9, 0b00100_010, 0b10101_000}, Descriptor{Number: 9, Temporal: 1}, true},
			{"own indications, a switch", []byte{61, 0, 9, 0b00100_010, 0b10110_000}, Descriptor{Number: 9, Temporal: 1, Up: 1}, true},
			{"active targets first", []byte{61, 0, 9, 0b01000_111, 0b1_0000000}, Descriptor{Number: 9, Temporal: 1}, true},
			{"no such template", []byte{3, 0, 9}, Descriptor{}, false},
			{"cut", []byte{61, 0}, Descriptor{}, false},
			{"own indications cut", []byte{61, 0, 9, 0b00100_010}, Descriptor{}, false},
		} {
			got, ok := ReadDescriptor(tt.raw, s)
			if ok != tt.ok || ok && got != tt.want {
				t.Errorf("%s: %+v, %t", tt.name, got, ok)
			}
		}
	}
	if _, ok := ReadDescriptor([]byte{61, 0, 9}, nil); ok {
		t.Error("read without a structure")
	}
	whole := l2t2(0, true)
	for n := range len(whole) - 1 {
		if d, ok := ReadDescriptor(whole[:n], nil); ok {
			t.Errorf("cut to %d bytes: %+v", n, d)
		}
	}
}

// FuzzReadDescriptor holds that no descriptor makes the reader fail, and that what it brings can be used.
func FuzzReadDescriptor(f *testing.F) {
	f.Add(l2t2(0, true), []byte{61, 0, 9})
	f.Add(l2t2(2, false), []byte{0x40 | 62, 0, 8, 0x20, 0xff, 0xff})
	l3t3, _ := hex.DecodeString("c000018003d004414114143a0a")
	f.Add(l3t3, []byte{0, 0, 0})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d, ok := ReadDescriptor(first, nil)
		if !ok {
			return
		}
		if d.Structure == nil || d.Structure.Spatial() < 1 || int(d.Spatial) >= d.Structure.Spatial() {
			t.Fatalf("%+v", d)
		}
		if next, ok := ReadDescriptor(second, d.Structure); ok && next.Structure == nil && int(next.Spatial) >= d.Structure.Spatial() {
			t.Fatalf("%+v", next)
		}
		RenumberDescriptor(first, 0x4321)
		if again, ok := ReadDescriptor(first, nil); !ok || again.Number != 0x4321 || again.Spatial != d.Spatial || again.Start != d.Start {
			t.Fatalf("%+v became %+v", d, again)
		}
	})
}
