package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// ExporterLabel is the label under which DTLS exports what KeysFromDTLS takes, without a context: RFC 5764, section 4.2.
const ExporterLabel = "EXTRACTOR-dtls_srtp"

// ExportLen returns how many bytes DTLS has to export for KeysFromDTLS: two keys and two salts, or 0 if p is not
// implemented.
func (p Profile) ExportLen() int {
	size, err := p.sizes()
	if err != nil {
		return 0
	}
	return 2 * (size.key + size.salt)
}

// KeysFromDTLS splits exported keying material, p.ExportLen bytes of it, into the keys that the DTLS client sends with
// and those that the DTLS server sends with: RFC 5764, section 4.2. The keys share the memory of exported.
func KeysFromDTLS(exported []byte, p Profile) (client, server Keys, err error) {
	size, err := p.sizes()
	if err != nil {
		return Keys{}, Keys{}, err
	}
	if len(exported) != p.ExportLen() {
		return Keys{}, Keys{}, fmt.Errorf("%w: %d bytes exported, not %d", ErrKeys, len(exported), p.ExportLen())
	}
	cut := func(n int) []byte {
		b := exported[:n:n]
		exported = exported[n:]
		return b
	}
	client.Key, server.Key = cut(size.key), cut(size.key)
	client.Salt, server.Salt = cut(size.salt), cut(size.salt)
	return client, server, nil
}

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
