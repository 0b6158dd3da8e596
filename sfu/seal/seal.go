// Package seal protects and opens SRTP and SRTCP packets (RFC 3711, RFC 7714) as DTLS-SRTP negotiates them (RFC 5764):
// from shared plaintext straight into the buffer that is sent, and in place where it was received. Nothing is allocated
// for a packet, except for the first one of a stream that a Receiver does not know yet.
package seal

import (
	"errors"
	"fmt"
)

// Profile is an SRTP protection profile by its number in the use_srtp extension of DTLS: RFC 5764, section 4.1.2, and
// RFC 7714, section 14.2. SRTCP is encrypted with each of them.
type Profile uint16

// The profiles that are implemented. All others are ErrProfile.
const (
	AES128CMSHA1 Profile = 0x0001 // SRTP_AES128_CM_HMAC_SHA1_80
	GCM128       Profile = 0x0007 // SRTP_AEAD_AES_128_GCM
	GCM256       Profile = 0x0008 // SRTP_AEAD_AES_256_GCM
)

// ErrProfile says that a profile is not implemented.
var ErrProfile = errors.New("seal: unknown protection profile")

// ErrKeys says that keying material does not have the length that its profile asks for.
var ErrKeys = errors.New("seal: keying material of wrong length")

// Keys are the master key and master salt of one direction. They are not kept: the caller may wipe them after use.
type Keys struct {
	Key, Salt []byte
}

// sizes are the lengths in bytes that a profile implies.
type sizes struct {
	key, salt int
	auth      int // session authentication key; 0 for AEAD
	tag       int
}

func (p Profile) sizes() (sizes, error) {
	switch p {
	case AES128CMSHA1:
		return sizes{key: 16, salt: 14, auth: 20, tag: 10}, nil
	case GCM128:
		return sizes{key: 16, salt: 12, tag: 16}, nil
	case GCM256:
		return sizes{key: 32, salt: 12, tag: 16}, nil
	default:
		return sizes{}, fmt.Errorf("%w: 0x%04x", ErrProfile, uint16(p))
	}
}

const (
	// rtcpHeader is what SRTCP leaves readable: RFC 3711, section 3.4.
	rtcpHeader = 8
	// rtcpWord is the length of the E flag and the SRTCP index.
	rtcpWord = 4
	// encrypted is the E flag.
	encrypted = 1 << 31
)

// suite is the cryptographic transform of a profile, for one direction, RTP and RTCP. It serves one goroutine.
// Indexes are those of RFC 3711: 48 bits for RTP, 31 bits for RTCP.
type suite interface {
	// sealRTP encrypts plain behind the header out[:n] and appends the tag; out is as long as the result. plain is
	// out[n:len(out)-tag] or does not overlap out.
	sealRTP(out []byte, n int, plain []byte, index uint64)
	// openRTP checks packet and decrypts what follows its header packet[:n] in place.
	openRTP(packet []byte, n int, index uint64) bool
	// sealRTCP protects compound into out, which is as long as the result.
	sealRTCP(out, compound []byte, index uint32)
	// openRTCP checks packet, whose E flag is set, and decrypts it in place.
	openRTCP(packet []byte, index uint32) bool
}

func newSuite(p Profile, k Keys) (suite, sizes, error) {
	size, err := p.sizes()
	if err != nil {
		return nil, size, err
	}
	rtp, rtcp, err := derive(size, k)
	if err != nil {
		return nil, size, err
	}
	var s suite
	if p == AES128CMSHA1 {
		s, err = newCM(rtp, rtcp)
	} else {
		s, err = newGCM(rtp, rtcp)
	}
	return s, size, err
}
