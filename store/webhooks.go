package store

import (
	"context"
	"slices"
	"strings"
	"time"
)

// WebhookKind says how a webhook is spoken to.
type WebhookKind string

// The kinds: signed JSON, or a message for an ntfy topic.
const (
	KindWebhook WebhookKind = "webhook"
	KindNtfy    WebhookKind = "ntfy"
)

// Webhook is an address that a user's events are sent to.
type Webhook struct {
	ID             string
	UserID         string
	Name           string
	Kind           WebhookKind
	URL            string
	Secret         string // signs the messages, of KindWebhook
	AccessToken    string // of the topic, of KindNtfy; may be empty
	EventTypes     []string
	Enabled        bool
	DisabledReason string // why the server disabled it, empty when it did not
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// WebhookChange names the fields of a webhook to change; nil keeps a field.
type WebhookChange struct {
	Name        *string
	URL         *string
	Secret      *string
	AccessToken *string
	EventTypes  *[]string
	Enabled     *bool
}

const webhookColumns = "id, user_id, name, kind, url, secret, access_token, event_types, enabled, disabled_reason, " +
	"created_at, updated_at"

func scanWebhook(r row) (w Webhook, err error) {
	var types string
	err = r.Scan(&w.ID, &w.UserID, &w.Name, &w.Kind, &w.URL, &w.Secret, &w.AccessToken, &types, &w.Enabled,
		&w.DisabledReason, timeColumn{&w.CreatedAt}, timeColumn{&w.UpdatedAt})
	if types != "" {
		w.EventTypes = strings.Split(types, ",")
	}
	return w, err
}

// takes says whether messages of a type are for the webhook.
func (w Webhook) takes(typ string) bool {
	return len(w.EventTypes) == 0 || slices.Contains(w.EventTypes, typ)
}

// CreateWebhook adds a webhook, unless the user has limit of them already:
// then it returns ErrConflict.
func (db *DB) CreateWebhook(ctx context.Context, w Webhook, limit int, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, w.UserID); err != nil {
			return err
		}
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT COUNT(*) FROM webhooks WHERE user_id = $1`, w.UserID).Scan(&count); err != nil {
			return err
		}
		if count >= limit {
			return ErrConflict
		}
		err := insert(ctx, tx, "webhooks", webhookColumns, w.ID, w.UserID, w.Name, w.Kind, w.URL, w.Secret, w.AccessToken,
			strings.Join(w.EventTypes, ","), w.Enabled, w.DisabledReason, ms(w.CreatedAt), ms(w.CreatedAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, w.UserID, "webhook", "create", w.ID, details{"kind": w.Kind})
	})
}

// Webhook returns the user's webhook.
func (db *DB) Webhook(ctx context.Context, userID, id string) (Webhook, error) {
	return userWebhook(ctx, db.r, userID, id)
}

func userWebhook(ctx context.Context, q querier, userID, id string) (Webhook, error) {
	return one(ctx, q, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks WHERE id = $1 AND user_id = $2", id, userID)
}

// WebhookFilter narrows a list of webhooks; empty fields do not.
type WebhookFilter struct {
	Kind    WebhookKind
	Enabled *bool
}

// Webhooks lists the user's webhooks that pass the filter.
func (db *DB) Webhooks(ctx context.Context, userID string, by WebhookFilter, p Page) ([]Webhook, error) {
	var f filter
	f.and("user_id = ?", userID)
	if by.Kind != "" {
		f.and("kind = ?", by.Kind)
	}
	if by.Enabled != nil {
		f.and("enabled = ?", *by.Enabled)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanWebhook, "SELECT "+webhookColumns+" FROM webhooks"+clauses, args...)
}

// UpdateWebhook changes the user's webhook. One that is enabled again has no
// reason for being disabled any more.
func (db *DB) UpdateWebhook(ctx context.Context, userID, id string, c WebhookChange, at time.Time, by Actor) (w Webhook, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		if err := lockUser(ctx, tx, userID); err != nil {
			return err
		}
		if w, err = userWebhook(ctx, tx, userID, id); err != nil {
			return err
		}
		set(&w.Name, c.Name)
		set(&w.URL, c.URL)
		set(&w.Secret, c.Secret)
		set(&w.AccessToken, c.AccessToken)
		set(&w.EventTypes, c.EventTypes)
		set(&w.Enabled, c.Enabled)
		if w.Enabled {
			w.DisabledReason = ""
		}
		w.UpdatedAt = at
		const query = `UPDATE webhooks SET name = $2, url = $3, secret = $4, access_token = $5, event_types = $6,
			enabled = $7, disabled_reason = $8, updated_at = $9 WHERE id = $1`
		err = changeOne(ctx, tx, query, id, w.Name, w.URL, w.Secret, w.AccessToken, strings.Join(w.EventTypes, ","),
			w.Enabled, w.DisabledReason, ms(at))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "webhook", "update", id,
			details{"enabled": w.Enabled, "secretChanged": c.Secret != nil, "urlChanged": c.URL != nil})
	})
	return w, err
}

// DisableWebhook switches a webhook off because its receiver wants no more, and
// fails what it was still to be sent.
func (db *DB) DisableWebhook(ctx context.Context, id, reason string, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE webhooks SET enabled = FALSE, disabled_reason = $2, updated_at = $3
			WHERE id = $1 AND enabled RETURNING user_id`
		owners, err := all(ctx, tx, scanText, query, id, reason, ms(at))
		if err != nil || len(owners) == 0 {
			return err
		}
		const pending = `UPDATE webhook_deliveries SET status = 'failed', error = $2, next_attempt_at = NULL, updated_at = $3
			WHERE webhook_id = $1 AND status = 'queued' AND NOT leased`
		if _, err := change(ctx, tx, pending, id, reason, ms(at)); err != nil {
			return err
		}
		return audit(ctx, tx, Actor{}, owners[0], "webhook", "disable", id, details{"reason": reason})
	})
}

// DeleteWebhook deletes the user's webhook and its delivery log.
func (db *DB) DeleteWebhook(ctx context.Context, userID, id string, by Actor) error {
	return db.inTx(ctx, func(tx *txn) error {
		if err := changeOne(ctx, tx, `DELETE FROM webhooks WHERE id = $1 AND user_id = $2`, id, userID); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "webhook", "delete", id, nil)
	})
}
