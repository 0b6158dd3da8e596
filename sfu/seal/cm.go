package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 3711's mandatory transform; HMAC does not need collision resistance
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
)

// cm is AES in counter mode with HMAC-SHA1, its tag cut to 80 bits: RFC 3711, sections 4.1.1 and 4.2.1.
type cm struct {
	rtp, rtcp cmHalf
	// Scratch: what is passed to a cipher.Block or a hash.Hash would otherwise be allocated for each packet.
	counter [aes.BlockSize]byte
	stream  [8 * aes.BlockSize]byte
	roc     [4]byte
	sum     [sha1.Size]byte
}

type cmHalf struct {
	block cipher.Block
	mac   hash.Hash
	salt  [14]byte
}

const cmTag = 10

func newCM(rtp, rtcp sessionKeys) (*cm, error) {
	c := &cm{}
	for _, half := range []struct {
		to   *cmHalf
		from sessionKeys
	}{{&c.rtp, rtp}, {&c.rtcp, rtcp}} {
		var err error
		if half.to.block, err = aes.NewCipher(half.from.key); err != nil {
			return nil, fmt.Errorf("seal: counter mode: %w", err)
		}
		half.to.mac = hmac.New(sha1.New, half.from.auth)
		// The first Reset after a Sum allocates what all later ones use.
		half.to.mac.Sum(c.sum[:0])
		half.to.mac.Reset()
		copy(half.to.salt[:], half.from.salt)
	}
	return c, nil
}

// crypt xors src with the key stream of (ssrc, index) into dst: RFC 3711, section 4.1.1. The 16-bit block counter is
// enough for 1 MiB, more than a datagram has.
func (c *cm) crypt(half *cmHalf, dst, src []byte, ssrc uint32, index uint64) {
	copy(c.counter[:4], half.salt[:4])
	binary.BigEndian.PutUint32(c.counter[4:], binary.BigEndian.Uint32(half.salt[4:])^ssrc)
	binary.BigEndian.PutUint16(c.counter[8:], binary.BigEndian.Uint16(half.salt[8:])^uint16(index>>32))
	binary.BigEndian.PutUint32(c.counter[10:], binary.BigEndian.Uint32(half.salt[10:])^uint32(index))
	for block := uint16(0); len(src) > 0; {
		n := min(len(src), len(c.stream))
		for i := 0; i < n; i += aes.BlockSize {
			binary.BigEndian.PutUint16(c.counter[14:], block)
			half.block.Encrypt(c.stream[i:], c.counter[:])
			block++
		}
		subtle.XORBytes(dst, src[:n], c.stream[:n])
		dst, src = dst[n:], src[n:]
	}
}

// tag returns the authentication tag over m and more; it is valid until the next call.
func (c *cm) tag(half *cmHalf, m, more []byte) []byte {
	half.mac.Reset()
	half.mac.Write(m)
	half.mac.Write(more)
	return half.mac.Sum(c.sum[:0])[:cmTag]
}

// rtpTag authenticates the packet and its roll-over counter: RFC 3711, section 4.2.
func (c *cm) rtpTag(m []byte, index uint64) []byte {
	binary.BigEndian.PutUint32(c.roc[:], uint32(index>>16))
	return c.tag(&c.rtp, m, c.roc[:])
}

func (c *cm) sealRTP(out []byte, n int, plain []byte, index uint64) {
	end := len(out) - cmTag
	c.crypt(&c.rtp, out[n:end], plain, binary.BigEndian.Uint32(out[8:]), index)
	copy(out[end:], c.rtpTag(out[:end], index))
}

func (c *cm) openRTP(packet []byte, n int, index uint64) bool {
	end := len(packet) - cmTag
	if subtle.ConstantTimeCompare(packet[end:], c.rtpTag(packet[:end], index)) != 1 {
		return false
	}
	c.crypt(&c.rtp, packet[n:end], packet[n:end], binary.BigEndian.Uint32(packet[8:]), index)
	return true
}

// sealRTCP: header, cipher text, E flag and index, tag over all of them: RFC 3711, section 3.4.
func (c *cm) sealRTCP(out, compound []byte, index uint32) {
	end := len(out) - cmTag
	copy(out, compound[:rtcpHeader])
	c.crypt(&c.rtcp, out[rtcpHeader:end-rtcpWord], compound[rtcpHeader:], binary.BigEndian.Uint32(out[4:]), uint64(index))
	binary.BigEndian.PutUint32(out[end-rtcpWord:], encrypted|index)
	copy(out[end:], c.tag(&c.rtcp, out[:end], nil))
}

func (c *cm) openRTCP(packet []byte, index uint32) bool {
	end := len(packet) - cmTag
	if subtle.ConstantTimeCompare(packet[end:], c.tag(&c.rtcp, packet[:end], nil)) != 1 {
		return false
	}
	body := packet[rtcpHeader : end-rtcpWord]
	c.crypt(&c.rtcp, body, body, binary.BigEndian.Uint32(packet[4:]), uint64(index))
	return true
}
