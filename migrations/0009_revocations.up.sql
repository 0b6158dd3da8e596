-- Who lost a right and when. A row is written by the transaction that takes
-- the right away; every process reads it and ends what the right had opened.
-- It has no foreign key: it outlives what it is about, for some days.

CREATE TABLE revocations (
	id               TEXT   NOT NULL PRIMARY KEY,
	owner_user_id    TEXT   NOT NULL,
	kind             TEXT   NOT NULL CHECK (kind IN ('user', 'session', 'device', 'link')),
	target_id        TEXT   NOT NULL,
	camera_device_id TEXT   NOT NULL,
	client_device_id TEXT   NOT NULL,
	created_at       BIGINT NOT NULL
);
CREATE INDEX revocations_created ON revocations (created_at, id);

-- A disabled user keeps everything and gets in nowhere.
ALTER TABLE users ADD COLUMN disabled_at BIGINT;
