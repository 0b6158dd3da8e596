ALTER TABLE device_commands DROP COLUMN queued_at;
