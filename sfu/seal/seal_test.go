package seal

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// sealed returns the protected packet of an index, with a body of some bytes.
func sealed(t *testing.T, s *Sender, ssrc uint32, index uint64) []byte {
	t.Helper()
	h := header(t, ssrc, index)
	b := make([]byte, len(h)+40+s.Overhead())
	if s.RTP(b, h, make([]byte, 40), index) != len(b) {
		t.Fatalf("index %#x was not sealed", index)
	}
	return b
}

func TestReplayRTP(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := pair(t, p)
			const base = 1<<16 - 30
			// Across the roll-over in an order of its own, once each, whatever comes twice.
			order := []uint64{0, 2, 1, 40, 3, 29, 30, 31, 28, 60, 5, 59, 4, 58}
			for n, i := range order {
				for try := range 2 {
					if n == 0 && try == 0 { // the counter is learnt from a first half: RFC 3711, section 3.3.1
						if _, ok := r.RTP(sealed(t, s, 7, base-20000)); !ok {
							t.Fatal("first packet refused")
						}
					}
					if _, ok := r.RTP(sealed(t, s, 7, base+i)); ok != (try == 0) {
						t.Errorf("offset %d, try %d: %v", i, try, ok)
					}
				}
			}
			if _, ok := r.RTP(sealed(t, s, 7, base+60+windowSize)); !ok {
				t.Error("a gap was refused")
			}
			if _, ok := r.RTP(sealed(t, s, 7, base+61)); !ok {
				t.Error("the oldest packet of the window was refused")
			}
			if _, ok := r.RTP(sealed(t, s, 7, base+57)); ok {
				t.Error("a packet older than the window was taken")
			}
		})
	}
}

func TestReplayRTCP(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := pair(t, p)
			var packets [][]byte
			for range 5 {
				packets = append(packets, s.RTCP(nil, compound(1, 16)))
			}
			for _, i := range []int{4, 0, 2, 1, 3} {
				for try := range 2 {
					if _, ok := r.RTCP(slices.Clone(packets[i])); ok != (try == 0) {
						t.Errorf("packet %d, try %d: %v", i, try, ok)
					}
				}
			}
		})
	}
}

// TestWindow compares the window with a plain set, for any order of packets that come near one another.
func TestWindow(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := streams{}
		seen, newest, started := map[uint64]bool{}, uint64(0), false
		at := rapid.Uint64Range(0, 1<<15-1).Draw(t, "start")
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			at = uint64(max(0, int64(at)+int64(rapid.IntRange(-1200, 1500).Draw(t, "step"))))
			if !started && at >= 1<<15 {
				at = 1<<15 - 1
			}
			w, ok := s.window(9)
			if !ok {
				t.Fatal("no room")
			}
			index, ok := w.index(uint16(at))
			if !ok || index != at {
				t.Fatalf("index of %#x with %#x newest: %#x %v", at, newest, index, ok)
			}
			want := !started || at > newest || newest-at < windowSize && !seen[at]
			if got := w.fresh(index); got != want {
				t.Fatalf("fresh(%d) with %d newest: %v", at, newest, got)
			}
			if want {
				s.mark(9, index)
				seen[at], newest, started = true, max(newest, at), true
			}
		}
	})
}

func TestIndexLimits(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		newest uint64
		seq    uint16
		want   uint64
		ok     bool
	}{
		"nothing before zero":   {5, 65535, 65535, true},
		"after the last":        {1<<48 - 1, 0, 0, false},
		"half a turn ahead":     {5, 5 + 1<<15, 5 + 1<<15, true},
		"half a turn behind":    {1<<16 | 0x9000, 0x1000, 1<<16 | 0x1000, true},
		"last of the turn past": {2 << 16, 65535, 2<<16 - 1, true},
		"first of the next":     {2<<16 - 1, 0, 2 << 16, true},
	} {
		w := &window{newest: tt.newest}
		if got, ok := w.index(tt.seq); ok != tt.ok || got != tt.want {
			t.Errorf("%s: %#x %v", name, got, ok)
		}
	}
}

