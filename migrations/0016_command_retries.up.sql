-- A dead letter may be sent to its camera again: what it is too old for is then
-- counted from queued_at, which is NULL for what was never queued again.
ALTER TABLE device_commands ADD COLUMN queued_at BIGINT;
