package seal

import (
	"encoding/binary"
	"slices"
	"testing"
)

func plainHeader(ssrc uint32, index uint64) []byte {
	h := make([]byte, 12)
	h[0], h[1] = version2, 96
	binary.BigEndian.PutUint16(h[2:], uint16(index))
	binary.BigEndian.PutUint32(h[8:], ssrc)
	return h
}

// TestAllocatesNothing sees that no packet costs an allocation, be it good or garbage.
//
//nolint:paralleltest // allocations are counted for the whole process
func TestAllocatesNothing(t *testing.T) {
	for name, p := range profiles {
		s, r := pair(t, p)
		h, body, slot := plainHeader(1, 0), make([]byte, 1200), make([]byte, 2000)
		feedback := compound(1, 80)
		index := uint64(0)
		next := func() int {
			index++
			binary.BigEndian.PutUint16(h[2:], uint16(index))
			return s.RTPPadded(slot, h, body, int(index%2)*100, index)
		}
		r.RTP(slot[:next()])
		r.RTCP(s.RTCP(nil, feedback))
		for what, f := range map[string]func(){
			"RTP": func() {
				if _, ok := r.RTP(slot[:next()]); !ok {
					t.Error("refused")
				}
			},
			"RTP garbage": func() {
				n := next()
				slot[n-1] ^= 1
				if _, ok := r.RTP(slot[:n]); ok {
					t.Error("taken")
				}
			},
			"RTP garbage of a new stream": func() {
				n := next()
				slot[8]++
				if _, ok := r.RTP(slot[:n]); ok {
					t.Error("taken")
				}
			},
			"RTCP": func() {
				if _, ok := r.RTCP(s.RTCP(slot[:0], feedback)); !ok {
					t.Error("refused")
				}
			},
			"RTCP garbage": func() {
				b := s.RTCP(slot[:0], feedback)
				b[9] ^= 1
				if _, ok := r.RTCP(b); ok {
					t.Error("taken")
				}
			},
		} {
			if n := testing.AllocsPerRun(200, f); n != 0 {
				t.Errorf("%s, %s: %v allocations", name, what, n)
			}
		}
	}
}

var benchmarks = []struct {
	name string
	p    Profile
	size int
}{
	{"GCM128/120", GCM128, 120},
	{"GCM128/1200", GCM128, 1200},
	{"GCM256/120", GCM256, 120},
	{"GCM256/1200", GCM256, 1200},
	{"CM_SHA1_80/120", AES128CMSHA1, 120},
	{"CM_SHA1_80/1200", AES128CMSHA1, 1200},
}

func BenchmarkSenderRTP(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			s, _ := pair(b, bm.p)
			h, body, slot := plainHeader(1, 0), make([]byte, bm.size), make([]byte, 2000)
			index := uint64(0)
			for b.Loop() {
				index++
				binary.BigEndian.PutUint16(h[2:], uint16(index))
				s.RTP(slot, h, body, index)
			}
		})
	}
}

func BenchmarkSenderRTPPadded(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			s, _ := pair(b, bm.p)
			h, body, slot := plainHeader(1, 0), make([]byte, bm.size-20), make([]byte, 2000)
			index := uint64(0)
			for b.Loop() {
				index++
				binary.BigEndian.PutUint16(h[2:], uint16(index))
				s.RTPPadded(slot, h, body, 20, index)
			}
		})
	}
}

// BenchmarkFanOut protects one packet for 1,000 viewers in turn, as a shard does.
func BenchmarkFanOut(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			senders := make([]*Sender, 1000)
			for i := range senders {
				k := testKeys(b, bm.p)
				k.Key = slices.Clone(k.Key)
				binary.BigEndian.PutUint32(k.Key, uint32(i))
				var err error
				if senders[i], err = NewSender(bm.p, k); err != nil {
					b.Fatal(err)
				}
			}
			h, body, slot := plainHeader(1, 0), make([]byte, bm.size), make([]byte, 2000)
			n := 0
			for b.Loop() {
				index := uint64(n / len(senders))
				binary.BigEndian.PutUint16(h[2:], uint16(index))
				senders[n%len(senders)].RTP(slot, h, body, index)
				n++
			}
		})
	}
}

// BenchmarkReceiverRTP opens packets that were protected before, 512 of them again and again with a forgetful window.
func BenchmarkReceiverRTP(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			s, r := pair(b, bm.p)
			packets := make([][]byte, 512)
			for i := range packets {
				packets[i] = make([]byte, 12+bm.size+s.Overhead())
				s.RTP(packets[i], plainHeader(1, uint64(i)), make([]byte, bm.size), uint64(i))
			}
			slot := make([]byte, 2000)
			n := 0
			for b.Loop() {
				if n%len(packets) == 0 && n > 0 {
					r.rtp.all[0].window = window{}
				}
				packet := slot[:copy(slot, packets[n%len(packets)])]
				if _, ok := r.RTP(packet); !ok {
					b.Fatal("refused")
				}
				n++
			}
		})
	}
}

func BenchmarkReceiverRTCP(b *testing.B) {
	for name, p := range profiles {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s, r := pair(b, p)
			plain := compound(1, 80)
			packet := s.RTCP(nil, plain)
			slot := make([]byte, len(packet))
			for b.Loop() {
				copy(slot, packet)
				if len(r.rtcp.all) > 0 {
					r.rtcp.all[0].window = window{}
				}
				if _, ok := r.RTCP(slot); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkNew makes what one viewer needs.
func BenchmarkNew(b *testing.B) {
	for name, p := range profiles {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				pair(b, p)
			}
		})
	}
}

// BenchmarkChecksums is TestChecksums for as many packets as -benchtime asks for.
func BenchmarkChecksums(b *testing.B) {
	for name, p := range profiles {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			loop := newChecksumLoop(b, p)
			for b.Loop() {
				loop.step(b)
			}
		})
	}
}
