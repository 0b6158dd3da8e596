DROP TABLE push_notifications;
DROP TABLE notifications;
DROP TABLE videos;
DROP TABLE events;
