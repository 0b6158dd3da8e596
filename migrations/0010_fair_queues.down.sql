DROP INDEX webhook_deliveries_leased;
DROP INDEX webhook_deliveries_turn;
DROP INDEX push_notifications_leased;
DROP INDEX push_notifications_turn;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at) WHERE status = 'queued';
CREATE INDEX push_notifications_due ON push_notifications (next_attempt_at) WHERE status = 'queued';
