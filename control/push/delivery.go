package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/control/webpush"
	"github.com/securecam/securecam/store"
)

// Why an attempt failed; part of the API.
const (
	errNoSubscription = "no_subscription"      // the device's browser takes no messages
	errGone           = "subscription_gone"    // nor does it any more
	errKeys           = "subscription_invalid" // what it gave as keys are none
	errTooLong        = "message_too_long"
	errUnreachable    = "unreachable"
	errAddress        = "address_not_allowed"
	errRefused        = "refused" // with the status after a colon
	errStopped        = "stopped" // this server did, in the middle
	errLost           = "lost"    // the last of its attempts did not come back
)

const (
	// messageLife is how long a push service keeps a message for a browser that
	// is not running: older ones are no news.
	messageLife = 4 * time.Hour
	settlePause = 200 * time.Millisecond
	stopTimeout = 1500 * time.Millisecond // for the last word when the worker stops
)

// worker is the service as its jobs see it.
type worker struct{ *Service }

// Claim takes pushes that are due.
func (w worker) Claim(ctx context.Context, limit int) ([]store.Push, error) {
	now := w.now()
	return w.cfg.Store.ClaimPushes(ctx, store.Claim{At: now, Until: now.Add(w.cfg.Lease), Limit: limit})
}

// result is how an attempt ended.
type result struct {
	reason string // empty: sent
	final  bool   // there is no use in another attempt
	after  time.Duration
}

// Run makes one attempt to send a push and writes down how that ended.
func (w worker) Run(ctx context.Context, p store.Push) {
	if p.Attempts > w.cfg.MaxAttempts { // whoever made the last one died with it
		w.settle(ctx, p, result{reason: errLost, final: true})
		return
	}
	r, err := w.send(ctx, p)
	switch {
	case err != nil && ctx.Err() != nil:
		r = result{reason: errStopped}
	case err != nil:
		w.log.WarnContext(ctx, "push not sent", slog.String("push", p.ID), slog.String("device", p.RecipientDeviceID),
			slog.Int("attempt", p.Attempts), slog.Any("err", err))
	}
	w.settle(ctx, p, r)
}

// send makes one attempt. The error is for the log; the result says what
// follows from it.
func (w worker) send(ctx context.Context, p store.Push) (result, error) {
	// The lease must outlive the attempt.
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Lease/2)
	defer cancel()
	sub, err := w.cfg.Store.PushSubscription(ctx, p.OwnerUserID, p.RecipientDeviceID)
	if errors.Is(err, store.ErrNotFound) {
		return result{reason: errNoSubscription}, nil
	}
	if err != nil {
		return result{reason: errUnreachable}, err
	}
	keys, err := webpush.ParseKeys(sub.P256dh, sub.AuthSecret)
	if err != nil {
		return result{reason: errKeys, final: true}, err
	}
	text, err := plaintext(p)
	if err != nil {
		return result{reason: errTooLong, final: true}, err
	}
	body, err := webpush.Encrypt(keys, text)
	if err != nil {
		return result{reason: errTooLong, final: true}, err
	}
	authorization, err := w.cfg.Identity.Authorization(sub.Endpoint, w.cfg.Now())
	if err != nil {
		return result{reason: errKeys, final: true}, err
	}
	answer, err := w.cfg.Sender.Post(ctx, sub.Endpoint, http.Header{
		"Authorization":    {authorization},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Ttl":              {strconv.Itoa(int(messageLife.Seconds()))}, // RFC 8030, section 5.2
		"Urgency":          {"high"},                                   // section 5.3
	}, bytes.NewReader(body))
	switch {
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrURL):
		return result{reason: errAddress, final: true}, err
	case err != nil:
		return result{reason: errUnreachable}, err
	}
	return w.judge(ctx, sub, answer)
}

// plaintext is what the browser gets: the payload, with the type and id of the
// push in it.
func plaintext(p store.Push) ([]byte, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(p.Payload, &fields); err != nil {
		return nil, err
	}
	if fields == nil { // the payload is null
		fields = map[string]json.RawMessage{}
	}
	for name, value := range map[string]string{"type": p.Type, "pushId": p.ID} {
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		fields[name] = encoded
	}
	return json.Marshal(fields)
}

// judge says what a push service's answer means (RFC 8030, section 5, and what
// the services of the browsers do).
func (w worker) judge(ctx context.Context, sub store.PushSubscription, answer outbound.Response) (result, error) {
	reason := errRefused + ":" + strconv.Itoa(answer.Status)
	switch status := answer.Status; {
	case status >= 200 && status < 300:
		return result{}, nil
	case status == http.StatusNotFound, status == http.StatusGone:
		if err := w.cfg.Store.ForgetPushEndpoint(ctx, sub.Endpoint); err != nil {
			return result{reason: errGone}, err
		}
		w.forgotten.Add(1)
		w.log.InfoContext(ctx, "push subscription forgotten", slog.String("device", sub.DeviceID))
		return result{reason: errGone}, nil
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests,
		status >= http.StatusInternalServerError:
		return result{reason: reason, after: answer.RetryAfter()}, nil
	default:
		return result{reason: reason, final: true}, nil
	}
}

// settle writes down how an attempt ended. It does so also when the worker
// stops: what was sent must not be sent again by the next one.
func (s *Service) settle(ctx context.Context, p store.Push, r result) {
	within := s.cfg.Lease / 4 // what an attempt leaves of it at least, halved
	if ctx.Err() != nil {
		within = stopTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	now := s.now()
	o := store.Outcome{Status: store.WorkSent, Error: r.reason, At: now}
	switch {
	case r.reason == "":
	case r.reason == errStopped:
		o.Status, o.NextAttemptAt = store.WorkQueued, now
	case r.final || p.Attempts >= s.cfg.MaxAttempts:
		o.Status = store.WorkFailed
	default:
		pause := max(r.after, jobs.Backoff(p.Attempts, s.cfg.FirstPause, s.cfg.LongestWait))
		o.Status, o.NextAttemptAt = store.WorkQueued, now.Add(pause)
	}
	err := jobs.Insist(ctx, settlePause, func() error { return s.cfg.Store.SettlePush(ctx, p.ID, p.Attempts, o) })
	switch {
	case errors.Is(err, store.ErrConflict): // deleted, or the lease ended and another worker has it
		s.stale.Add(1)
	case err != nil: // the lease will end
		s.log.ErrorContext(ctx, "push not settled", slog.String("push", p.ID), slog.Any("err", err))
	case o.Status == store.WorkSent:
		s.sent.Add(1)
	case o.Status == store.WorkFailed:
		s.dead.Add(1)
	default:
		s.retried.Add(1)
	}
}
