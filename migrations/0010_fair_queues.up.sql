-- Queues are claimed fairly: which recipients wait, and how much of a
-- recipient's and of a user's is being sent, must be found without reading
-- what one of them has queued.
DROP INDEX push_notifications_due;
DROP INDEX webhook_deliveries_due;
CREATE INDEX push_notifications_turn ON push_notifications (recipient_device_id, next_attempt_at, id) WHERE status = 'queued';
CREATE INDEX push_notifications_leased ON push_notifications (owner_user_id, recipient_device_id) WHERE leased;
CREATE INDEX webhook_deliveries_turn ON webhook_deliveries (webhook_id, next_attempt_at, id) WHERE status = 'queued';
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (user_id, webhook_id) WHERE leased;
