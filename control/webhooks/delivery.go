package webhooks

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/securecam/securecam/control/jobs"
	"github.com/securecam/securecam/control/outbound"
	"github.com/securecam/securecam/store"
)

// Why an attempt failed; part of the API.
const (
	errUnreachable = "unreachable"
	errAddress     = "address_not_allowed"
	errRefused     = "refused" // the status is beside it
	errGone        = "gone"    // 410: the receiver wants no more, and the webhook is disabled
	errStopped     = "stopped" // this server did, in the middle
	errLost        = "lost"    // the last of its attempts did not come back
	errBroken      = "not_sendable"
	errDisabled    = "disabled" // by its user, in between
)

const (
	settlePause = 200 * time.Millisecond
	stopTimeout = 1500 * time.Millisecond // for the last word when the worker stops
)

// worker is the service as its jobs see it.
type worker struct{ *Service }

// result is how an attempt ended.
type result struct {
	reason string // empty: sent
	final  bool   // there is no use in another attempt
	after  time.Duration
	status int
	took   time.Duration
}

// Claim takes deliveries that are due.
func (w worker) Claim(ctx context.Context, limit int) ([]store.Delivery, error) {
	now := w.now()
	return w.cfg.Store.ClaimDeliveries(ctx, store.Claim{At: now, Until: now.Add(w.cfg.Lease), Limit: limit})
}

// Run makes one attempt to deliver and writes down how it ended.
func (w worker) Run(ctx context.Context, d store.Delivery) {
	if d.Attempts > w.cfg.MaxAttempts { // whoever made the last one died with it
		w.settle(ctx, d, result{reason: errLost, final: true})
		return
	}
	r, err := w.send(ctx, d)
	switch {
	case err != nil && ctx.Err() != nil:
		r = result{reason: errStopped}
	case err != nil:
		w.log.InfoContext(ctx, "webhook not delivered", slog.String("webhook", d.WebhookID), slog.String("delivery", d.ID),
			slog.Int("attempt", d.Attempts), slog.Any("err", err))
	}
	w.settle(ctx, d, r)
}

// send makes one attempt. The error is for the log; the result says what
// follows from it.
func (w worker) send(ctx context.Context, d store.Delivery) (result, error) {
	// The lease must outlive the attempt.
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Lease/2)
	defer cancel()
	hook, err := w.cfg.Store.Webhook(ctx, d.UserID, d.WebhookID)
	if err != nil {
		return result{reason: errUnreachable}, err
	}
	if !hook.Enabled && d.Type != typePing {
		return result{reason: errDisabled, final: true}, nil
	}
	url, header, body, err := compose(hook, d, w.cfg.Now())
	if err != nil {
		return result{reason: errBroken, final: true}, err
	}
	begun := time.Now()
	answer, err := w.cfg.Sender.Post(ctx, url, header, bytes.NewReader(body))
	took := time.Since(begun)
	switch {
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrURL):
		return result{reason: errAddress, final: true, took: took}, err
	case err != nil:
		return result{reason: errUnreachable, took: took}, err
	case answer.Status >= 200 && answer.Status < 300:
		return result{status: answer.Status, took: took}, nil
	case answer.Status == http.StatusGone:
		err := w.cfg.Store.DisableWebhook(ctx, hook.ID, errGone, w.now())
		return result{reason: errGone, final: true, status: answer.Status, took: took}, err
	default:
		// A receiver that is being set up answers all kinds of things.
		return result{reason: errRefused, after: answer.RetryAfter(), status: answer.Status, took: took}, nil
	}
}

// compose returns the request that a delivery is.
func compose(hook store.Webhook, d store.Delivery, now time.Time) (url string, header http.Header, body []byte, err error) {
	header = http.Header{"Content-Type": {"application/json"}, "User-Agent": {"SecureCam-Webhook/1"}}
	if hook.Kind == store.KindNtfy {
		url, body, err = ntfyMessage(hook, d)
		if hook.AccessToken != "" {
			header.Set("Authorization", "Bearer "+hook.AccessToken)
		}
		return url, header, body, err
	}
	body, err = json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{d.Type, d.CreatedAt, d.Payload})
	if err != nil {
		return "", nil, nil, err
	}
	at := strconv.FormatInt(now.Unix(), 10)
	signature, err := sign(hook.Secret, d.MessageID, at, body)
	if err != nil {
		return "", nil, nil, err
	}
	// The names are lower case in the specification; header names have no case.
	header.Set("Webhook-Id", d.MessageID)
	header.Set("Webhook-Timestamp", at)
	header.Set("Webhook-Signature", signature)
	return hook.URL, header, body, nil
}

