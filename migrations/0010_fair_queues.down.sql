DROP INDEX webhook_deliveries_leased;
DROP INDEX webhook_deliveries_turn;
DROP INDEX push_notifications_leased;
DROP INDEX push_notifications_turn;
