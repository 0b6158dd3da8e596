ALTER TABLE device_commands DROP COLUMN attempt;
DROP TABLE device_events;
DROP TABLE device_event_heads;
