package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/securecam/securecam/store"
)

// Users is what auth needs of the users table and their password hashes.
type Users interface {
	CreateUser(ctx context.Context, u store.User, passwordHash string, by store.Actor) error
	User(ctx context.Context, id string) (store.User, error)
	UserByEmail(ctx context.Context, email string) (store.User, string, error)
	PasswordHash(ctx context.Context, userID string) (string, error)
	UpdateUser(ctx context.Context, id string, c store.UserChange, by store.Actor) (store.User, error)
	SetEmail(ctx context.Context, id, from, to string, verified bool, by store.Actor) error
	SetPassword(ctx context.Context, c store.PasswordChange, by store.Actor) error
	DeleteUser(ctx context.Context, id string, by store.Actor) error
	RevokeUser(ctx context.Context, id string, by store.Actor) error
	NoteAccess(ctx context.Context, by store.Actor, ownerUserID, target, verb, id string, details map[string]any) error
}

// Sessions is what auth needs of the sessions table.
type Sessions interface {
	CreateSession(ctx context.Context, s store.Session, by store.Actor) error
	CreateSessionByPassword(ctx context.Context, s store.Session, passwordHash string, by store.Actor) error
	SessionByToken(ctx context.Context, tokenSHA256 []byte) (store.Session, store.User, error)
	Sessions(ctx context.Context, userID string, now time.Time, limit int) ([]store.Session, error)
	TouchSession(ctx context.Context, id string, updatedAt, expiresAt time.Time) error
	DeleteSession(ctx context.Context, userID, id string, by store.Actor) error
	DeleteSessions(ctx context.Context, userID, except string, by store.Actor) (int64, error)
	DeleteExpiredSessions(ctx context.Context, now time.Time) (int64, error)
}

// Devices is what auth needs of the devices table.
type Devices interface {
	DeviceByID(ctx context.Context, id string) (store.Device, error)
}

// Verifications is what auth needs of the verifications table.
type Verifications interface {
	CreateVerification(ctx context.Context, v store.Verification) error
	Verification(ctx context.Context, identifier string, now time.Time) (store.Verification, error)
	TakeVerification(ctx context.Context, identifier string, now time.Time) (store.Verification, error)
	TryVerification(ctx context.Context, identifier string, limit int, now time.Time) (store.Verification, error)
	DeleteExpiredVerifications(ctx context.Context, now time.Time) (int64, error)
}

// TwoFactors is what auth needs of the authenticator apps and backup codes.
type TwoFactors interface {
	TwoFactor(ctx context.Context, userID string) (store.TwoFactor, error)
	ProposeTwoFactor(ctx context.Context, f store.TwoFactor, backupCodes []string, by store.Actor) error
	EnableTwoFactor(ctx context.Context, userID string, step int64, swap store.SessionSwap, by store.Actor) error
	DisableTwoFactor(ctx context.Context, userID string, swap store.SessionSwap, by store.Actor) error
	TryTwoFactor(ctx context.Context, userID string, limit int, now, until time.Time) (store.TwoFactor, error)
	UseTwoFactor(ctx context.Context, userID string, step int64) error
	UseBackupCode(ctx context.Context, userID, digest string, by store.Actor) error
	ReplaceBackupCodes(ctx context.Context, userID string, digests []string, by store.Actor) error
}

// Passkeys is what auth needs of the passkeys table.
type Passkeys interface {
	CreatePasskey(ctx context.Context, k store.Passkey, limit int, by store.Actor) error
	Passkeys(ctx context.Context, userID string) ([]store.Passkey, error)
	PasskeyByCredential(ctx context.Context, credentialID string) (store.Passkey, error)
	UsePasskey(ctx context.Context, id string, credential json.RawMessage, signCount int64, at time.Time) error
	RenamePasskey(ctx context.Context, userID, id, name string, by store.Actor) (store.Passkey, error)
	DeletePasskey(ctx context.Context, userID, id string, by store.Actor) error
}

// Store is all that auth needs of the database.
type Store interface {
	Users
	Sessions
	Devices
	Grants
	Verifications
	TwoFactors
	Passkeys
}

// Mailer takes letters and delivers them later. Send does not wait for that;
// it fails when there is no room for another one.
type Mailer interface {
	Send(to, subject, text string) error
}

// Attempts bounds how often something may be tried by somebody, in all
// processes together.
type Attempts interface {
	// Take counts an attempt of a kind by key, and returns what takes it back
	// when it did no harm. It returns a fault of kind fault.TooMany when there
	// were too many.
	Take(ctx context.Context, kind, key string) (giveBack func(context.Context), err error)
	// Forget takes all of key's attempts back.
	Forget(ctx context.Context, kind, key string)
}