// TestTamper changes each byte, each length and the direction of a packet, and sees that neither the packet nor the
// state of the receiver survives it for the worse.
func TestTamper(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := pair(t, p)
			rtpPacket, rtcpPacket := sealed(t, s, 7, 16), s.RTCP(nil, compound(1, 32))
			for name, tt := range map[string]struct {
				packet []byte
				open   func([]byte) ([]byte, bool)
			}{"RTP": {rtpPacket, r.RTP}, "RTCP": {rtcpPacket, r.RTCP}} {
				for i := range tt.packet {
					for bit := range 8 {
						bad := slices.Clone(tt.packet)
						bad[i] ^= 1 << bit
						if _, ok := tt.open(bad); ok {
							t.Errorf("%s: bit %d of byte %d changed unseen", name, bit, i)
						}
					}
					if _, ok := tt.open(slices.Clone(tt.packet[:i])); ok {
						t.Errorf("%s: cut to %d bytes unseen", name, i)
					}
				}
				if _, ok := tt.open(append(slices.Clone(tt.packet), 0)); ok {
					t.Errorf("%s: grew unseen", name)
				}
				if len(r.rtp.all)+len(r.rtcp.all) > 1 {
					t.Errorf("%s: garbage left state behind", name)
				}
				if _, ok := tt.open(slices.Clone(tt.packet)); !ok {
					t.Errorf("%s: the true packet was refused after the false ones", name)
				}
				r.rtp, r.rtcp = streams{}, streams{}
			}
		})
	}
}

func TestTooManyStreams(t *testing.T) {
	t.Parallel()
	s, r := pair(t, GCM128)
	for ssrc := range uint32(maxStreams + 3) {
		want := ssrc < maxStreams
		if _, ok := r.RTP(append(sealed(t, s, ssrc, 99)[:15], make([]byte, 40)...)); ok || r.Crowded() == (ssrc <= maxStreams) {
			t.Errorf("crowded by what is not authentic: %v at SSRC %d", r.Crowded(), ssrc)
		}
		if _, ok := r.RTP(sealed(t, s, ssrc, 100)); ok != want {
			t.Errorf("SSRC %d: %v", ssrc, ok)
		}
		if _, ok := r.RTCP(s.RTCP(nil, compound(ssrc, 12))); ok != want {
			t.Errorf("RTCP of SSRC %d: %v", ssrc, ok)
		}
	}
	if _, ok := r.RTP(sealed(t, s, 3, 101)); !ok {
		t.Error("a known SSRC was refused")
	}
}

func TestSenderRefuses(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := pair(t, p)
			h, body := header(t, 1, 5), make([]byte, 10)
			long, dst := header(t, 1, 1), make([]byte, 500)
			flagged := slices.Clone(h)
			flagged[0] |= paddingFlag
			for name, n := range map[string]int{
				"no room":            s.RTP(dst[:len(h)+len(body)+s.Overhead()-1], h, body, 5),
				"no header":          s.RTP(dst, nil, body, 5),
				"cut header":         s.RTP(dst, long[:len(long)-1], body, 1),
				"payload in header":  s.RTP(dst, append(slices.Clone(h), 0), body, 5),
				"version 1":          s.RTP(dst, append([]byte{0x40}, h[1:]...), body, 5),
				"other number":       s.RTP(dst, h, body, 6),
				"index of 49 bits":   s.RTP(dst, h, body, 1<<48|5),
				"no room for pad":    s.RTPPadded(dst[:len(h)+len(body)+s.Overhead()+3], h, body, 4, 5),
				"too much padding":   s.RTPPadded(dst, h, body, 256, 5),
				"negative padding":   s.RTPPadded(dst, h, body, -1, 5),
				"padded already":     s.RTPPadded(dst, flagged, body, 4, 5),
				"padded, other seq":  s.RTPPadded(dst, h, body, 4, 6),
				"padded, cut header": s.RTPPadded(dst, long[:len(long)-1], body, 4, 1),
			} {
				if n != 0 {
					t.Errorf("%s: %d bytes", name, n)
				}
			}
			if got := s.RTCP(dst[:3], h[:7]); len(got) != 3 {
				t.Errorf("RTCP without header: %d bytes", len(got))
			}
			s.rtcp = encrypted - 1
			if got := s.RTCP(nil, compound(1, 12)); len(got) == 0 {
				t.Error("the last SRTCP index was not used")
			}
			if got := s.RTCP(nil, compound(1, 12)); got != nil {
				t.Error("an SRTCP index was used again")
			}
		})
	}
}

// TestUnencryptedRTCP refuses a packet whose tag is right but whose E flag is not set.
func TestUnencryptedRTCP(t *testing.T) {
	t.Parallel()
	_, r := pair(t, AES128CMSHA1)
	packet := append(compound(1, 16), 0, 0, 0, 3)
	c, ok := r.suite.(*cm)
	if !ok {
		t.Fatalf("suite is %T", r.suite)
	}
	packet = append(packet, c.tag(&c.rtcp, packet, nil)...)
	if _, ok := r.RTCP(packet); ok {
		t.Error("taken")
	}
}

// TestSameBytes protects a packet twice: what is sent again has to come out the same.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := pair(t, p)
			if !bytes.Equal(sealed(t, s, 7, 1<<32|16), sealed(t, s, 7, 1<<32|16)) {
				t.Error("differs")
			}
		})
	}
}
