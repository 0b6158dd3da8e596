-- Cameras and clients, which of them may talk, and what they tell each other.
-- A deleted device keeps its row for the history that points at it. Foreign
-- keys carry the owner, so that no row can join two users' devices.

CREATE TABLE devices (
	id               TEXT   NOT NULL PRIMARY KEY,
	user_id          TEXT   NOT NULL REFERENCES users (id),
	name             TEXT   NOT NULL,
	role             TEXT   NOT NULL CHECK (role IN ('camera', 'client')),
	status           TEXT   NOT NULL CHECK (status IN ('online', 'offline')),
	platform         TEXT   NOT NULL,
	app_version      TEXT   NOT NULL,
	push_token       TEXT   NOT NULL,
	recording_policy TEXT   NOT NULL CHECK (recording_policy IN ('off', 'session', 'continuous')),
	token_key_id     TEXT   NOT NULL,
	last_seen_at     BIGINT,
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	deleted_at       BIGINT,
	UNIQUE (user_id, id)
);
CREATE INDEX devices_list ON devices (user_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE device_links (
	id               TEXT   NOT NULL PRIMARY KEY,
	owner_user_id    TEXT   NOT NULL,
	camera_device_id TEXT   NOT NULL,
	client_device_id TEXT   NOT NULL,
	status           TEXT   NOT NULL CHECK (status IN ('active', 'revoked')),
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	UNIQUE (camera_device_id, client_device_id),
	CHECK (camera_device_id <> client_device_id),
	FOREIGN KEY (owner_user_id, camera_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (owner_user_id, client_device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX device_links_list ON device_links (owner_user_id, created_at, id);
CREATE INDEX device_links_client ON device_links (client_device_id);

CREATE TABLE device_commands (
	id               TEXT   NOT NULL PRIMARY KEY,
	owner_user_id    TEXT   NOT NULL,
	source_device_id TEXT   NOT NULL,
	target_device_id TEXT   NOT NULL,
	command_type     TEXT   NOT NULL,
	payload          TEXT,
	status           TEXT   NOT NULL CHECK (status IN ('queued', 'sent', 'acknowledged', 'rejected', 'failed')),
	retry_count      BIGINT NOT NULL,
	result           TEXT,
	error            TEXT   NOT NULL,
	sent_at          BIGINT,
	ack_at           BIGINT,
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	FOREIGN KEY (owner_user_id, source_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (owner_user_id, target_device_id) REFERENCES devices (user_id, id)
);
CREATE INDEX device_commands_list ON device_commands (owner_user_id, created_at, id);
CREATE INDEX device_commands_source ON device_commands (source_device_id, created_at, id);
CREATE INDEX device_commands_target ON device_commands (target_device_id, created_at, id);
CREATE INDEX device_commands_pending ON device_commands (target_device_id, created_at, id)
	WHERE status IN ('queued', 'sent');
