-- Second factors, passkeys and what proves that an address is a person's. A
-- deleted user keeps an empty row for the history that points at it.

ALTER TABLE users ADD COLUMN two_factor_enabled BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN deleted_at BIGINT;

-- Identifiers are kept as digests, so that who reads the table can use none.
DROP INDEX verifications_identifier;
DROP TABLE verifications;
CREATE TABLE verifications (
	identifier TEXT   NOT NULL PRIMARY KEY,
	user_id    TEXT   REFERENCES users (id) ON DELETE CASCADE, -- empty for a passkey that nobody has named yet
	value      TEXT   NOT NULL,
	attempts   BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX verifications_user ON verifications (user_id);
CREATE INDEX verifications_expiry ON verifications (expires_at);

CREATE TABLE two_factors (
	user_id       TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
	secret        TEXT    NOT NULL, -- sealed
	verified      BOOLEAN NOT NULL,
	last_step     BIGINT  NOT NULL, -- the last time step whose code was used: codes count once
	failures      BIGINT  NOT NULL, -- in a row
	locked_until  BIGINT,
	created_at    BIGINT  NOT NULL,
	updated_at    BIGINT  NOT NULL
);

CREATE TABLE backup_codes (
	user_id TEXT NOT NULL REFERENCES two_factors (user_id) ON DELETE CASCADE,
	digest  TEXT NOT NULL,
	PRIMARY KEY (user_id, digest)
);

CREATE TABLE passkeys (
	id            TEXT    NOT NULL PRIMARY KEY,
	user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name          TEXT    NOT NULL,
	credential_id TEXT    NOT NULL UNIQUE, -- base64url
	credential    TEXT    NOT NULL,        -- JSON
	sign_count    BIGINT  NOT NULL,
	created_at    BIGINT  NOT NULL,
	last_used_at  BIGINT
);
CREATE INDEX passkeys_user ON passkeys (user_id);
