-- Who changed what. An entry is written by the transaction that it describes.

CREATE TABLE audit_logs (
	id              TEXT   NOT NULL PRIMARY KEY,
	owner_user_id   TEXT   NOT NULL REFERENCES users (id),
	actor_user_id   TEXT   REFERENCES users (id),
	actor_device_id TEXT   REFERENCES devices (id),
	action          TEXT   NOT NULL,
	target_type     TEXT   NOT NULL,
	target_id       TEXT   NOT NULL,
	metadata        TEXT,
	ip_address      TEXT   NOT NULL,
	created_at      BIGINT NOT NULL
);
CREATE INDEX audit_logs_list ON audit_logs (owner_user_id, created_at, id);
CREATE INDEX audit_logs_target ON audit_logs (target_type, target_id);
