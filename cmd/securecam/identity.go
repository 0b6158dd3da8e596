package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"strconv"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/erasure"
	"github.com/securecam/securecam/control/mail"
)

// IdentitySettings are those of accounts beside Better Auth's own.
type IdentitySettings struct {
	SMTPURL                  string `group:"Auth" env:"SMTP_URL" name:"smtp-url"`
	MailFrom                 string `group:"Auth" env:"MAIL_FROM"`
	RequireEmailVerification bool   `group:"Auth" env:"REQUIRE_EMAIL_VERIFICATION"`
}

func (s *IdentitySettings) validate(baseURL string) error {
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
}

func (c *Config) openIdentity(keys secrets, s state, log logger) (identity, error) {
	i := identity{erasure: erasure.New(erasure.Config{Store: s.db, Objects: s.objects, Logger: log})}
	var mailer auth.Mailer = mail.Log{Logger: log}
	if c.SMTPURL != "" {
		letters, err := mail.NewSMTP(mail.Config{Server: c.SMTPURL, From: c.MailFrom, Logger: log})
		if err != nil {
			return identity{}, err
		}
		i.letters, mailer = letters, letters
	}
	var err error
	i.accounts, err = auth.New(auth.Config{
		Store: s.db, Secret: keys.auth, BaseURL: c.BetterAuthBaseURL, TrustedOrigins: c.BetterAuthTrustedOrigins,
		LinkURL: c.localURL(), Mailer: mailer, VerifyNewUsers: c.SMTPURL != "", RequireVerified: c.RequireEmailVerification,
		UserDeleted: i.erasure.Nudge, Logger: log,
	})
	return i, err
}

// run starts what identity does by itself.
func (i identity) run(a *app) {
	a.run("sessions", i.accounts.Run)
	a.run("erasure", i.erasure.Run)
	if i.letters != nil {
		a.run("letters", i.letters.Run)
	}
}

// losses lists what identity counts instead of logging it when it happens.
func (i identity) losses() []loss {
	list := []loss{{"objects of deleted users not erased yet", func() uint64 { return i.erasure.Stats().Failed }}}
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