// Config is what a Service needs. Store and Secret have no default.
type Config struct {
	Store  Store
	Secret []byte // at least 16 bytes; all keys derive from it
	// BaseURL is where users reach the server, if that is fixed. When it is
	// https, cookies are Secure although a proxy may speak plain HTTP to us.
	BaseURL string
	// TrustedOrigins are the foreign origins (scheme://host[:port]) whose
	// pages may use a user's session.
	TrustedOrigins []string
	DeviceTokenTTL time.Duration // 365 days if zero
	// LinkURL is where links in letters lead if BaseURL is empty. What a
	// request says of its host must not decide that: anybody can ask for a
	// letter to somebody else.
	LinkURL string
	Mailer  Mailer // nobody gets letters if nil
	// VerifyNewUsers sends a letter to whoever signs up.
	VerifyNewUsers bool
	// RequireVerified lets only those in whose address is verified.
	RequireVerified bool
	Attempts        Attempts // not counted if nil
	// UserDeleted hears that a user was deleted, whose objects are left. It
	// may be nil and must not block.
	UserDeleted func()
	Now         func() time.Time // time.Now if nil
	Logger      *slog.Logger
}

const defaultDeviceTokenTTL = 365 * 24 * time.Hour

// Service knows users, sessions and device tokens. It is safe for concurrent
// use.
type Service struct {
	store          Store
	keys           keys
	passwords      *hasher
	secure         bool
	baseURL        string // of links in letters
	origin         string // of BaseURL; empty if it is not fixed
	trusted        map[string]bool
	deviceTokenTTL time.Duration
	mailer         Mailer
	verifyNew      bool
	requireVerify  bool
	attempts       Attempts
	userDeleted    func()
	clock          func() time.Time
	log            *slog.Logger
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	keys, err := newKeys(cfg.Secret)
	if err != nil {
		return nil, err
	}
	trusted := make(map[string]bool, len(cfg.TrustedOrigins))
	for _, origin := range cfg.TrustedOrigins {
		normal, err := ParseOrigin(origin)
		if err != nil {
			return nil, fmt.Errorf("auth: trusted origin %q: %w", origin, err)
		}
		trusted[normal] = true
	}
	origin, err := originOf(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	s := &Service{
		store: cfg.Store, keys: keys, passwords: newHasher(),
		secure: strings.HasPrefix(cfg.BaseURL, "https://"), baseURL: strings.TrimRight(cmp.Or(cfg.BaseURL, cfg.LinkURL), "/"),
		origin: origin, trusted: trusted, deviceTokenTTL: cmp.Or(cfg.DeviceTokenTTL, defaultDeviceTokenTTL),
		mailer: cfg.Mailer, verifyNew: cfg.VerifyNewUsers, requireVerify: cfg.RequireVerified, attempts: cfg.Attempts,
		userDeleted: cfg.UserDeleted, clock: cfg.Now, log: cfg.Logger,
	}
	if s.attempts == nil {
		s.attempts = uncounted{}
	}
	if s.userDeleted == nil {
		s.userDeleted = func() {}
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// originOf returns the origin of a URL that may have a path; "" of "".
func originOf(rawURL string) (string, error) {
	if rawURL == "" {
		return "", nil
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("auth: base URL: %w", err)
	}
	origin, err := ParseOrigin(u.Scheme + "://" + u.Host)
	if err != nil {
		return "", fmt.Errorf("auth: base URL %q: %w", rawURL, err)
	}
	return origin, nil
}

// uncounted lets everybody try everything.
type uncounted struct{}

func (uncounted) Take(context.Context, string, string) (func(context.Context), error) {
	return func(context.Context) {}, nil
}
func (uncounted) Forget(context.Context, string, string) {}

// TrustsOrigin says whether pages of a foreign origin may write with a user's
// cookie.
func (s *Service) TrustsOrigin(origin string) bool {
	normal, err := ParseOrigin(origin)
	return err == nil && s.trusted[normal]
}

// now is the time as rows keep it.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Millisecond) }

const sweepInterval = time.Hour

// Run deletes expired sessions and verifications once an hour until ctx ends.
// What has expired is refused whether or not its row still exists.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		s.sweep(ctx, "sessions", s.store.DeleteExpiredSessions)
		s.sweep(ctx, "verifications", s.store.DeleteExpiredVerifications)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *Service) sweep(ctx context.Context, what string, remove func(context.Context, time.Time) (int64, error)) {
	n, err := remove(ctx, s.now())
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.log.WarnContext(ctx, "expired rows not deleted", slog.String("rows", what), slog.Any("err", err))
	case n > 0:
		s.log.InfoContext(ctx, "expired rows deleted", slog.String("rows", what), slog.Int64("count", n))
	}
}
