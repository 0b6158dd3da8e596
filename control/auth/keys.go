package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// keys are what the server's secret becomes, one for each purpose.
type keys struct {
	cookies *Signer
	devices *Signer
	letters *Signer // tokens of links that verify an address
	sealed  cipher.AEAD
	codes   []byte // of the digests of backup codes
}

func newKeys(secret []byte) (k keys, err error) {
	for _, signer := range []struct {
		to      **Signer
		purpose string
	}{{&k.cookies, "session cookie"}, {&k.devices, "device token"}, {&k.letters, "address verification"}} {
		if *signer.to, err = NewSigner(secret, signer.purpose); err != nil {
			return keys{}, err
		}
	}
	raw, err := hkdf.Key(sha256.New, secret, nil, "securecam two factor secrets", 2*sha256.Size)
	if err != nil {
		return keys{}, fmt.Errorf("auth: derive the two factor keys: %w", err)
	}
	block, err := aes.NewCipher(raw[:sha256.Size])
	if err != nil {
		return keys{}, fmt.Errorf("auth: %w", err)
	}
	k.codes = raw[sha256.Size:]
	if k.sealed, err = cipher.NewGCM(block); err != nil {
		return keys{}, fmt.Errorf("auth: %w", err)
	}
	return k, nil
}

// seal hides a user's secret from whoever reads the database.
func (k keys) seal(userID, secret string) string {
	nonce := make([]byte, k.sealed.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process first
	return base64.RawURLEncoding.EncodeToString(k.sealed.Seal(nonce, nonce, []byte(secret), []byte(userID)))
}

var errSealed = errors.New("auth: the secret was sealed with another key, or for another user")

// unseal returns what seal hid for the user.
func (k keys) unseal(userID, sealed string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < k.sealed.NonceSize() {
		return "", errSealed
	}
	secret, err := k.sealed.Open(nil, raw[:k.sealed.NonceSize()], raw[k.sealed.NonceSize():], []byte(userID))
	if err != nil {
		return "", errSealed
	}
	return string(secret), nil
}

// codeDigest is how a user's backup code is kept.
func (k keys) codeDigest(userID, code string) string {
	h := hmac.New(sha256.New, k.codes)
	h.Write([]byte(userID + "\x00" + code))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
