-- People, their credentials and their sign-ins. Times are unix milliseconds.

CREATE TABLE users (
	id             TEXT    NOT NULL PRIMARY KEY,
	name           TEXT    NOT NULL,
	email          TEXT    NOT NULL UNIQUE,
	email_verified BOOLEAN NOT NULL,
	image          TEXT    NOT NULL,
	created_at     BIGINT  NOT NULL,
	updated_at     BIGINT  NOT NULL
);

CREATE TABLE accounts (
	id            TEXT   NOT NULL PRIMARY KEY,
	user_id       TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	provider_id   TEXT   NOT NULL,
	account_id    TEXT   NOT NULL,
	password_hash TEXT   NOT NULL,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL,
	UNIQUE (provider_id, account_id),
	UNIQUE (user_id, provider_id)
);

CREATE TABLE sessions (
	id           TEXT   NOT NULL PRIMARY KEY,
	user_id      TEXT   NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	token_sha256 BYTEA  NOT NULL UNIQUE,
	ip_address   TEXT   NOT NULL,
	user_agent   TEXT   NOT NULL,
	created_at   BIGINT NOT NULL,
	updated_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);

CREATE TABLE verifications (
	id         TEXT   NOT NULL PRIMARY KEY,
	identifier TEXT   NOT NULL,
	value      TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX verifications_identifier ON verifications (identifier);
