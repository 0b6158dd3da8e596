-- Who is told of what, and how: browsers by Web Push, everything else by
-- webhook. Both queues are rows; next_attempt_at is also the lease of whoever
-- works on one, and attempts the fence against whoever lost that lease.

-- A camera sees one thing at a time.
CREATE UNIQUE INDEX events_active ON events (device_id) WHERE status = 'active';
CREATE INDEX events_stale ON events (updated_at) WHERE status = 'active';
ALTER TABLE events ADD COLUMN thumbnail_key TEXT NOT NULL DEFAULT '';

CREATE INDEX notifications_recipient ON notifications (recipient_device_id, created_at, id);
ALTER TABLE push_notifications ADD COLUMN event_id TEXT; -- what it is about, if that is an event
ALTER TABLE push_notifications ADD COLUMN leased BOOLEAN NOT NULL DEFAULT FALSE; -- somebody is sending it
CREATE INDEX push_notifications_event ON push_notifications (event_id);
CREATE INDEX push_notifications_recipient ON push_notifications (recipient_device_id, created_at, id);

CREATE TABLE push_subscriptions (
	device_id   TEXT   NOT NULL PRIMARY KEY,
	user_id     TEXT   NOT NULL,
	endpoint    TEXT   NOT NULL UNIQUE, -- a browser has one, whichever device it was
	p256dh      TEXT   NOT NULL,
	auth_secret TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, id)
);

CREATE TABLE webhooks (
	id              TEXT    NOT NULL PRIMARY KEY,
	user_id         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name            TEXT    NOT NULL,
	kind            TEXT    NOT NULL CHECK (kind IN ('webhook', 'ntfy')),
	url             TEXT    NOT NULL,
	secret          TEXT    NOT NULL, -- signs a webhook's messages
	access_token    TEXT    NOT NULL, -- of an ntfy topic
	event_types     TEXT    NOT NULL, -- divided by commas, empty for all
	enabled         BOOLEAN NOT NULL,
	disabled_reason TEXT    NOT NULL,
	created_at      BIGINT  NOT NULL,
	updated_at      BIGINT  NOT NULL,
	UNIQUE (user_id, id)
);
CREATE INDEX webhooks_list ON webhooks (user_id, created_at, id);

CREATE TABLE webhook_deliveries (
	id              TEXT   NOT NULL PRIMARY KEY,
	user_id         TEXT   NOT NULL,
	webhook_id      TEXT   NOT NULL,
	message_id      TEXT   NOT NULL, -- the same when it is sent again
	type            TEXT   NOT NULL,
	payload         TEXT   NOT NULL,
	status          TEXT   NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
	attempts        BIGINT NOT NULL,
	response_status BIGINT NOT NULL, -- of the last attempt, 0 for none
	response_ms     BIGINT NOT NULL,
	error           TEXT   NOT NULL,
	leased          BOOLEAN NOT NULL DEFAULT FALSE,
	next_attempt_at BIGINT,
	sent_at         BIGINT,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	FOREIGN KEY (user_id, webhook_id) REFERENCES webhooks (user_id, id) ON DELETE CASCADE
);
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (user_id, created_at, id);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, created_at, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE status = 'queued';

ALTER TABLE videos ADD COLUMN name TEXT NOT NULL DEFAULT '';
CREATE INDEX videos_expiring ON videos (expires_at) WHERE status = 'awaiting_upload';
CREATE INDEX videos_event ON videos (event_id);
CREATE INDEX recordings_awaiting ON recordings (updated_at) WHERE status = 'awaiting_upload';
