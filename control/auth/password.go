package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"

	"github.com/securecam/securecam/control/fault"
)

// Argon2id as OWASP's password storage cheat sheet sets the minimum: 19 MiB,
// two passes, one lane. Every hash is memory that a stranger can make us use,
// so two are computed at once and a bounded number waits.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	saltLength   = 16
	keyLength    = 32

	hashSlots  = 2
	maxWaiting = 64

	// What a stored hash may ask of us at most.
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonTime   = 16
)

var (
	errBusy    = fault.New(fault.TooMany, "busy", "Too many people are signing in. Try again in a moment.")
	errBadHash = errors.New("auth: malformed password hash")
)

// hasher makes and checks password hashes in PHC string format.
type hasher struct {
	slots   chan struct{}
	waiting atomic.Int32
	decoy   string // matches no password; costs what a real one costs
	memory  uint32 // KiB
}

func newHasher() *hasher {
	return newHasherOf(argonMemory)
}

func newHasherOf(memory uint32) *hasher {
	var noise [saltLength + keyLength]byte
	_, _ = rand.Read(noise[:]) // never fails: crypto/rand ends the process first
	h := &hasher{slots: make(chan struct{}, hashSlots), memory: memory}
	h.decoy = h.encode(noise[:saltLength], noise[saltLength:])
	return h
}

// enter waits for a slot, which the caller must leave. It returns errBusy when
// too many wait already, and the context's error when it ends first.
func (h *hasher) enter(ctx context.Context) error {
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return errBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *hasher) leave() { <-h.slots }

// hash returns a new hash of password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	if err := h.enter(ctx); err != nil {
		return "", err
	}
	defer h.leave()
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the process first
	return h.encode(salt, argon2.IDKey([]byte(password), salt, argonTime, h.memory, argonThreads, keyLength)), nil
}

// matches says whether encoded is a hash of password. An empty encoded costs
// the same time and matches nothing, for users that do not exist.
func (h *hasher) matches(ctx context.Context, password, encoded string) (bool, error) {
	known := encoded != ""
	if !known {
		encoded = h.decoy
	}
	p, err := parseHash(encoded)
	if err != nil {
		return false, err
	}
	if err := h.enter(ctx); err != nil {
		return false, err
	}
	defer h.leave()
	key := argon2.IDKey([]byte(password), p.salt, p.time, p.memory, p.threads, uint32(len(p.key)))
	return subtle.ConstantTimeCompare(key, p.key) == 1 && known, nil
}

func (h *hasher) encode(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

type parsedHash struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// parseHash reads a PHC string. Hashes may come from elsewhere by import, so
// what they ask for is bounded.
func parseHash(encoded string) (parsedHash, error) {
	var (
		p       parsedHash
		version int
	)
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return p, errBadHash
	}
	// %c finds nothing when nothing follows, which is what is wanted.
	var rest rune
	if n, _ := fmt.Sscanf(parts[2], "v=%d%c", &version, &rest); n != 1 || version != argon2.Version {
		return p, errBadHash
	}
	if n, _ := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d%c", &p.memory, &p.time, &p.threads, &rest); n != 3 {
		return p, errBadHash
	}
	var errSalt, errKey error
	p.salt, errSalt = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, errKey = base64.RawStdEncoding.DecodeString(parts[5])
	switch {
	case errSalt != nil, errKey != nil, len(p.salt) < 8, len(p.salt) > 64, len(p.key) < 16, len(p.key) > 64,
		p.memory < 8, p.memory > maxArgonMemory, p.time < 1, p.time > maxArgonTime, p.threads < 1:
		return p, errBadHash
	}
	return p, nil
}
