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
	errBroken      = "not_sendable"
	errDisabled    = "disabled" // by its user, in between
)

// mail is the service as its post sees it.
type mail struct{ *Service }

// Claim takes deliveries that are due.
func (m mail) Claim(ctx context.Context, c store.Claim) ([]store.Delivery, error) {
	return m.cfg.Store.ClaimDeliveries(ctx, c)
}

// Settle writes down how an attempt ended.
func (m mail) Settle(ctx context.Context, d store.Delivery, o store.DeliveryOutcome) error {
	return m.cfg.Store.SettleDelivery(ctx, d.ID, d.Claim, o)
}

// Prune deletes what is too old from the log.
func (m mail) Prune(ctx context.Context, before time.Time, limit int) (int64, error) {
	return m.cfg.Store.PruneDeliveries(ctx, before, limit)
}

// Stats returns the state of the queue.
func (m mail) Stats(ctx context.Context) (store.QueueStats, error) {
	return m.cfg.Store.DeliveryStats(ctx)
}

// About returns a delivery's id and attempt.
func (mail) About(d store.Delivery) (id string, attempt int) { return d.ID, d.Attempts }

// Try makes one attempt to deliver.
func (m mail) Try(ctx context.Context, d store.Delivery) (jobs.Result, error) {
	hook, err := m.cfg.Store.Webhook(ctx, d.UserID, d.WebhookID)
	if err != nil {
		return jobs.Result{Reason: errUnreachable}, err
	}
	if !hook.Enabled && d.Type != typePing {
		return jobs.Result{Reason: errDisabled, Final: true}, nil
	}
	url, header, body, err := compose(hook, d, m.cfg.Now())
	if err != nil {
		return jobs.Result{Reason: errBroken, Final: true}, err
	}
	begun := time.Now()
	answer, err := m.cfg.Sender.Post(ctx, url, header, bytes.NewReader(body))
	took := time.Since(begun)
	switch {
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrURL):
		return jobs.Result{Reason: errAddress, Final: true, Took: took}, err
	case err != nil:
		return jobs.Result{Reason: errUnreachable, Took: took}, err
	case answer.Status >= 200 && answer.Status < 300:
		return jobs.Result{Status: answer.Status, Took: took}, nil
	case answer.Status == http.StatusGone:
		err := m.cfg.Store.DisableWebhook(ctx, hook.ID, errGone, m.now())
		return jobs.Result{Reason: errGone, Final: true, Status: answer.Status, Took: took}, err
	default:
		// A receiver that is being set up answers all kinds of things.
		return jobs.Result{Reason: errRefused, After: answer.RetryAfter(), Status: answer.Status, Took: took}, nil
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
