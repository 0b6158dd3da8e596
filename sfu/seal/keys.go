package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// sessionKeys are what encrypts and authenticates RTP or RTCP of one direction.
type sessionKeys struct {
	key, auth, salt []byte
}

// Labels of the key derivation: RFC 3711, sections 4.3.1 and 4.3.2. RTP's and RTCP's are three apart.
const (
	labelKey = iota
	labelAuth
	labelSalt
	labelsRTCP
)

// derive makes the session keys from the master key: RFC 3711, section 4.3, with a key derivation rate of zero, the
// only one that DTLS-SRTP knows. The generator is AES in counter mode with the length of the master key (RFC 6188,
// section 3); a salt of 96 bits is filled up with zeros on the right, as RFC 7714, section 11, implies.
func derive(size sizes, k Keys) (rtp, rtcp sessionKeys, err error) {
	if len(k.Key) != size.key || len(k.Salt) != size.salt {
		return rtp, rtcp, fmt.Errorf("%w: key of %d bytes, salt of %d, not %d and %d",
			ErrKeys, len(k.Key), len(k.Salt), size.key, size.salt)
	}
	block, err := aes.NewCipher(k.Key)
	if err != nil {
		return rtp, rtcp, fmt.Errorf("seal: derive: %w", err)
	}
	set := func(base byte) sessionKeys {
		return sessionKeys{
			key:  generate(block, k.Salt, base+labelKey, size.key),
			auth: generate(block, k.Salt, base+labelAuth, size.auth),
			salt: generate(block, k.Salt, base+labelSalt, size.salt),
		}
	}
	return set(0), set(labelsRTCP), nil
}

// generate returns n bytes of key stream for a label: RFC 3711, sections 4.1.1 and 4.3.3. The key id is the label alone,
// 7 octets wide, xored onto the end of the 112-bit salt, so the label itself meets octet 7.
func generate(block cipher.Block, salt []byte, label byte, n int) []byte {
	var counter [aes.BlockSize]byte
	copy(counter[:14], salt)
	counter[7] ^= label
	out := make([]byte, (n+aes.BlockSize-1)/aes.BlockSize*aes.BlockSize)
	for i := 0; i < len(out); i += aes.BlockSize {
		binary.BigEndian.PutUint16(counter[14:], uint16(i/aes.BlockSize))
		block.Encrypt(out[i:], counter[:])
	}
	return out[:n]
}
