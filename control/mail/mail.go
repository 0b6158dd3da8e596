// Package mail sends letters: by SMTP, or into the log where no server is
// configured.
package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	smtp "github.com/wneessen/go-mail"
)

// Config says where letters go. From has no default.
type Config struct {
	// Server is smtp://user:password@host:587, which must offer STARTTLS, or
	// smtps://…:465, which speaks TLS at once. ?tls=off allows a server that
	// speaks none, such as one on this machine.
	Server string
	From   string // the address that letters come from
	Logger *slog.Logger
}

const (
	queueLength = 256
	attempts    = 3
	sendTimeout = 15 * time.Second // of one attempt
	firstPause  = 2 * time.Second  // before the next one; then twice that
)

// ErrFull reports that too many letters wait for a server that is slow or gone.
var ErrFull = errors.New("mail: too many letters wait")

// Stats counts letters since the start.
type Stats struct {
	Sent   uint64 `help:"Letters that the mail server took"`
	Failed uint64 `help:"Letters given up after several attempts, or at the end of the process"`
	Full   uint64 `help:"Letters refused because too many waited"`
}

type letter struct{ to, subject, text string }

// SMTP sends letters through a server, one after the other, while Run runs. It
// is safe for concurrent use.
type SMTP struct {
	deliver func(context.Context, letter) error
	queue   chan letter
	log     *slog.Logger

	sent, failed, full atomic.Uint64
}

// NewSMTP returns a sender. It does not connect yet.
func NewSMTP(cfg Config) (*SMTP, error) {
	host, options, err := ParseServer(cfg.Server)
	if err != nil {
		return nil, err
	}
	if _, err := newMessage(cfg.From, letter{to: cfg.From}); err != nil {
		return nil, err
	}
	s := &SMTP{queue: make(chan letter, queueLength), log: cfg.Logger}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.deliver = func(ctx context.Context, l letter) error {
		message, err := newMessage(cfg.From, l)
		if err != nil {
			return err
		}
		client, err := smtp.NewClient(host, options...)
		if err != nil {
			return fmt.Errorf("mail: %w", err)
		}
		return client.DialAndSendWithContext(ctx, message)
	}
	return s, nil
}

// ParseServer returns the host of a Config.Server and how to speak with it. Its
// error shows no password.
func ParseServer(server string) (host string, options []smtp.Option, err error) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" || (u.Scheme != "smtp" && u.Scheme != "smtps") {
		return "", nil, errors.New("mail: the server is no URL like smtp://user:password@host:587 or smtps://user:password@host:465")
	}
	port, policy := 587, smtp.TLSMandatory
	options = []smtp.Option{smtp.WithTimeout(sendTimeout)}
	switch {
	case u.Scheme == "smtps":
		port = 465
		options = append(options, smtp.WithSSL())
	case u.Query().Get("tls") == "off":
		policy = smtp.NoTLS
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return "", nil, errors.New("mail: the server's port is not 1 to 65535")
		}
	}
	options = append(options, smtp.WithPort(port), smtp.WithTLSPolicy(policy))
	if user := u.User.Username(); user != "" {
		password, _ := u.User.Password()
		auth := smtp.SMTPAuthAutoDiscover
		if policy == smtp.NoTLS {
			auth = smtp.SMTPAuthPlainNoEnc
		}
		options = append(options, smtp.WithSMTPAuth(auth), smtp.WithUsername(user), smtp.WithPassword(password))
	}
	return u.Hostname(), options, nil
}

func newMessage(from string, l letter) (*smtp.Msg, error) {
	m := smtp.NewMsg(smtp.WithNoDefaultUserAgent())
	if err := m.From(from); err != nil {
		return nil, fmt.Errorf("mail: sender: %w", err)
	}
	if err := m.To(l.to); err != nil {
		return nil, fmt.Errorf("mail: recipient: %w", err)
	}
	m.Subject(l.subject)
	m.SetMessageID()
	m.SetDate()
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic answers
	m.SetBodyString(smtp.TypeTextPlain, l.text)
	return m, nil
}

// Send queues a letter and does not wait for its delivery. It returns ErrFull
// when too many wait.
func (s *SMTP) Send(to, subject, text string) error {
	select {
	case s.queue <- letter{to, subject, text}:
		return nil
	default:
		s.full.Add(1)
		return ErrFull
	}
}

// Stats returns the counters.
func (s *SMTP) Stats() Stats {
	return Stats{Sent: s.sent.Load(), Failed: s.failed.Load(), Full: s.full.Load()}
}

// Run delivers letters until ctx ends. What then waits is given up.
func (s *SMTP) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			s.failed.Add(uint64(len(s.queue)))
			return nil
		case l := <-s.queue:
			s.try(ctx, l)
		}
	}
}

// try delivers one letter, again when the server is not there or says that
// this is for now.
func (s *SMTP) try(ctx context.Context, l letter) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := s.once(ctx, l)
		if err == nil {
			s.sent.Add(1)
			return
		}
		s.log.WarnContext(ctx, "letter not delivered",
			slog.String("subject", l.subject), slog.Int("attempt", attempt), slog.Any("err", err))
		if attempt == attempts || isFinal(err) {
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			s.failed.Add(1)
			return
		case <-timer.C:
		}
		pause *= 2
	}
	s.failed.Add(1)
}

func (s *SMTP) once(ctx context.Context, l letter) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return s.deliver(ctx, l)
}

// isFinal says whether a server refused a letter for good.
func isFinal(err error) bool {
	var refused *smtp.SendError
	return errors.As(err, &refused) && refused.ErrorCode() >= 500
}

// Log writes letters into the log, with the links that are in them: whoever
// runs the server passes them on.
type Log struct{ Logger *slog.Logger }

// Send logs a letter.
func (l Log) Send(to, subject, text string) error {
	l.Logger.Warn("no mail server is configured: pass this letter on",
		slog.String("to", to), slog.String("subject", subject), slog.String("text", text))
	return nil
}
