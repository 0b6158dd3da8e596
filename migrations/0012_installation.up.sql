-- What tells this database from any other, for processes that meet on one bus.
CREATE TABLE installation (
	one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
	id  TEXT    NOT NULL
);
