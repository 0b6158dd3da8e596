package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"

	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func (s *Service) mountPasskeys(r routes) {
	rest.Register(r.api, r.op("generatePasskeyRegistrationOptions", http.MethodGet, "/passkey/generate-register-options",
		"Begin to add a passkey", Session), s.beginRegistration, errNotFresh, errNoHostName)
	rest.Register(r.api, r.op("verifyPasskeyRegistration", http.MethodPost, "/passkey/verify-registration", "Add the passkey", Session),
		s.finishRegistration, errNotFresh, errNoHostName, errChallengeNotFound, errNotVerified, errKnownPasskey, errTooManyPasskeys)
	rest.Register(r.api, r.op("generatePasskeyAuthenticationOptions", http.MethodGet, "/passkey/generate-authenticate-options",
		"Begin to sign in with a passkey", nil), s.beginAuthentication, errNoHostName)
	rest.Register(r.api, r.op("verifyPasskeyAuthentication", http.MethodPost, "/passkey/verify-authentication", "Sign in with the passkey",
		nil), s.finishAuthentication,
		errChallengeNotFound, errPasskeyNotFound, errPasskeyRefused, errNoHostName, ErrNotVerified, ErrDisabled, errInvalidOrigin)
	rest.Register(r.api, r.op("listPasskeys", http.MethodGet, "/passkey/list-user-passkeys", "List one's passkeys", Session), s.listPasskeys)
	rest.Register(r.api, r.op("updatePasskey", http.MethodPost, "/passkey/update-passkey", "Rename a passkey", Session), s.updatePasskey,
		errNoSuchPasskey)
	rest.Register(r.api, r.op("deletePasskey", http.MethodPost, "/passkey/delete-passkey", "Delete a passkey", Session), s.deletePasskey,
		errNoSuchPasskey)
}

type registerOptionsInput struct {
	Cookie     string `header:"Cookie" hidden:"true"`
	Attachment string `query:"authenticatorAttachment" enum:"platform,cross-platform"`
	Name       string `query:"name" maxLength:"128" doc:"What the authenticator calls the account; its address if left out"`
}

type registerOptionsOutput struct {
	CacheControl string `header:"Cache-Control"`
	Body         json.RawMessage
}

func (s *Service) beginRegistration(ctx context.Context, in *registerOptionsInput) (*registerOptionsOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if !s.isFresh(c) {
		return nil, errNotFresh
	}
	party, err := s.party(ctx)
	if err != nil {
		return nil, err
	}
	h, err := s.holder(ctx, c.user)
	if err != nil {
		return nil, err
	}
	if in.Name != "" {
		h.name = in.Name
	}
	creation, session, err := party.BeginRegistration(
		h,
		webauthn.WithExclusions(webauthn.Credentials(h.credentials).CredentialDescriptors()),
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{
			AuthenticatorAttachment: protocol.AuthenticatorAttachment(in.Attachment),
			ResidentKey:             protocol.ResidentKeyRequirementPreferred,
			UserVerification:        protocol.VerificationPreferred,
		}),
	)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(creation.Response)
	if err != nil {
		return nil, err
	}
	return &registerOptionsOutput{CacheControl: "no-store", Body: body}, s.begin(ctx, ceremonyRegister, c.user.ID, session)
}

