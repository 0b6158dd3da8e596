package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/store"
)

// The faults of passkeys, with Better Auth's codes and messages where it has
// such.
var (
	errChallengeNotFound = fault.New(fault.Invalid, "CHALLENGE_NOT_FOUND", "Challenge not found")
	errNotVerified       = fault.New(fault.Invalid, "FAILED_TO_VERIFY_REGISTRATION", "Failed to verify registration")
	errKnownPasskey      = fault.New(fault.Conflict, "PREVIOUSLY_REGISTERED", "Previously registered")
	errTooManyPasskeys   = fault.New(fault.Conflict, "TOO_MANY_PASSKEYS", "Delete a passkey before you add another one")
	errPasskeyNotFound   = fault.New(fault.Unauthenticated, "PASSKEY_NOT_FOUND", "Passkey not found")
	errNoSuchPasskey     = fault.New(fault.NotFound, "PASSKEY_NOT_FOUND", "Passkey not found")
	errPasskeyRefused    = fault.New(fault.Unauthenticated, "AUTHENTICATION_FAILED", "Authentication failed")
	errNoHostName        = fault.New(fault.Unprocessable, "HOST_NAME_NEEDED",
		"Passkeys belong to a host name: open this page by its name, not by an address")
)

const (
	ceremonyTTL = 5 * time.Minute
	maxPasskeys = 50 // of one user
)

// ceremony is what the server remembers of a passkey's use that has begun.
type ceremony struct {
	Type    string               `json:"type"`
	Session webauthn.SessionData `json:"session"`
}

const (
	ceremonyRegister     = "registration"
	ceremonyAuthenticate = "authentication"
)

// party returns the relying party as the request behind ctx sees it: a passkey
// belongs to the host name under which it was made.
func (s *Service) party(ctx context.Context) (*webauthn.WebAuthn, error) {
	own := s.ownOrigin(ctx)
	u, err := url.Parse(own)
	if err != nil || u.Hostname() == "" {
		return nil, errNoHostName
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return nil, errNoHostName
	}
	origins := []string{own}
	for origin := range s.trusted {
		origins = append(origins, origin)
	}
	w, err := webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: issuer, RPOrigins: origins, AttestationPreference: protocol.PreferNoAttestation,
	})
	if err != nil {
		return nil, fmt.Errorf("auth: relying party %s: %w", own, err)
	}
	return w, nil
}

// holder is a user with passkeys in the words of the library.
type holder struct {
	user        store.User
	name        string
	credentials []webauthn.Credential
}

func (h holder) WebAuthnID() []byte                         { return []byte(h.user.ID) }
func (h holder) WebAuthnName() string                       { return h.name }
func (h holder) WebAuthnDisplayName() string                { return h.user.Name }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.credentials }

func (s *Service) holder(ctx context.Context, user store.User) (holder, error) {
	rows, err := s.store.Passkeys(ctx, user.ID)
	if err != nil {
		return holder{}, err
	}
	h := holder{user: user, name: user.Email, credentials: make([]webauthn.Credential, len(rows))}
	for i, row := range rows {
		if err := json.Unmarshal(row.Credential, &h.credentials[i]); err != nil {
			return holder{}, fmt.Errorf("auth: passkey %s: %w", row.ID, err)
		}
	}
	return h, nil
}

// begin remembers a ceremony and gives the browser the cookie that finds it.
func (s *Service) begin(ctx context.Context, kind, userID string, session *webauthn.SessionData) error {
	token, err := s.expect(ctx, forPasskey, userID, ceremony{kind, *session}, ceremonyTTL)
	if err != nil {
		return err
	}
	setCookie(ctx, s.cookie(ctx, passkeyCookie, token, ceremonyTTL))
	return nil
}

