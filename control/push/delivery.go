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
)

// messageLife is how long a push service keeps a message for a browser that is
// not running: older ones are no news.
const messageLife = 4 * time.Hour

// mail is the service as its post sees it.
type mail struct{ *Service }

// Claim takes pushes that are due.
func (m mail) Claim(ctx context.Context, c store.Claim) ([]store.Push, error) {
	return m.cfg.Store.ClaimPushes(ctx, c)
}

// Settle writes down how an attempt ended.
func (m mail) Settle(ctx context.Context, p store.Push, o store.DeliveryOutcome) error {
	return m.cfg.Store.SettlePush(ctx, p.ID, p.Claim, o.Outcome)
}

// Prune deletes pushes that are too old.
func (m mail) Prune(ctx context.Context, before time.Time, limit int) (int64, error) {
	return m.cfg.Store.PrunePushes(ctx, before, limit)
}

// Stats returns the state of the queue.
func (m mail) Stats(ctx context.Context) (store.QueueStats, error) { return m.cfg.Store.PushStats(ctx) }

// About returns a push's id and attempt.
func (mail) About(p store.Push) (id string, attempt int) { return p.ID, p.Attempts }

// Try makes one attempt to send a push.
func (m mail) Try(ctx context.Context, p store.Push) (jobs.Result, error) {
	sub, err := m.cfg.Store.PushSubscription(ctx, p.OwnerUserID, p.RecipientDeviceID)
	if errors.Is(err, store.ErrNotFound) {
		return jobs.Result{Reason: errNoSubscription, Final: true}, nil
	}
	if err != nil {
		return jobs.Result{Reason: errUnreachable}, err
	}
	keys, err := webpush.ParseKeys(sub.P256dh, sub.AuthSecret)
	if err != nil {
		return jobs.Result{Reason: errKeys, Final: true}, err
	}
	text, err := plaintext(p)
	if err != nil {
		return jobs.Result{Reason: errTooLong, Final: true}, err
	}
	body, err := webpush.Encrypt(keys, text)
	if err != nil {
		return jobs.Result{Reason: errTooLong, Final: true}, err
	}
	authorization, err := m.cfg.Identity.Authorization(sub.Endpoint, m.cfg.Now())
	if err != nil {
		return jobs.Result{Reason: errKeys, Final: true}, err
	}
	answer, err := m.cfg.Sender.Post(ctx, sub.Endpoint, http.Header{
		"Authorization":    {authorization},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Ttl":              {strconv.Itoa(int(messageLife.Seconds()))}, // RFC 8030, section 5.2
		"Urgency":          {"high"},                                   // section 5.3
	}, bytes.NewReader(body))
	switch {
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrURL):
		return jobs.Result{Reason: errAddress, Final: true}, err
	case err != nil:
		return jobs.Result{Reason: errUnreachable}, err
	}
	return m.judge(ctx, sub, answer)
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
func (m mail) judge(ctx context.Context, sub store.PushSubscription, answer outbound.Response) (jobs.Result, error) {
	reason := errRefused + ":" + strconv.Itoa(answer.Status)
	switch status := answer.Status; {
	case status >= 200 && status < 300:
		return jobs.Result{}, nil
	case status == http.StatusNotFound, status == http.StatusGone:
		if err := m.cfg.Store.ForgetPushEndpoint(ctx, sub.Endpoint); err != nil {
			return jobs.Result{Reason: errGone}, err
		}
		m.forgotten.Add(1)
		m.log.InfoContext(ctx, "push subscription forgotten", slog.String("device", sub.DeviceID))
		return jobs.Result{Reason: errGone}, nil
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests,
		status >= http.StatusInternalServerError:
		return jobs.Result{Reason: reason, After: answer.RetryAfter()}, nil
	default:
		return jobs.Result{Reason: reason, Final: true}, nil
	}
}
