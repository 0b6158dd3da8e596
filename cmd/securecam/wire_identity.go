package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net"
	netmail "net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securecam/securecam/control"
	"github.com/securecam/securecam/control/admin"
	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/erasure"
	"github.com/securecam/securecam/control/gateway"
	"github.com/securecam/securecam/control/limit"
	"github.com/securecam/securecam/control/mail"
	"github.com/securecam/securecam/control/metrics"
	"github.com/securecam/securecam/store"
)

// IdentitySettings are those of accounts beside Better Auth's own.
type IdentitySettings struct {
	SMTPURL                  string `group:"Auth" env:"SMTP_URL" name:"smtp-url"`
	MailFrom                 string `group:"Auth" env:"MAIL_FROM"`
	RequireEmailVerification bool   `group:"Auth" env:"REQUIRE_EMAIL_VERIFICATION"`

	RateLimits              []string `group:"Auth" env:"RATE_LIMITS"`
	RateLimitWindowSeconds  int      `group:"Auth" env:"RATE_LIMIT_WINDOW_SECONDS" default:"60"`
	LoginAttempts           int      `group:"Auth" env:"LOGIN_ATTEMPTS" default:"10"`
	LoginAttemptsPerAddress int      `group:"Auth" env:"LOGIN_ATTEMPTS_PER_ADDRESS" default:"50"`
	LettersPerAccount       int      `group:"Auth" env:"LETTERS_PER_ACCOUNT" default:"5"`
	LettersPerAddress       int      `group:"Auth" env:"LETTERS_PER_ADDRESS" default:"30"`
	LoginWindowSeconds      int      `group:"Auth" env:"LOGIN_WINDOW_SECONDS" default:"900"`

	MaxDevicesPerUser  int `group:"Auth" env:"MAX_DEVICES_PER_USER" default:"2000"`
	MaxSessionsPerUser int `group:"Auth" env:"MAX_SESSIONS_PER_USER" default:"200"`
	MaxPendingCommands int `group:"Auth" env:"MAX_PENDING_COMMANDS" default:"200"`

	GatewayConnections       int `group:"Auth" env:"GATEWAY_CONNECTIONS" default:"10000"`
	GatewayMessagesPerSecond int `group:"Auth" env:"GATEWAY_MESSAGES_PER_SECOND" default:"50"`
	GatewaySignalsPerSecond  int `group:"Auth" env:"GATEWAY_SIGNALS_PER_SECOND" default:"20"`
}

// identityHelp says what those settings mean.
func identityHelp() map[string]string {
	return map[string]string{
		"SMTP_URL":                   "Mail server, smtp://user:password@host:587 or smtps://...:465; empty: letters are in the log.",
		"MAIL_FROM":                  "Address that letters come from.",
		"REQUIRE_EMAIL_VERIFICATION": "Let only those sign in who have opened the letter to their address.",
		"RATE_LIMITS":                "Requests of an address in a window by group: global=6000,auth=120; 0 is none, off is for all.",
		"RATE_LIMIT_WINDOW_SECONDS":  "Length of that window.",
		"LOGIN_ATTEMPTS":             "Wrong passwords of an account in a login window; 0 is any number.",
		"LOGIN_ATTEMPTS_PER_ADDRESS": "Wrong passwords from an address in a login window; 0 is any number.",
		"LETTERS_PER_ACCOUNT":        "Letters to an address in a login window; 0 is any number.",
		"LETTERS_PER_ADDRESS":        "Letters asked for from an address in a login window; 0 is any number.",
		"LOGIN_WINDOW_SECONDS":       "Length of that window.",
		"MAX_DEVICES_PER_USER":       "Cameras and clients of one user; 0 is any number.",
		"MAX_SESSIONS_PER_USER":      "Browsers in which one user is signed in, the oldest makes room; 0 is any number, 200 the most to list.",
		"MAX_PENDING_COMMANDS":       "Commands that one camera has not answered yet; 0 is any number.",

		"GATEWAY_CONNECTIONS":         "Connections to /realtime and /socket.io/ at a time, of this process.",
		"GATEWAY_MESSAGES_PER_SECOND": "Messages of one such connection, four times as many at once; 0 is any number.",
		"GATEWAY_SIGNALS_PER_SECOND":  "Of those, webrtc:signal messages, five times as many at once; 0 is any number.",
	}
}

