-- Who claims a job is known by a number that never comes back. That of the
-- attempt does, when a dead letter begins anew, and whoever had stood still
-- since then settled what was another one's by now.
ALTER TABLE push_notifications ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhook_deliveries ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
