package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// gcm is AES-GCM with a tag of 16 octets: RFC 7714.
type gcm struct {
	rtp, rtcp gcmHalf
	// Scratch: what is passed to a cipher.AEAD would otherwise be allocated for each packet.
	nonce, aad [12]byte
}

type gcmHalf struct {
	aead cipher.AEAD
	salt [12]byte
}

func newGCM(rtp, rtcp sessionKeys) (*gcm, error) {
	g := &gcm{}
	for _, half := range []struct {
		to   *gcmHalf
		from sessionKeys
	}{{&g.rtp, rtp}, {&g.rtcp, rtcp}} {
		block, err := aes.NewCipher(half.from.key)
		if err != nil {
			return nil, fmt.Errorf("seal: gcm: %w", err)
		}
		if half.to.aead, err = cipher.NewGCM(block); err != nil {
			return nil, fmt.Errorf("seal: gcm: %w", err)
		}
		copy(half.to.salt[:], half.from.salt)
	}
	return g, nil
}

// setNonce forms the initialization vector: RFC 7714, section 8.1, for RTP; section 9.1 is the same for RTCP's 31-bit
// index, as the bits above it are zero.
func (g *gcm) setNonce(salt *[12]byte, ssrc uint32, index uint64) {
	copy(g.nonce[:2], salt[:2])
	binary.BigEndian.PutUint32(g.nonce[2:], binary.BigEndian.Uint32(salt[2:])^ssrc)
	binary.BigEndian.PutUint16(g.nonce[6:], binary.BigEndian.Uint16(salt[6:])^uint16(index>>32))
	binary.BigEndian.PutUint32(g.nonce[8:], binary.BigEndian.Uint32(salt[8:])^uint32(index))
}

// setAAD puts together what SRTCP authenticates but leaves readable: RFC 7714, section 9.2.
func (g *gcm) setAAD(packet []byte, index uint32) {
	copy(g.aad[:rtcpHeader], packet)
	binary.BigEndian.PutUint32(g.aad[rtcpHeader:], encrypted|index)
}

func (g *gcm) sealRTP(out []byte, n int, plain []byte, index uint64) {
	g.setNonce(&g.rtp.salt, binary.BigEndian.Uint32(out[8:]), index)
	g.rtp.aead.Seal(out[n:n], g.nonce[:], plain, out[:n])
}

func (g *gcm) openRTP(packet []byte, n int, index uint64) bool {
	g.setNonce(&g.rtp.salt, binary.BigEndian.Uint32(packet[8:]), index)
	_, err := g.rtp.aead.Open(packet[n:n], g.nonce[:], packet[n:], packet[:n])
	return err == nil
}

// sealRTCP: header, cipher text, tag, E flag and index: RFC 7714, section 9.2.
func (g *gcm) sealRTCP(out, compound []byte, index uint32) {
	copy(out, compound[:rtcpHeader])
	g.setNonce(&g.rtcp.salt, binary.BigEndian.Uint32(out[4:]), uint64(index))
	g.setAAD(out, index)
	g.rtcp.aead.Seal(out[rtcpHeader:rtcpHeader], g.nonce[:], compound[rtcpHeader:], g.aad[:])
	copy(out[len(out)-rtcpWord:], g.aad[rtcpHeader:])
}

func (g *gcm) openRTCP(packet []byte, index uint32) bool {
	g.setNonce(&g.rtcp.salt, binary.BigEndian.Uint32(packet[4:]), uint64(index))
	g.setAAD(packet, index)
	body := packet[rtcpHeader : len(packet)-rtcpWord]
	_, err := g.rtcp.aead.Open(body[:0], g.nonce[:], body, g.aad[:])
	return err == nil
}