func (s *IdentitySettings) validateIdentity(baseURL string) error {
	for _, n := range []struct {
		name          string
		min, max, got int
	}{
		{"RATE_LIMIT_WINDOW_SECONDS", 1, 86400, s.RateLimitWindowSeconds},
		{"LOGIN_WINDOW_SECONDS", 1, 86400, s.LoginWindowSeconds},
		{"LOGIN_ATTEMPTS", 0, 1000000, s.LoginAttempts},
		{"LOGIN_ATTEMPTS_PER_ADDRESS", 0, 1000000, s.LoginAttemptsPerAddress},
		{"LETTERS_PER_ACCOUNT", 0, 1000000, s.LettersPerAccount},
		{"LETTERS_PER_ADDRESS", 0, 1000000, s.LettersPerAddress},
		{"MAX_DEVICES_PER_USER", 0, 1000000, s.MaxDevicesPerUser},
		{"MAX_SESSIONS_PER_USER", 0, 200, s.MaxSessionsPerUser},
		{"MAX_PENDING_COMMANDS", 0, 1000000, s.MaxPendingCommands},
		{"GATEWAY_CONNECTIONS", 1, 1000000, s.GatewayConnections},
		{"GATEWAY_MESSAGES_PER_SECOND", 0, 1000000, s.GatewayMessagesPerSecond},
		{"GATEWAY_SIGNALS_PER_SECOND", 0, 1000000, s.GatewaySignalsPerSecond},
	} {
		if n.got < n.min || n.got > n.max {
			return fmt.Errorf("%s is %d: use %d to %d", n.name, n.got, n.min, n.max)
		}
	}
	if _, err := s.rates(); err != nil {
		return err
	}
	return s.validateMail(baseURL)
}

// orAny is a setting of which 0 is any number, as the gateway takes it.
func orAny(n int) int {
	if n == 0 {
		return gateway.AnyNumber
	}
	return n
}

// rates returns the limits of requests by group; none when they are off.
func (s *IdentitySettings) rates() (map[string]int, error) {
	rates := control.DefaultRates()
	for _, entry := range s.RateLimits {
		if entry = strings.TrimSpace(entry); entry == "off" {
			return nil, nil
		}
		group, number, _ := strings.Cut(entry, "=")
		n, err := strconv.Atoi(number)
		if _, known := rates[group]; !known || err != nil || n < 0 {
			return nil, fmt.Errorf("RATE_LIMITS has %q: use off, or a group and a number such as auth=20, 0 for none; groups are %s",
				entry, strings.Join(slices.Sorted(maps.Keys(rates)), ", "))
		}
		rates[group] = n
	}
	return rates, nil
}

func (s *IdentitySettings) validateMail(baseURL string) error {
	if s.SMTPURL == "" {
		return nil
	}
	if _, _, err := mail.ParseServer(s.SMTPURL); err != nil {
		return errors.New("SMTP_URL takes smtp://user:password@host:587, smtps://user:password@host:465, or smtp://host:25?tls=off")
	}
	if _, err := netmail.ParseAddress(s.MailFrom); err != nil {
		return fmt.Errorf("MAIL_FROM is %q: SMTP_URL needs the address that letters come from", s.MailFrom)
	}
	if baseURL == "" {
		return errors.New("BETTER_AUTH_BASE_URL is empty: SMTP_URL needs it, for the links in letters")
	}
	return nil
}

// identity is who people are, and what follows from it.
type identity struct {
	accounts *auth.Service
	letters  *mail.SMTP // nil without a mail server
	erasure  *erasure.Service
	requests *limit.Limiter
	attempts *limit.Limiter
	tries    limit.Attempts // what attempts allows
	rates    map[string]int // of requests by group
}

