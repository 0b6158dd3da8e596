-- What was told to a device, so that it can hear what it missed while it was
-- away. The head outlives the events: it numbers them without a hole.

CREATE TABLE device_event_heads (
	device_id TEXT   NOT NULL PRIMARY KEY REFERENCES devices (id),
	seq       BIGINT NOT NULL
);

CREATE TABLE device_events (
	device_id  TEXT   NOT NULL REFERENCES devices (id),
	seq        BIGINT NOT NULL,
	event      TEXT   NOT NULL,
	data       TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (device_id, seq)
);

-- The number of times that some process has set out to deliver a command: who
-- knows the last one may do it.
ALTER TABLE device_commands ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0;
