package seal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/rtp"
)

// FuzzReceiver gives receivers what nobody sealed, and then what was sealed and spoilt.
func FuzzReceiver(f *testing.F) {
	f.Add([]byte{}, uint16(0), byte(0))
	f.Add(plainHeader(1, 5), uint16(3), byte(1))
	f.Add(append(plainHeader(1, 5), make([]byte, 16)...), uint16(13), byte(0x80))
	f.Add([]byte{0x9f, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0xff, 0xff}, uint16(0), byte(1))
	f.Add(compound(1, 40), uint16(9), byte(4))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, change byte) {
		for _, p := range profiles {
			s, r := pair(t, p)
			if _, ok := r.RTP(slices.Clone(data)); ok {
				t.Fatal("RTP that nobody sealed was taken")
			}
			if _, ok := r.RTCP(slices.Clone(data)); ok {
				t.Fatal("RTCP that nobody sealed was taken")
			}
			if len(r.rtp.all)+len(r.rtcp.all) > 0 {
				t.Fatal("state left behind")
			}
			spoil := func(sealed []byte, open func([]byte) ([]byte, bool)) {
				if len(sealed) == 0 {
					return
				}
				good := slices.Clone(sealed)
				sealed[int(at)%len(sealed)] ^= change
				if plain, ok := open(sealed); ok && change != 0 {
					t.Fatalf("spoilt packet taken: %x", plain)
				}
				if plain, ok := open(good); ok != (change != 0) || ok && !bytes.HasPrefix(data, plain) {
					t.Fatalf("true packet: %v %x", ok, plain)
				}
			}
			spoil(s.RTCP(nil, data), r.RTCP)
			if n, ok := headerSize(data); ok {
				b := make([]byte, len(data)+s.Overhead())
				spoil(b[:s.RTP(b, data[:n], data[n:], uint64(binary.BigEndian.Uint16(data[2:])))], r.RTP)
			}
		}
	})
}

// FuzzSender compares with pion: what is sealed opens there as it was, headers of all shapes, any roll-over counter.
func FuzzSender(f *testing.F) {
	f.Add(plainHeader(1, 5), []byte("payload"), uint32(0), byte(0))
	f.Add([]byte{0x91, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 7, 0, 0}, []byte{}, uint32(9), byte(255))
	f.Fuzz(func(t *testing.T, head, body []byte, roc uint32, pad byte) {
		if len(head) < rtpHeader || len(head)+len(body) > 3000 {
			return
		}
		index := uint64(roc)<<16 | uint64(binary.BigEndian.Uint16(head[2:]))
		for _, p := range profiles {
			s, _ := pair(t, p)
			dst := make([]byte, len(head)+len(body)+int(pad)+s.Overhead())
			n := s.RTPPadded(dst, head, body, int(pad), index)
			var h rtp.Header
			if size, err := h.Unmarshal(head); n == 0 || err != nil || size != len(head) {
				if n != 0 && err == nil {
					t.Fatalf("header %x: %d bytes by pion", head, size)
				}
				return
			}
			if h.ExtensionProfile == 0xc0de || h.ExtensionProfile == 0xc2de {
				return // RFC 9335, which pion refuses unless it was negotiated
			}
			peer := pionContext(t, p)
			peer.SetROC(binary.BigEndian.Uint32(head[8:]), roc)
			got, err := peer.DecryptRTP(nil, dst[:n], nil)
			if err != nil {
				t.Fatalf("header %x, ROC %d: %v", head, roc, err)
			}
			want := append(slices.Clone(head), body...)
			if pad > 0 {
				want[0] |= paddingFlag
				want = append(append(want, make([]byte, pad-1)...), pad)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%x, not %x", got, want)
			}
		}
	})
}
