package auth

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/securecam/securecam/store"
)

// What verifications are for, as the beginning of their identifiers.
const (
	forReset     = "reset-password"
	forChange    = "change-email"
	forDeletion  = "delete-account"
	forChallenge = "two-factor"
	forTrust     = "trust-device"
	forPasskey   = "passkey"
)

// expect remembers value until somebody shows the token that it returns, for at
// most ttl. The database gets to know only the token's digest.
func (s *Service) expect(ctx context.Context, purpose, userID string, value any, ttl time.Duration) (token string, err error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	token = newToken()
	now := s.now()
	return token, s.store.CreateVerification(ctx, store.Verification{
		Identifier: identifier(purpose, token), UserID: userID, Value: string(raw), CreatedAt: now, ExpiresAt: now.Add(ttl),
	})
}

// take returns what expect remembered under the token, once.
func (s *Service) take(ctx context.Context, purpose, token string, value any) (store.Verification, error) {
	v, err := s.store.TakeVerification(ctx, identifier(purpose, token), s.now())
	if err != nil {
		return store.Verification{}, err
	}
	return v, json.Unmarshal([]byte(v.Value), value)
}

func identifier(purpose, token string) string {
	return purpose + ":" + hex.EncodeToString(digest(token))
}

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }
