-- Lists of media sessions, newest first.
CREATE INDEX media_sessions_list ON media_sessions (owner_user_id, created_at, id);
CREATE INDEX media_sessions_camera ON media_sessions (camera_device_id, created_at, id);
