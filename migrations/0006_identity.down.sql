DROP TABLE passkeys;
DROP TABLE backup_codes;
DROP TABLE two_factors;
DROP TABLE verifications;
CREATE TABLE verifications (
	id         TEXT   NOT NULL PRIMARY KEY,
	identifier TEXT   NOT NULL,
	value      TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);
CREATE INDEX verifications_identifier ON verifications (identifier);
ALTER TABLE users DROP COLUMN deleted_at;
ALTER TABLE users DROP COLUMN two_factor_enabled;
