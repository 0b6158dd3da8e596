// Package webpushtest is the other end of Web Push for tests: a push service
// that takes messages, and the browser that can read them.
package webpushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Message is what the push service took, as the browser reads it.
type Message struct {
	Header    http.Header
	Plaintext []byte
	Claims    Claims
}

// Claims are those of the sender's token (RFC 8292, section 2).
type Claims struct {
	Audience string `json:"aud"`
	Expires  int64  `json:"exp"`
	Subject  string `json:"sub"`
}

// Browser is one subscription at a push service of its own.
type Browser struct {
	Endpoint string
	P256dh   string
	Auth     string

	t         *testing.T
	private   *ecdh.PrivateKey
	secret    []byte
	serverKey string

	mu       sync.Mutex // guards the fields below
	status   int
	header   http.Header
	received []Message
	requests int
	arrived  chan struct{} // closed and replaced at every request
}

// New subscribes a browser, with the server's public key, at a push service on
// loopback that ends with the test.
func New(t *testing.T, serverKey string) *Browser {
	t.Helper()
	private, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{
		t: t, private: private, secret: make([]byte, 16), serverKey: serverKey, status: http.StatusCreated,
		arrived: make(chan struct{}),
	}
	rand.Read(b.secret)
	b.P256dh = base64.RawURLEncoding.EncodeToString(private.PublicKey().Bytes())
	b.Auth = base64.RawURLEncoding.EncodeToString(b.secret)
	service := httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(service.Close)
	b.Endpoint = service.URL + "/push/some-browser"
	return b
}

// Answer makes the push service answer with a status from now on.
func (b *Browser) Answer(status int, header http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status, b.header = status, header
}

// Requests returns how many requests came.
func (b *Browser) Requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.requests
}

// Await returns the messages once there are n of them.
func (b *Browser) Await(n int) []Message {
	b.t.Helper()
	return await(b, func() ([]Message, bool) { return append([]Message{}, b.received...), len(b.received) >= n })
}

func await[T any](b *Browser, look func() (T, bool)) T {
	b.t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	for {
		b.mu.Lock()
		value, ok := look()
		arrived := b.arrived
		b.mu.Unlock()
		if ok {
			return value
		}
		select {
		case <-arrived:
		case <-limit.C:
			b.t.Fatalf("the push service still waits; it has %v", value)
		}
	}
}

func (b *Browser) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	defer func() {
		close(b.arrived)
		b.arrived = make(chan struct{})
	}()
	b.requests++
	for name, values := range b.header {
		w.Header()[name] = values
	}
	if b.status >= 300 {
		w.WriteHeader(b.status)
		return
	}
	m := Message{Header: r.Header.Clone()}
	if err == nil {
		m.Claims, err = b.authorized(r)
	}
	if err == nil {
		m.Plaintext, err = b.Decrypt(body)
	}
	if err != nil {
		b.t.Errorf("push request: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b.received = append(b.received, m)
	w.WriteHeader(b.status)
}

// authorized verifies the token, as RFC 8292 has push services do, with the key
// that the browser subscribed with.
func (b *Browser) authorized(r *http.Request) (Claims, error) {
	var c Claims
	token, key, ok := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "vapid t="), ", k=")
	if !ok || key != b.serverKey {
		return c, fmt.Errorf("authorization is %q", r.Header.Get("Authorization"))
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		return c, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return c, err
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errors.New("no token of three parts")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return c, fmt.Errorf("bad signature %q", parts[2])
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return c, errors.New("the signature does not fit")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return c, err
	}
	life := time.Until(time.Unix(c.Expires, 0))
	if c.Audience != "http://"+r.Host || life <= 0 || life > 24*time.Hour || c.Subject == "" {
		return c, fmt.Errorf("claims %+v", c)
	}
	return c, nil
}

// Decrypt reads a body as a browser does: RFC 8188 with the keys of RFC 8291,
// written from the RFCs' own steps.
func (b *Browser) Decrypt(body []byte) ([]byte, error) {
	if len(body) < 86 || len(body) > 4096 || body[20] != 65 {
		return nil, fmt.Errorf("a body of %d bytes is no message", len(body))
	}
	salt, size, public, record := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:86], body[86:]
	sender, err := ecdh.P256().NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	secret, err := b.private.ECDH(sender)
	if err != nil {
		return nil, err
	}
	hash := func(key []byte, parts ...[]byte) []byte {
		h := hmac.New(sha256.New, key)
		for _, p := range parts {
			h.Write(p)
		}
		return h.Sum(nil)
	}
	info := append([]byte("WebPush: info\x00"), b.private.PublicKey().Bytes()...)
	ikm := hash(hash(b.secret, secret), append(info, public...), []byte{1})
	prk := hash(salt, ikm)
	key := hash(prk, []byte("Content-Encoding: aes128gcm\x00\x01"))[:16]
	nonce := hash(prk, []byte("Content-Encoding: nonce\x00\x01"))[:12]
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	if uint32(len(record)) > size {
		return nil, errors.New("the record is longer than it says")
	}
	plain, err := aead.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, err
	}
	padded := strings.TrimRight(string(plain), "\x00")
	text, ok := strings.CutSuffix(padded, "\x02")
	if !ok {
		return nil, errors.New("the last record has no delimiter")
	}
	return []byte(text), nil
}
