-- What cameras saw, the files that users' devices uploaded, and who was told.

CREATE TABLE events (
	id           TEXT   NOT NULL PRIMARY KEY,
	user_id      TEXT   NOT NULL,
	device_id    TEXT   NOT NULL,
	status       TEXT   NOT NULL CHECK (status IN ('active', 'ended')),
	triggered_by TEXT   NOT NULL,
	video_url    TEXT   NOT NULL,
	started_at   BIGINT NOT NULL,
	ended_at     BIGINT,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	CHECK ((status = 'active') = (ended_at IS NULL)),
	FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX events_list ON events (user_id, created_at, id);
CREATE INDEX events_device ON events (device_id, created_at, id);

CREATE TABLE videos (
	id           TEXT   NOT NULL PRIMARY KEY,
	user_id      TEXT   NOT NULL REFERENCES users (id),
	device_id    TEXT,
	event_id     TEXT   REFERENCES events (id),
	status       TEXT   NOT NULL CHECK (status IN ('awaiting_upload', 'ready', 'failed')),
	object_key   TEXT   NOT NULL UNIQUE,
	bucket       TEXT   NOT NULL,
	content_type TEXT   NOT NULL,
	size         BIGINT NOT NULL CHECK (size >= 0),
	expires_at   BIGINT,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX videos_list ON videos (user_id, created_at, id);

CREATE TABLE notifications (
	id                  TEXT   NOT NULL PRIMARY KEY,
	user_id             TEXT   NOT NULL,
	event_id            TEXT   NOT NULL REFERENCES events (id),
	recipient_device_id TEXT   NOT NULL,
	status              TEXT   NOT NULL CHECK (status IN ('sent', 'delivered', 'read')),
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL,
	UNIQUE (event_id, recipient_device_id),
	FOREIGN KEY (user_id, recipient_device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX notifications_list ON notifications (user_id, created_at, id);

CREATE TABLE push_notifications (
	id                  TEXT   NOT NULL PRIMARY KEY,
	owner_user_id       TEXT   NOT NULL,
	recipient_device_id TEXT   NOT NULL,
	type                TEXT   NOT NULL,
	payload             TEXT   NOT NULL,
	status              TEXT   NOT NULL CHECK (status IN ('queued', 'sent', 'failed')),
	attempts            BIGINT NOT NULL,
	error               TEXT   NOT NULL,
	next_attempt_at     BIGINT,
	sent_at             BIGINT,
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL,
	FOREIGN KEY (owner_user_id, recipient_device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX push_notifications_list ON push_notifications (owner_user_id, created_at, id);
CREATE INDEX push_notifications_due ON push_notifications (next_attempt_at) WHERE status = 'queued';
