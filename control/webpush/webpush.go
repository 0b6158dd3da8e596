// Package webpush encrypts messages for browsers (RFC 8291) and signs the
// requests that carry them to the browsers' push services (RFC 8292).
package webpush

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

const (
	saltLength   = 16 // RFC 8188, section 2.1
	authLength   = 16 // RFC 8291, section 3.2
	publicLength = 65 // an uncompressed point of P-256
	keyLength    = 16
	nonceLength  = 12
	// recordSize is the largest that push services take (RFC 8291, section 4);
	// a message is a single record.
	recordSize = 4096
	lastRecord = 0x02 // RFC 8188, section 2: the delimiter of the last record
	// MaxMessage is the longest plaintext: a push service takes 4096 bytes with
	// header (86), delimiter (1) and tag (16).
	MaxMessage = recordSize - saltLength - 4 - 1 - publicLength - 1 - 16

	// tokenLife is below the 24 hours of RFC 8292, section 2, by enough for
	// clocks that differ.
	tokenLife = 12 * time.Hour
)

var (
	// ErrKeys reports the keys of a subscription that are not what a browser
	// makes.
	ErrKeys = errors.New("webpush: bad keys of a subscription")
	// ErrTooLong reports a message of more than MaxMessage bytes.
	ErrTooLong = errors.New("webpush: message too long")
)

// Keys are the public key and the secret of one subscription, as the browser
// makes them.
type Keys struct {
	public *ecdh.PublicKey
	auth   []byte
}

// ParseKeys reads the two keys, base64url with or without padding. It returns
// ErrKeys unless they are a point of P-256 and 16 bytes.
func ParseKeys(p256dh, auth string) (Keys, error) {
	point, err := decode(p256dh)
	if err != nil {
		return Keys{}, fmt.Errorf("%w: p256dh", ErrKeys)
	}
	public, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return Keys{}, fmt.Errorf("%w: p256dh: %w", ErrKeys, err)
	}
	secret, err := decode(auth)
	if err != nil || len(secret) != authLength {
		return Keys{}, fmt.Errorf("%w: auth", ErrKeys)
	}
	return Keys{public: public, auth: secret}, nil
}

func decode(s string) ([]byte, error) {
	return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
}

// Encrypt returns the body of a push request, Content-Encoding aes128gcm.
func Encrypt(to Keys, message []byte) ([]byte, error) {
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, saltLength)
	rand.Read(salt)
	return seal(to, message, sender, salt)
}

// seal is Encrypt with the sender's key and the salt given. The names are those
// of RFC 8291, section 3.4.
func seal(to Keys, message []byte, sender *ecdh.PrivateKey, salt []byte) ([]byte, error) {
	if len(message) > MaxMessage {
		return nil, ErrTooLong
	}
	shared, err := sender.ECDH(to.public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	public := sender.PublicKey().Bytes()
	info := "WebPush: info\x00" + string(to.public.Bytes()) + string(public)
	ikm, err := hkdf.Key(sha256.New, shared, to.auth, info, sha256.Size)
	if err != nil {
		return nil, err
	}
	key, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: aes128gcm\x00", keyLength)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, ikm, salt, "Content-Encoding: nonce\x00", nonceLength)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	// RFC 8188, section 2.1: salt, record size, length of the key id, key id.
	body := append([]byte{}, salt...)
	body = binary.BigEndian.AppendUint32(body, recordSize)
	body = append(body, byte(len(public)))
	body = append(body, public...)
	record := append(append([]byte{}, message...), lastRecord)
	return aead.Seal(body, nonce, record, nil), nil
}

// Server is the identity by which push services know this server (VAPID). It is
// safe for concurrent use.
type Server struct {
	key     *ecdsa.PrivateKey
	public  string
	subject string
}

// NewServer returns the identity with a private key of 32 bytes. Subject is
// whom a push service may turn to, an https or mailto URL.
func NewServer(private []byte, subject string) (*Server, error) {
	if !ValidSubject(subject) {
		return nil, fmt.Errorf("webpush: subject %q is neither https://host nor mailto:address", subject)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
	if err != nil {
		return nil, fmt.Errorf("webpush: private key: %w", err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("webpush: private key: %w", err)
	}
	return &Server{key: key, public: base64.RawURLEncoding.EncodeToString(point), subject: subject}, nil
}

// ValidSubject says whether push services take a subject (RFC 8292, section
// 2.1).
func ValidSubject(subject string) bool {
	u, err := url.Parse(subject)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "https":
		return u.Hostname() != "" && u.User == nil
	case "mailto":
		name, host, ok := strings.Cut(u.Opaque, "@")
		return ok && name != "" && host != ""
	default:
		return false
	}
}

// PublicKey returns what a browser needs as applicationServerKey, base64url.
func (s *Server) PublicKey() string { return s.public }

// Authorization returns the Authorization header of a request to an endpoint
// (RFC 8292, section 3).
func (s *Server) Authorization(endpoint string, now time.Time) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return "", errors.New("webpush: bad endpoint")
	}
	claims, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{u.Scheme + "://" + u.Host, now.Add(tokenLife).Unix(), s.subject})
	if err != nil {
		return "", err
	}
	const header = `{"typ":"JWT","alg":"ES256"}`
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	digest := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64) // RFC 7518, section 3.4: both numbers, each of 32 bytes
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return "vapid t=" + signed + "." + base64.RawURLEncoding.EncodeToString(signature) + ", k=" + s.public, nil
}
