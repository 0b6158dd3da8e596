package seal

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

var profiles = map[string]Profile{"GCM128": GCM128, "GCM256": GCM256, "CM_SHA1_80": AES128CMSHA1}

// testKeys are keys for a profile, always the same.
func testKeys(tb testing.TB, p Profile) Keys {
	tb.Helper()
	size, err := p.sizes()
	if err != nil {
		tb.Fatal(err)
	}
	k := Keys{Key: make([]byte, size.key), Salt: make([]byte, size.salt)}
	for i := range k.Key {
		k.Key[i] = byte(7 * i)
	}
	for i := range k.Salt {
		k.Salt[i] = byte(11 * i)
	}
	return k
}

func pair(tb testing.TB, p Profile) (*Sender, *Receiver) {
	tb.Helper()
	s, err := NewSender(p, testKeys(tb, p))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := NewReceiver(p, testKeys(tb, p))
	if err != nil {
		tb.Fatal(err)
	}
	return s, r
}

func pionContext(tb testing.TB, p Profile) *srtp.Context {
	tb.Helper()
	k := testKeys(tb, p)
	c, err := srtp.CreateContext(k.Key, k.Salt, srtp.ProtectionProfile(p), srtp.SRTPReplayProtection(128), srtp.SRTCPReplayProtection(128))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// header returns an RTP header for an index, with CSRCs and an extension for some.
func header(tb testing.TB, ssrc uint32, index uint64) []byte {
	tb.Helper()
	h := rtp.Header{
		Version: 2, PayloadType: 96, Marker: index%9 == 0, SequenceNumber: uint16(index), Timestamp: uint32(index * 3000), SSRC: ssrc,
	}
	if index%5 == 1 {
		h.CSRC = []uint32{1, 2, 3}
	}
	if index%3 == 1 {
		h.Extension, h.ExtensionProfile = true, 0xbede
		if err := h.SetExtension(3, []byte{byte(index), 1, 2}); err != nil {
			tb.Fatal(err)
		}
	}
	b, err := h.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func payload(index uint64) []byte {
	r := rand.New(rand.NewPCG(1, index))
	b := make([]byte, r.IntN(1300))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestPionOpensRTP sends across two roll-overs to pion's SRTP, with padding on some packets.
func TestPionOpensRTP(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := pair(t, p)
			peer := pionContext(t, p)
			buf := make([]byte, 2000)
			step := uint64(97)
			for index := uint64(32000); index < 3<<16; index += step {
				h, body, pad := header(t, 0xcafe, index), payload(index), int(index%3)*100
				n := s.RTPPadded(buf, h, body, pad, index)
				if want := len(h) + len(body) + pad + s.Overhead(); n != want {
					t.Fatalf("index %#x: %d bytes, not %d", index, n, want)
				}
				plain, err := peer.DecryptRTP(nil, buf[:n], nil)
				if err != nil {
					t.Fatalf("index %#x: %v", index, err)
				}
				var got rtp.Packet
				if err := got.Unmarshal(plain); err != nil {
					t.Fatalf("index %#x: %v", index, err)
				}
				if int(got.PaddingSize) != pad || !bytes.Equal(got.Payload, body) || got.Padding != (pad > 0) {
					t.Fatalf("index %#x: padding %d, %d bytes of payload", index, got.PaddingSize, len(got.Payload))
				}
				plain[0] &^= paddingFlag
				if !bytes.Equal(plain[:len(h)], h) {
					t.Fatalf("index %#x: header %x, not %x", index, plain[:len(h)], h)
				}
			}
		})
	}
}

// TestOpensPionRTP is the way back, for two SSRCs with roll-overs of their own.
func TestOpensPionRTP(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, r := pair(t, p)
			peer := pionContext(t, p)
			for index := uint64(20000); index < 3<<16; index += 101 {
				for ssrc, i := range map[uint32]uint64{1: index, 0xffffffff: index + 10000} {
					want := append(header(t, ssrc, i), payload(i)...)
					sealed, err := peer.EncryptRTP(nil, want, nil)
					if err != nil {
						t.Fatal(err)
					}
					if got, ok := r.RTP(sealed); !ok || !bytes.Equal(got, want) {
						t.Fatalf("index %#x of %d: %v", i, ssrc, ok)
					}
				}
			}
		})
	}
}

func compound(ssrc uint32, size int) []byte {
	b := make([]byte, size)
	b[0], b[1] = 0x81, 206
	binary.BigEndian.PutUint16(b[2:], uint16(size/4-1))
	binary.BigEndian.PutUint32(b[4:], ssrc)
	for i := 8; i < size; i++ {
		b[i] = byte(i)
	}
	return b
}

func TestPionRTCP(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, r := pair(t, p)
			to, from := pionContext(t, p), pionContext(t, p)
			for i := range 300 {
				want := compound(uint32(i%3), 8+i%90*4)
				sealed := s.RTCP([]byte("before"), want)
				if len(sealed) != len("before")+len(want)+s.RTCPOverhead() || string(sealed[:6]) != "before" {
					t.Fatalf("%d bytes after sealing %d", len(sealed), len(want))
				}
				got, err := to.DecryptRTCP(nil, sealed[6:], nil)
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("packet %d to pion: %v", i, err)
				}
				if sealed, err = from.EncryptRTCP(nil, want, nil); err != nil {
					t.Fatal(err)
				}
				if got, ok := r.RTCP(sealed); !ok || !bytes.Equal(got, want) {
					t.Fatalf("packet %d from pion: %v", i, ok)
				}
			}
		})
	}
}
