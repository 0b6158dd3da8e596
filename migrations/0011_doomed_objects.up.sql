-- Objects whose rows are deleted while a URL to upload them may still work:
-- they are deleted once more, when it cannot any longer.
CREATE TABLE doomed_objects (
	object_key TEXT   NOT NULL PRIMARY KEY,
	due_at     BIGINT NOT NULL
);
CREATE INDEX doomed_objects_due ON doomed_objects (due_at, object_key);