// sign signs a message as Standard Webhooks says: the scheme v1 is HMAC-SHA256
// over id, time and body.
func sign(secret, id, at string, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) == 0 {
		return "", errors.New("webhooks: bad secret")
	}
	h := hmac.New(sha256.New, key)
	fmt.Fprintf(h, "%s.%s.", id, at)
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// ntfyMessage is a delivery in the words of ntfy, for its JSON publishing.
func ntfyMessage(hook store.Webhook, d store.Delivery) (server string, body []byte, err error) {
	server, topic, err := splitTopic(hook.URL)
	if err != nil {
		return "", nil, err
	}
	var about struct {
		CameraName   string `json:"cameraName"`
		TriggeredBy  string `json:"triggeredBy"`
		ThumbnailURL string `json:"thumbnailUrl"`
		URL          string `json:"url"`
	}
	if err := json.Unmarshal(d.Payload, &about); err != nil {
		return "", nil, err
	}
	text, tag, priority := "Something happened: "+d.Type, "camera", 3
	switch d.Type {
	case "motion:started":
		text, tag, priority = seen(about.TriggeredBy), "rotating_light", 4
	case "motion:ended":
		text, priority = "It is quiet again.", 2
	case "stream:requested":
		text = "Somebody wants to watch."
	case "stream:started":
		text = "Somebody is watching."
	case "stream:ended":
		text, priority = "Nobody watches any more.", 2
	case typePing:
		text, tag = "SecureCam reaches this topic.", "white_check_mark"
	}
	body, err = json.Marshal(struct {
		Topic    string   `json:"topic"`
		Title    string   `json:"title"`
		Message  string   `json:"message"`
		Tags     []string `json:"tags"`
		Priority int      `json:"priority"`
		Click    string   `json:"click,omitempty"`
		Attach   string   `json:"attach,omitempty"`
	}{topic, title(about.CameraName), text, []string{tag}, priority, about.URL, about.ThumbnailURL})
	return server, body, err
}

func title(camera string) string {
	if camera == "" {
		return "SecureCam"
	}
	return camera
}

// seen says what a camera saw.
func seen(what string) string {
	if what == "" || what == "motion" {
		return "Motion detected."
	}
	return "Detected: " + strings.ReplaceAll(what, "_", " ") + "."
}

// settle writes down how an attempt ended, also when the worker stops: what
// was delivered must not be delivered again by the next one.
func (s *Service) settle(ctx context.Context, d store.Delivery, r result) {
	within := s.cfg.Lease / 4 // what an attempt leaves of it at least, halved
	if ctx.Err() != nil {
		within = stopTimeout
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	now := s.now()
	o := store.DeliveryOutcome{
		Outcome:        store.Outcome{Status: store.WorkSent, Error: r.reason, At: now},
		ResponseStatus: r.status, ResponseTime: r.took,
	}
	switch {
	case r.reason == "":
	case r.reason == errStopped:
		o.Status, o.NextAttemptAt = store.WorkQueued, now
	case r.final || d.Attempts >= s.cfg.MaxAttempts:
		o.Status = store.WorkFailed
	default:
		pause := max(r.after, jobs.Backoff(d.Attempts, s.cfg.FirstPause, s.cfg.LongestWait))
		o.Status, o.NextAttemptAt = store.WorkQueued, now.Add(pause)
	}
	err := jobs.Insist(ctx, settlePause, func() error { return s.cfg.Store.SettleDelivery(ctx, d.ID, d.Attempts, o) })
	switch {
	case errors.Is(err, store.ErrConflict): // deleted, or the lease ended and another worker has it
		s.stale.Add(1)
	case err != nil: // the lease will end
		s.log.ErrorContext(ctx, "delivery not settled", slog.String("delivery", d.ID), slog.Any("err", err))
	case o.Status == store.WorkSent:
		s.sent.Add(1)
	case o.Status == store.WorkFailed:
		s.dead.Add(1)
	default:
		s.retried.Add(1)
	}
}
