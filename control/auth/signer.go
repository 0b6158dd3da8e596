package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	minSecret      = 16   // bytes
	maxTokenLength = 4096 // bytes
)

// Signer makes and checks tokens of the form base64url(json).base64url(mac),
// where the MAC is HMAC-SHA256 over the first part. Each purpose has a key of
// its own, so that a token never passes for one of another kind. It is safe
// for concurrent use.
type Signer struct {
	key []byte
}

// NewSigner derives the key for purpose from the server's secret, by HKDF (RFC
// 5869). It fails for a secret shorter than 16 bytes.
func NewSigner(secret []byte, purpose string) (*Signer, error) {
	if len(secret) < minSecret {
		return nil, fmt.Errorf("auth: the secret has %d bytes, at least %d are needed", len(secret), minSecret)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "securecam "+purpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("auth: derive the %s key: %w", purpose, err)
	}
	return &Signer{key: key}, nil
}

// Sign returns a token that carries payload as JSON; anyone can read it.
func (s *Signer) Sign(payload any) (string, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("auth: sign: %w", err)
	}
	body := base64.RawURLEncoding.EncodeToString(raw)
	token := body + "." + base64.RawURLEncoding.EncodeToString(s.mac(body))
	if len(token) > maxTokenLength {
		return "", fmt.Errorf("auth: sign: the token has %d bytes, at most %d are allowed", len(token), maxTokenLength)
	}
	return token, nil
}

// Verify reads the payload of a token that Sign made with the same secret and
// purpose into payload. It returns ErrUnauthenticated for any other string;
// payload then is unchanged. Expiry is the payload's business.
func (s *Signer) Verify(token string, payload any) error {
	if len(token) > maxTokenLength {
		return ErrUnauthenticated
	}
	body, mac, ok := strings.Cut(token, ".")
	if !ok {
		return ErrUnauthenticated
	}
	sum, ok := decodeStrict(mac)
	if !ok || !hmac.Equal(sum, s.mac(body)) {
		return ErrUnauthenticated
	}
	raw, ok := decodeStrict(body)
	if !ok {
		return ErrUnauthenticated
	}
	if err := json.Unmarshal(raw, payload); err != nil {
		return ErrUnauthenticated.With(err)
	}
	return nil
}

func (s *Signer) mac(body string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(body))
	return h.Sum(nil)
}

// decodeStrict accepts only the one spelling that Sign uses: the decoder by
// itself ignores line ends, and stray bits in the last character.
func decodeStrict(s string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	return raw, true
}
