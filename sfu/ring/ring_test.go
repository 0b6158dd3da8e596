package ring

import (
	"bytes"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func packet(seq uint16, payload ...byte) *Packet {
	return &Packet{Seq: seq, Timestamp: uint32(seq) * 90, Marker: seq%3 == 0, Payload: payload}
}

func TestPut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		put  []uint16
		want []Verdict
	}{
		{"in order over the wrap", []uint16{65534, 65535, 0, 1}, []Verdict{Stored, Stored, Stored, Stored}},
		{"reordered over the wrap", []uint16{65534, 0, 65535}, []Verdict{Stored, Stored, Stored}},
		{"duplicate", []uint16{7, 7}, []Verdict{Stored, Duplicate}},
		{"late duplicate", []uint16{7, 8, 9, 7}, []Verdict{Stored, Stored, Stored, Duplicate}},
		{"gap filled late", []uint16{7, 10, 8, 9}, []Verdict{Stored, Stored, Stored, Stored}},
		{"just inside", []uint16{100, 115, 101}, []Verdict{Stored, Stored, Stored}},
		{"just outside", []uint16{100, 116, 100}, []Verdict{Stored, Stored, TooOld}},
		{"far jump ahead", []uint16{100, 30000}, []Verdict{Stored, Stored}},
		{"two in sequence far behind are a restart", []uint16{30000, 100, 101, 102}, []Verdict{Stored, TooOld, Stored, Stored}},
		{"strays are no restart", []uint16{30000, 100, 200, 30001, 201}, []Verdict{Stored, TooOld, TooOld, Stored, TooOld}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := New(16)
			for i, seq := range tt.put {
				if _, got := r.Put(packet(seq, 1)); got != tt.want[i] {
					t.Errorf("packet %d (%d): %d, want %d", i, seq, got, tt.want[i])
				}
			}
		})
	}
}

func TestPutTooLarge(t *testing.T) {
	t.Parallel()
	r := New(16)
	if _, v := r.Put(packet(1, make([]byte, MaxPayload+1)...)); v != TooLarge {
		t.Errorf("verdict %d", v)
	}
	slot, v := r.Put(packet(1, make([]byte, MaxPayload)...))
	if v != Stored {
		t.Fatalf("verdict %d", v)
	}
	var p Packet
	if !r.Get(slot, &p, make([]byte, MaxPayload)) || len(p.Payload) != MaxPayload {
		t.Errorf("got %d bytes", len(p.Payload))
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	r := New(1) // rounded up to 16
	buf := make([]byte, MaxPayload)
	var p Packet
	if r.Find(5, &p, buf) {
		t.Error("found a packet in an empty ring")
	}
	slot, _ := r.Put(packet(65535, 1, 2, 3))
	if !r.Get(slot, &p, buf) || !bytes.Equal(p.Payload, []byte{1, 2, 3}) || p.Seq != 65535 || !p.Marker {
		t.Errorf("got %+v", p)
	}
	for seq := range uint16(15) {
		r.Put(packet(seq, 9))
	}
	if !r.Get(slot, &p, buf) {
		t.Error("overwritten too early")
	}
	r.Put(packet(15, 9))
	if r.Get(slot, &p, buf) {
		t.Error("got what was overwritten")
	}
	if r.Find(16, &p, buf) {
		t.Error("found what never came")
	}
}

// TestRingModel compares the ring with a map over arbitrary arrivals near the newest packet.
func TestRingModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := New(64)
		newest := rapid.Uint16().Draw(t, "first")
		r.Put(packet(newest, 0))
		have := map[uint16]byte{newest: 0}
		for i := range rapid.IntRange(1, 300).Draw(t, "n") {
			seq := newest + uint16(rapid.IntRange(-63, 20).Draw(t, "step"))
			_, dup := have[seq]
			_, v := r.Put(packet(seq, byte(i)))
			if want := map[bool]Verdict{true: Duplicate, false: Stored}[dup]; v != want {
				t.Fatalf("%d: verdict %d, want %d", seq, v, want)
			}
			if !dup {
				have[seq] = byte(i)
			}
			if int16(seq-newest) > 0 {
				newest = seq
			}
			for old := range have {
				if newest-old >= 64 {
					delete(have, old)
				}
			}
		}
		var p Packet
		buf := make([]byte, MaxPayload)
		for seq, b := range have {
			if !r.Find(seq, &p, buf) || p.Payload[0] != b {
				t.Fatalf("%d is lost", seq)
			}
		}
	})
}

func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	r := New(64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var p Packet
			buf := make([]byte, MaxPayload)
			for i := range 20000 {
				if r.Find(uint16(i), &p, buf) && (len(p.Payload) != 2 || p.Payload[0] != byte(p.Seq)) {
					t.Error("torn packet")
					return
				}
			}
		})
	}
	for i := range 20000 {
		r.Put(packet(uint16(i), byte(i), 1))
	}
	wg.Wait()
}

func BenchmarkPut(b *testing.B) {
	r, p := New(1024), packet(0, make([]byte, 1150)...)
	b.ReportAllocs()
	b.SetBytes(1150)
	for b.Loop() {
		p.Seq++
		r.Put(p)
	}
}

func BenchmarkGet(b *testing.B) {
	r := New(1024)
	slot, _ := r.Put(packet(1, make([]byte, 1150)...))
	var p Packet
	buf := make([]byte, MaxPayload)
	b.ReportAllocs()
	b.SetBytes(1150)
	for b.Loop() {
		r.Get(slot, &p, buf)
	}
}
