package seal

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

func fromHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC7714 checks the vectors of RFC 7714, sections 16 and 17, whose keys are session keys.
func TestRFC7714(t *testing.T) {
	t.Parallel()
	const (
		key  = `000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f`
		salt = `517569642070726f2071756f`
		rtp  = `8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976
			69736120 696e2070 61727465 73207472 6573`
		rtcp = `81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
			deadbeef deadbeef deadbeef deadbeef deadbeef`
		index = 0x5d4
	)
	for name, tt := range map[string]struct {
		keySize   int
		rtp, rtcp string
	}{
		"16.1.1 and 17.1 AES-128": {
			16, `8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5
			0d294e6f 42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce`,
			`81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
			c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4`,
		},
		"16.2.1 and 17.3 AES-256": {
			32, `8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238
			9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13`,
			`81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
			a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session := sessionKeys{key: fromHex(t, key)[:tt.keySize], salt: fromHex(t, salt)}
			g, err := newGCM(session, session)
			if err != nil {
				t.Fatal(err)
			}
			s := &Sender{suite: g, tag: 16, rtcp: index}
			plain, want := fromHex(t, rtp), fromHex(t, tt.rtp)
			sealed := make([]byte, len(want))
			if n := s.RTP(sealed, plain[:12], plain[12:], 0xf17b); n != len(want) || !bytes.Equal(sealed, want) {
				t.Errorf("RTP: %d bytes %x, not %x", n, sealed, want)
			}
			plainRTCP, wantRTCP := fromHex(t, rtcp), fromHex(t, tt.rtcp)
			sealedRTCP := s.RTCP(nil, plainRTCP)
			if !bytes.Equal(sealedRTCP, wantRTCP) {
				t.Errorf("RTCP: %x, not %x", sealedRTCP, wantRTCP)
			}
			r := &Receiver{suite: g, tag: 16, word: 4}
			if got, ok := r.RTP(sealed); !ok || !bytes.Equal(got, plain) {
				t.Errorf("RTP opened: %v %x, not %x", ok, got, plain)
			}
			if got, ok := r.RTCP(sealedRTCP); !ok || !bytes.Equal(got, plainRTCP) {
				t.Errorf("RTCP opened: %v %x, not %x", ok, got, plainRTCP)
			}
		})
	}
}

// TestKeyDerivation checks the vectors of RFC 3711, appendix B.3, and RFC 6188, section 7.2.
func TestKeyDerivation(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ key, salt, session, auth, sessionSalt string }{
		"RFC 3711 B.3": {
			"e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6",
			"c61e7a93744f39ee10734afe3ff7a087",
			"cebe321f6ff7716b6fd4ab49af256a156d38baa4",
			"30cbbc08863d8c85d49db34a9ae1",
		},
		"RFC 6188 7.2": {
			"f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6", "3b04803de51ee7c96423ab5b78d2",
			"5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4",
			"fd9c32d39ed5fbb5a9dc96b30818454d1313dc05",
			"fa31791685ca444a9e07c6c64e93",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			block, err := aes.NewCipher(fromHex(t, tt.key))
			if err != nil {
				t.Fatal(err)
			}
			for label, want := range map[byte]string{labelKey: tt.session, labelAuth: tt.auth, labelSalt: tt.sessionSalt} {
				if got := generate(block, fromHex(t, tt.salt), label, len(want)/2); hex.EncodeToString(got) != want {
					t.Errorf("label %d: %x, not %s", label, got, want)
				}
			}
		})
	}
}

// TestKeyStream checks the vector of RFC 3711, appendix B.2: the key stream of SSRC 0 and index 0, up to its last blocks.
func TestKeyStream(t *testing.T) {
	t.Parallel()
	keys := sessionKeys{
		key: fromHex(t, "2b7e151628aed2a6abf7158809cf4f3c"), salt: fromHex(t, "f0f1f2f3f4f5f6f7f8f9fafbfcfd"),
	}
	c, err := newCM(keys, keys)
	if err != nil {
		t.Fatal(err)
	}
	stream := make([]byte, 0xff02*16)
	c.crypt(&c.rtp, stream, stream, 0, 0)
	for block, want := range map[int]string{
		0:      "e03ead0935c95e80e166b16dd92b4eb4",
		1:      "d23513162b02d0f72a43a2fe4a5f97ab",
		2:      "41e95b3bb0a2e8dd477901e4fca894c0",
		0xfeff: "ec8cdf7398607cb0f2d21675ea9ea1e4",
		0xff00: "362b7c3c6773516318a077d7fc5073ae",
		0xff01: "6a2cc3787889374fbeb4c81b17ba6c44",
	} {
		if got := hex.EncodeToString(stream[block*16:][:16]); got != want {
			t.Errorf("block %#x: %s, not %s", block, got, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	t.Parallel()
	for name, p := range profiles {
		k := testKeys(t, p)
		if _, err := NewSender(p, Keys{Key: k.Key[1:], Salt: k.Salt}); !errors.Is(err, ErrKeys) {
			t.Errorf("%s, sender with short key: %v", name, err)
		}
		if _, err := NewReceiver(p, Keys{Key: k.Key, Salt: append(k.Salt, 0)}); !errors.Is(err, ErrKeys) {
			t.Errorf("%s, receiver with long salt: %v", name, err)
		}
	}
	if _, err := NewSender(0, Keys{}); !errors.Is(err, ErrProfile) {
		t.Errorf("sender without profile: %v", err)
	}
	if _, err := NewReceiver(0, Keys{}); !errors.Is(err, ErrProfile) {
		t.Errorf("receiver without profile: %v", err)
	}
}
