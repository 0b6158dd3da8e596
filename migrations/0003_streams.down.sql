DROP TABLE recordings;
DROP TABLE stream_sessions;
DROP TABLE media_sessions;
