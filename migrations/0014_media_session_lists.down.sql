DROP INDEX media_sessions_camera;
DROP INDEX media_sessions_list;
