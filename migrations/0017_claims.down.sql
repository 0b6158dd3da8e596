ALTER TABLE webhook_deliveries DROP COLUMN claims;
ALTER TABLE push_notifications DROP COLUMN claims;
