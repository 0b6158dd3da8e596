-- Cameras publishing, clients watching, and what was recorded of it.

CREATE TABLE media_sessions (
	id               TEXT    NOT NULL PRIMARY KEY,
	owner_user_id    TEXT    NOT NULL,
	camera_device_id TEXT    NOT NULL,
	node_id          TEXT    NOT NULL,
	continuous       BOOLEAN NOT NULL,
	end_reason       TEXT    NOT NULL,
	renewed_at       BIGINT  NOT NULL,
	created_at       BIGINT  NOT NULL,
	ended_at         BIGINT,
	UNIQUE (camera_device_id, id),
	FOREIGN KEY (owner_user_id, camera_device_id) REFERENCES devices (user_id, id)
);
-- A camera publishes once, however many clients watch it.
CREATE UNIQUE INDEX media_sessions_open ON media_sessions (camera_device_id) WHERE ended_at IS NULL;
CREATE INDEX media_sessions_node ON media_sessions (node_id) WHERE ended_at IS NULL;

CREATE TABLE stream_sessions (
	id                  TEXT   NOT NULL PRIMARY KEY,
	owner_user_id       TEXT   NOT NULL,
	camera_device_id    TEXT   NOT NULL,
	requester_device_id TEXT   NOT NULL,
	status              TEXT   NOT NULL CHECK (status IN ('requested', 'streaming', 'completed', 'cancelled', 'failed')),
	reason              TEXT   NOT NULL,
	media_provider      TEXT   NOT NULL,
	media_session_id    TEXT,
	command_id          TEXT   REFERENCES device_commands (id), -- wakes the camera, fails with the stream
	stream_key          TEXT   NOT NULL,
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL,
	started_at          BIGINT,
	ended_at            BIGINT,
	UNIQUE (camera_device_id, id),
	CHECK ((media_session_id IS NULL) = (started_at IS NULL)),
	CHECK (status NOT IN ('streaming', 'completed') OR started_at IS NOT NULL),
	CHECK (status NOT IN ('requested', 'cancelled') OR started_at IS NULL),
	CHECK ((status IN ('requested', 'streaming')) = (ended_at IS NULL)),
	FOREIGN KEY (owner_user_id, camera_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (owner_user_id, requester_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (camera_device_id, media_session_id) REFERENCES media_sessions (camera_device_id, id)
);
CREATE UNIQUE INDEX stream_sessions_open ON stream_sessions (requester_device_id, camera_device_id)
	WHERE status IN ('requested', 'streaming');
CREATE INDEX stream_sessions_list ON stream_sessions (owner_user_id, created_at, id);
CREATE INDEX stream_sessions_camera ON stream_sessions (camera_device_id, created_at, id);
CREATE INDEX stream_sessions_requester ON stream_sessions (requester_device_id, created_at, id);
CREATE INDEX stream_sessions_media ON stream_sessions (media_session_id);

CREATE TABLE recordings (
	id                  TEXT   NOT NULL PRIMARY KEY,
	owner_user_id       TEXT   NOT NULL,
	camera_device_id    TEXT   NOT NULL,
	requester_device_id TEXT,
	stream_session_id   TEXT,
	media_session_id    TEXT,
	node_id             TEXT   NOT NULL,
	status              TEXT   NOT NULL CHECK (status IN ('recording', 'awaiting_upload', 'ready', 'failed')),
	object_key          TEXT   NOT NULL UNIQUE,
	bucket              TEXT   NOT NULL,
	content_type        TEXT   NOT NULL,
	duration_ms         BIGINT NOT NULL CHECK (duration_ms >= 0),
	size                BIGINT NOT NULL CHECK (size >= 0),
	error               TEXT   NOT NULL,
	started_at          BIGINT,
	ended_at            BIGINT,
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL,
	FOREIGN KEY (owner_user_id, camera_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (owner_user_id, requester_device_id) REFERENCES devices (user_id, id),
	FOREIGN KEY (camera_device_id, stream_session_id) REFERENCES stream_sessions (camera_device_id, id),
	FOREIGN KEY (camera_device_id, media_session_id) REFERENCES media_sessions (camera_device_id, id)
);
CREATE INDEX recordings_list ON recordings (owner_user_id, created_at, id);
CREATE INDEX recordings_camera ON recordings (camera_device_id, created_at, id);
CREATE INDEX recordings_requester ON recordings (requester_device_id, created_at, id);
CREATE INDEX recordings_stream ON recordings (stream_session_id);
CREATE INDEX recordings_unfinished ON recordings (node_id) WHERE status = 'recording';