// finish returns the ceremony that the browser began, once.
func (s *Service) finish(ctx context.Context, kind string, cookies []*http.Cookie) (webauthn.SessionData, error) {
	token, ok := s.readCookie(ctx, passkeyCookie, cookies)
	if !ok {
		return webauthn.SessionData{}, errChallengeNotFound
	}
	setCookie(ctx, s.cookie(ctx, passkeyCookie, "", -time.Second))
	var c ceremony
	if _, err := s.take(ctx, forPasskey, token, &c); err != nil {
		if isNotFound(err) {
			return webauthn.SessionData{}, errChallengeNotFound
		}
		return webauthn.SessionData{}, err
	}
	if c.Type != kind {
		return webauthn.SessionData{}, errChallengeNotFound
	}
	return c.Session, nil
}

// addPasskey checks what an authenticator answers to a registration and keeps
// the passkey.
func (s *Service) addPasskey(
	ctx context.Context, user store.User, session webauthn.SessionData, response []byte, name string,
) (store.Passkey, error) {
	party, err := s.party(ctx)
	if err != nil {
		return store.Passkey{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return store.Passkey{}, errNotVerified.With(err)
	}
	credential, err := party.CreateCredential(holder{user: user}, session, parsed)
	if err != nil {
		return store.Passkey{}, errNotVerified.With(err)
	}
	credential.Attestation = webauthn.CredentialAttestation{} // nobody asks later who made the authenticator
	raw, err := json.Marshal(credential)
	if err != nil {
		return store.Passkey{}, err
	}
	k := store.Passkey{
		ID: store.NewID(), UserID: user.ID, Name: name, CredentialID: base64.RawURLEncoding.EncodeToString(credential.ID),
		Credential: raw, SignCount: int64(credential.Authenticator.SignCount), CreatedAt: s.now(),
	}
	switch err := s.store.CreatePasskey(ctx, k, maxPasskeys, actor(ctx, user.ID)); {
	case errors.Is(err, store.ErrConflict):
		return store.Passkey{}, errKnownPasskey.With(err)
	case errors.Is(err, store.ErrFull):
		return store.Passkey{}, errTooManyPasskeys.With(err)
	case err != nil:
		return store.Passkey{}, err
	}
	return k, nil
}

// checkPasskey returns the user whose passkey answered a sign-in. A user with a
// second factor must have been verified by the authenticator, by a PIN or a
// finger: its possession alone is one factor.
func (s *Service) checkPasskey(ctx context.Context, session webauthn.SessionData, response []byte) (store.User, error) {
	party, err := s.party(ctx)
	if err != nil {
		return store.User{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return store.User{}, errPasskeyRefused.With(err)
	}
	row, err := s.store.PasskeyByCredential(ctx, base64.RawURLEncoding.EncodeToString(parsed.RawID))
	if isNotFound(err) {
		return store.User{}, errPasskeyNotFound
	}
	if err != nil {
		return store.User{}, err
	}
	user, err := s.store.User(ctx, row.UserID)
	if err != nil {
		return store.User{}, err
	}
	h, err := s.holder(ctx, user)
	if err != nil {
		return store.User{}, err
	}
	// The browser asked without saying who it is, so whose passkey it was
	// decides; older authenticators do not name the user themselves.
	session.UserID = h.WebAuthnID()
	credential, err := party.ValidateLogin(h, session, parsed)
	if err != nil {
		return store.User{}, errPasskeyRefused.With(err)
	}
	if user.TwoFactor && !parsed.Response.AuthenticatorData.Flags.HasUserVerified() {
		return store.User{}, errPasskeyRefused.With(errors.New("auth: the authenticator did not verify the user"))
	}
	raw, err := json.Marshal(credential)
	if err != nil {
		return store.User{}, err
	}
	err = s.store.UsePasskey(ctx, row.ID, raw, int64(parsed.Response.AuthenticatorData.Counter), s.now())
	if errors.Is(err, store.ErrConflict) { // a copy of the authenticator
		return store.User{}, errPasskeyRefused.With(err)
	}
	return user, err
}