type passkeyView struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`
	UserID       string    `json:"userId"`
	PublicKey    string    `json:"publicKey"`
	CredentialID string    `json:"credentialID"`
	Counter      int64     `json:"counter"`
	DeviceType   string    `json:"deviceType" enum:"singleDevice,multiDevice"`
	BackedUp     bool      `json:"backedUp"`
	Transports   string    `json:"transports"`
	AAGUID       string    `json:"aaguid"`
	CreatedAt    time.Time `json:"createdAt"`
	LastUsedAt   time.Time `json:"lastUsedAt,omitzero"`
}

func viewPasskey(k store.Passkey) (passkeyView, error) {
	var c webauthn.Credential
	if err := json.Unmarshal(k.Credential, &c); err != nil {
		return passkeyView{}, err
	}
	v := passkeyView{
		ID: k.ID, Name: k.Name, UserID: k.UserID, PublicKey: base64.StdEncoding.EncodeToString(c.PublicKey),
		CredentialID: k.CredentialID, Counter: k.SignCount, DeviceType: "singleDevice", BackedUp: c.Flags.BackupState,
		CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt,
	}
	if c.Flags.BackupEligible {
		v.DeviceType = "multiDevice"
	}
	transports := make([]string, len(c.Transport))
	for i, t := range c.Transport {
		transports[i] = string(t)
	}
	v.Transports = strings.Join(transports, ",")
	if id, err := uuid.FromBytes(c.Authenticator.AAGUID); err == nil {
		v.AAGUID = id.String()
	}
	return v, nil
}

type finishRegistrationInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Response json.RawMessage `json:"response" doc:"What navigator.credentials.create made"`
		Name     string          `json:"name,omitempty" maxLength:"128"`
	}
}

type passkeyOutput struct{ Body passkeyView }

func (s *Service) finishRegistration(ctx context.Context, in *finishRegistrationInput) (*passkeyOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if !s.isFresh(c) {
		return nil, errNotFresh
	}
	session, err := s.finish(ctx, ceremonyRegister, parseCookies(in.Cookie))
	if err != nil {
		return nil, err
	}
	k, err := s.addPasskey(ctx, c.user, session, in.Body.Response, in.Body.Name)
	if err != nil {
		return nil, err
	}
	view, err := viewPasskey(k)
	return &passkeyOutput{Body: view}, err
}

// beginAuthentication names no passkeys to somebody who is not signed in: the
// authenticator shows which it has.
func (s *Service) beginAuthentication(ctx context.Context, in *sessionInput) (*registerOptionsOutput, error) {
	party, err := s.party(ctx)
	if err != nil {
		return nil, err
	}
	var options []webauthn.LoginOption
	c, err := s.signedIn(ctx, in.Cookie)
	switch {
	case err == nil:
		h, err := s.holder(ctx, c.user)
		if err != nil {
			return nil, err
		}
		if len(h.credentials) > 0 {
			options = append(options, webauthn.WithAllowedCredentials(webauthn.Credentials(h.credentials).CredentialDescriptors()))
		}
	case !errors.Is(err, ErrUnauthenticated):
		return nil, err
	}
	assertion, session, err := party.BeginDiscoverableLogin(options...)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(assertion.Response)
	if err != nil {
		return nil, err
	}
	return &registerOptionsOutput{CacheControl: "no-store", Body: body}, s.begin(ctx, ceremonyAuthenticate, "", session)
}

type finishAuthenticationInput struct {
	UserAgent string `header:"User-Agent" hidden:"true"`
	Cookie    string `header:"Cookie" hidden:"true"`
	Body      struct {
		Response json.RawMessage `json:"response" doc:"What navigator.credentials.get made"`
	}
}

type finishAuthenticationOutput struct {
	Body struct {
		Session sessionView `json:"session"`
		User    userView    `json:"user"`
	}
}

func (s *Service) finishAuthentication(ctx context.Context, in *finishAuthenticationInput) (*finishAuthenticationOutput, error) {
	session, err := s.finish(ctx, ceremonyAuthenticate, parseCookies(in.Cookie))
	if err != nil {
		return nil, err
	}
	user, err := s.checkPasskey(ctx, session, in.Body.Response)
	if err != nil {
		return nil, err
	}
	if s.requireVerify && !user.EmailVerified { // whose account is older than that setting
		s.sendVerification(ctx, user, "")
		return nil, ErrNotVerified
	}
	row, token, cookie := s.newSession(ctx, user.ID, proof{userAgent: in.UserAgent, remember: true})
	if err := s.store.CreateSession(ctx, row, actor(ctx, user.ID)); err != nil {
		return nil, refuseSession(err)
	}
	setCookie(ctx, cookie)
	out := &finishAuthenticationOutput{}
	out.Body.Session, out.Body.User = viewSession(row, token), viewUser(user)
	return out, nil
}

type listPasskeysOutput struct {
	Body []passkeyView `nullable:"false"`
}

func (s *Service) listPasskeys(ctx context.Context, in *sessionInput) (*listPasskeysOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	rows, err := s.store.Passkeys(ctx, c.user.ID)
	if err != nil {
		return nil, err
	}
	out := &listPasskeysOutput{Body: make([]passkeyView, len(rows))}
	for i, row := range rows {
		if out.Body[i], err = viewPasskey(row); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type updatePasskeyInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		ID   string `json:"id" maxLength:"64"`
		Name string `json:"name" minLength:"1" maxLength:"128" pattern:"\\S"`
	}
}

type updatePasskeyOutput struct {
	Body struct {
		Passkey passkeyView `json:"passkey"`
	}
}

func (s *Service) updatePasskey(ctx context.Context, in *updatePasskeyInput) (*updatePasskeyOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	row, err := s.store.RenamePasskey(ctx, c.user.ID, in.Body.ID, strings.TrimSpace(in.Body.Name), actor(ctx, c.user.ID))
	if isNotFound(err) {
		return nil, errNoSuchPasskey
	}
	if err != nil {
		return nil, err
	}
	out := &updatePasskeyOutput{}
	out.Body.Passkey, err = viewPasskey(row)
	return out, err
}

type deletePasskeyInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		ID string `json:"id" maxLength:"64"`
	}
}

func (s *Service) deletePasskey(ctx context.Context, in *deletePasskeyInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := s.store.DeletePasskey(ctx, c.user.ID, in.Body.ID, actor(ctx, c.user.ID)); err != nil {
		if isNotFound(err) {
			return nil, errNoSuchPasskey
		}
		return nil, err
	}
	return statusOK(), nil
}