func (c *Config) openIdentity(keys secrets, s state, log logger) (identity, error) {
	rates, err := c.rates()
	if err != nil {
		return identity{}, err
	}
	s.db.SetLimits(store.Limits{
		Devices: c.MaxDevicesPerUser, Sessions: c.MaxSessionsPerUser, PendingCommands: c.MaxPendingCommands,
		Storage: c.MaxStorageBytes, UploadLife: seconds(c.MinIOPresignedExpirySeconds) + uploadTime,
	})
	i := identity{
		erasure:  erasure.New(erasure.Config{Store: s.db, Objects: s.objects, Logger: log, Now: s.db.Now}),
		requests: newLimiter(s, "requests", seconds(c.RateLimitWindowSeconds), log),
		attempts: newLimiter(s, "attempts", seconds(c.LoginWindowSeconds), log),
		rates:    rates,
	}
	i.tries = limit.Attempts{Limiter: i.attempts, Limits: map[string]int{
		auth.AttemptByAccount: c.LoginAttempts, auth.AttemptByAddress: c.LoginAttemptsPerAddress,
		auth.AttemptLetter: c.LettersPerAccount, auth.AttemptLetterFrom: c.LettersPerAddress, admin.Attempt: admin.MaxAttempts,
	}}
	var mailer auth.Mailer = mail.Log{Logger: log}
	if c.SMTPURL != "" {
		letters, err := mail.NewSMTP(mail.Config{Server: c.SMTPURL, From: c.MailFrom, Logger: log})
		if err != nil {
			return identity{}, err
		}
		i.letters, mailer = letters, letters
	}
	i.accounts, err = auth.New(auth.Config{
		Store: s.db, Secret: keys.auth, BaseURL: c.BetterAuthBaseURL, TrustedOrigins: c.BetterAuthTrustedOrigins,
		LinkURL: c.localURL(), Mailer: mailer, VerifyNewUsers: c.SMTPURL != "", RequireVerified: c.RequireEmailVerification,
		UserDeleted: i.erasure.Nudge, Attempts: i.tries, Now: s.db.Now, Logger: log,
	})
	return i, err
}

// uploadTime is how long an upload may take that began before its URL ended.
const uploadTime = time.Hour

// newLimiter returns a limiter whose counts the nodes share.
func newLimiter(s state, kind string, window time.Duration, log logger) *limit.Limiter {
	// A window that has ended is not asked for again, whatever the clocks of
	// the nodes say.
	return limit.New(limit.Config{Counter: s.bus.Counters(kind, 2*window), Window: window, Now: s.db.Now, Logger: log})
}

// run starts what identity does by itself.
func (i identity) run(a *app) {
	a.run("sessions", i.accounts.Run)
	a.run("erasure", i.erasure.Run)
	if i.letters != nil {
		a.run("letters", i.letters.Run)
	}
}

// sources lists the numbers that identity keeps.
func (i identity) sources() []metrics.Source {
	list := []metrics.Source{
		{Name: "erasure", Snapshot: func() any { return i.erasure.Stats() }},
		{Name: "request_limits", Snapshot: func() any { return i.requests.Stats() }},
		{Name: "attempt_limits", Snapshot: func() any { return i.attempts.Stats() }},
	}
	if i.letters != nil {
		list = append(list, metrics.Source{Name: "letters", Snapshot: func() any { return i.letters.Stats() }})
	}
	return list
}

// losses lists what identity counts instead of logging it when it happens.
func (i identity) losses() []loss {
	list := []loss{
		{"objects without a row not erased yet", func() uint64 { return i.erasure.Stats().Failed }},
		{"requests over a limit", func() uint64 { return i.requests.Stats().Refused }},
		{"requests limited without the bus", func() uint64 { return i.requests.Stats().Local }},
		{"requests that no limit counted", func() uint64 { return i.requests.Stats().Uncounted }},
		{"sign-ins and letters over a limit", func() uint64 { return i.attempts.Stats().Refused }},
		{"sign-ins and letters limited without the bus", func() uint64 { return i.attempts.Stats().Local }},
	}
	if i.letters != nil {
		list = append(list,
			loss{"letters not delivered", func() uint64 { return i.letters.Stats().Failed }},
			loss{"letters over the queue", func() uint64 { return i.letters.Stats().Full }})
	}
	return list
}

// localURL is where a browser on this machine reaches the server.
func (c *Config) localURL() string {
	return c.scheme() + "://" + net.JoinHostPort(cmp.Or(c.ListenHost, "localhost"), strconv.Itoa(c.Port))
}
