package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/securecam/securecam/store"
)

// Users is what auth needs of the users table and their password hashes.
type Users interface {
	CreateUser(ctx context.Context, u store.User, passwordHash string, by store.Actor) error
	UserByEmail(ctx context.Context, email string) (store.User, string, error)
}

// Sessions is what auth needs of the sessions table.
type Sessions interface {
	CreateSession(ctx context.Context, s store.Session, by store.Actor) error
	SessionByToken(ctx context.Context, tokenSHA256 []byte) (store.Session, store.User, error)
	TouchSession(ctx context.Context, id string, updatedAt, expiresAt time.Time) error
	DeleteSession(ctx context.Context, userID, id string, by store.Actor) error
}

// Devices is what auth needs of the devices table.
type Devices interface {
	DeviceByID(ctx context.Context, id string) (store.Device, error)
}

// Store is all that auth needs of the database.
type Store interface {
	Users
	Sessions
	Devices
	Grants
	DeleteExpiredSessions(ctx context.Context, now time.Time) (int64, error)
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
	DeviceTokenTTL time.Duration    // 365 days if zero
	Now            func() time.Time // time.Now if nil
	Logger         *slog.Logger
}

const defaultDeviceTokenTTL = 365 * 24 * time.Hour

// Service knows users, sessions and device tokens. It is safe for concurrent
// use.
type Service struct {
	store          Store
	cookies        *Signer
	devices        *Signer
	passwords      *hasher
	secure         bool
	trusted        map[string]bool
	deviceTokenTTL time.Duration
	clock          func() time.Time
	log            *slog.Logger
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	cookies, err := NewSigner(cfg.Secret, "session cookie")
	if err != nil {
		return nil, err
	}
	devices, err := NewSigner(cfg.Secret, "device token")
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
	if cfg.DeviceTokenTTL == 0 {
		cfg.DeviceTokenTTL = defaultDeviceTokenTTL
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{
		store: cfg.Store, cookies: cookies, devices: devices, passwords: newHasher(),
		secure: strings.HasPrefix(cfg.BaseURL, "https://"), trusted: trusted,
		deviceTokenTTL: cfg.DeviceTokenTTL, clock: cfg.Now, log: cfg.Logger,
	}, nil
}

// TrustsOrigin says whether pages of a foreign origin may write with a user's
// cookie.
func (s *Service) TrustsOrigin(origin string) bool {
	normal, err := ParseOrigin(origin)
	return err == nil && s.trusted[normal]
}

// now is the time as rows keep it.
func (s *Service) now() time.Time { return s.clock().UTC().Truncate(time.Millisecond) }

const sweepInterval = time.Hour

// Run deletes expired sessions once an hour until ctx ends. An expired session
// is refused whether or not its row still exists.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		n, err := s.store.DeleteExpiredSessions(ctx, s.now())
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.WarnContext(ctx, "expired sessions not deleted", slog.Any("err", err))
		case n > 0:
			s.log.InfoContext(ctx, "expired sessions deleted", slog.Int64("count", n))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
