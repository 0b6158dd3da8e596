-- Who claims a job is known by a number that does not come back as long as the
-- job is there. That of the attempt does, when a dead letter begins anew, and
-- whoever had stood still since then settled what was another one's by now.
ALTER TABLE push_notifications ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhook_deliveries ADD COLUMN claims BIGINT NOT NULL DEFAULT 0;
