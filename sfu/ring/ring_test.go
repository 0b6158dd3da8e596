package ring

import (
	"bytes"
	"sync"
	"testing"
	"time"

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
			r := New(Size{Packets: 16})
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
	r := New(Size{Packets: 16})
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
	r := New(Size{Packets: 1}) // rounded up to 16
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
		r := New(Size{Packets: 64})
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

// TestBytesBounded holds that memory follows the bitrate: what is kept is as old as asked for, within the bound.
func TestBytesBounded(t *testing.T) {
	t.Parallel()
	const frame = 10 * time.Millisecond
	tests := []struct {
		name             string
		payload          int
		bytes            int
		minKept, maxKept time.Duration
		maxChunks        int
	}{
		{"slow", 100, 1 << 20, time.Second, 4 * time.Second, 2},
		{"as long as asked for", 1000, 1 << 20, time.Second, 3 * time.Second / 2, 8},
		{"bounded", 1400, 64 << 10, 400 * time.Millisecond, 600 * time.Millisecond, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := New(Size{Packets: 1024, Bytes: tt.bytes, Keep: time.Second})
			p := packet(0, make([]byte, tt.payload)...)
			for range 3000 {
				p.Seq++
				p.Arrival += int64(frame)
				r.Put(p)
			}
			kept := time.Duration(0)
			var got Packet
			for seq := p.Seq; r.Find(seq, &got, make([]byte, MaxPayload)); seq-- {
				kept = time.Duration(p.Arrival - got.Arrival)
			}
			if kept < tt.minKept || kept > tt.maxKept || r.chunks > tt.maxChunks {
				t.Errorf("kept %s in %d chunks, want %s to %s in at most %d", kept, r.chunks, tt.minKept, tt.maxKept, tt.maxChunks)
			}
		})
	}
}

// TestRingBytesModel holds, for packets of any size and in any order, that whatever the ring finds is what came, that
// the newest packets are there as far as the bytes go, and that Span says what lies between.
func TestRingBytesModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const bound = 3 * chunkSize
		r := New(Size{Packets: 256, Bytes: bound})
		seq := rapid.Uint16().Draw(t, "first")
		came := map[uint16][]byte{}
		var order []uint16
		newest := seq
		for i := range rapid.IntRange(1, 300).Draw(t, "n") {
			next := newest + uint16(rapid.IntRange(-20, 4).Draw(t, "step"))
			body := bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, MaxPayload).Draw(t, "size"))
			if _, v := r.Put(&Packet{Seq: next, Timestamp: uint32(i), Arrival: int64(i + 1), Payload: body}); v != Stored {
				continue
			}
			came[next] = body
			order = append(order, next)
			if int16(next-newest) > 0 || len(order) == 1 {
				newest = next
			}
		}
		var p Packet
		buf := make([]byte, MaxPayload)
		sum := 0
		for i := len(order) - 1; i >= 0; i-- {
			found := r.Find(order[i], &p, buf)
			if found && !bytes.Equal(p.Payload, came[order[i]]) {
				t.Fatalf("%d is another packet", order[i])
			}
			if sum += len(came[order[i]]); !found && sum <= bound-chunkSize && newest-order[i] < 256 {
				t.Fatalf("%d is lost after %d bytes", order[i], sum)
			}
		}
		first := order[rapid.IntRange(0, len(order)-1).Draw(t, "from")]
		span, ok := r.Span(first)
		if ok != r.Find(first, &p, buf) {
			t.Fatalf("span of %d: %t", first, ok)
		}
		if !ok {
			return
		}
		holes := false
		for s := first; s != newest; s++ {
			holes = holes || !r.Find(s, &p, buf)
		}
		if span.Newest != newest || span.Packets != int(newest-first)+1 || (span.Hole != 0) != holes {
			t.Fatalf("%+v from %d to %d, holes %t", span, first, newest, holes)
		}
	})
}

func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	r := New(Size{Packets: 64})
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
	r, p := New(Size{Packets: 1024}), packet(0, make([]byte, 1150)...)
	b.ReportAllocs()
	b.SetBytes(1150)
	for b.Loop() {
		p.Seq++
		r.Put(p)
	}
}

func BenchmarkGet(b *testing.B) {
	r := New(Size{Packets: 1024})
	slot, _ := r.Put(packet(1, make([]byte, 1150)...))
	var p Packet
	buf := make([]byte, MaxPayload)
	b.ReportAllocs()
	b.SetBytes(1150)
	for b.Loop() {
		r.Get(slot, &p, buf)
	}
}

// TestRingAllocatesNothing holds that a full ring needs no more memory, whatever comes and whoever asks.
func TestRingAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	for _, size := range []Size{{Packets: 1024, Bytes: 1 << 20, Keep: 3500 * time.Millisecond}, {Packets: 64}} {
		r := New(size)
		p, out, buf := packet(0, make([]byte, 1200)...), Packet{}, make([]byte, MaxPayload)
		put := func() {
			p.Seq += 1 + p.Seq%17/16 // some are missing
			p.Arrival += int64(4 * time.Millisecond)
			slot, verdict := r.Put(p)
			if verdict != Stored || !r.Get(slot, &out, buf) {
				t.Fatal(verdict)
			}
			r.Put(p) // twice
			r.Find(p.Seq-10, &out, buf)
			r.Span(p.Seq - 20)
		}
		for range 2000 {
			put()
		}
		if n := testing.AllocsPerRun(2000, put); n != 0 {
			t.Errorf("%+v: %v allocations a packet", size, n)
		}
	}
}
