package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
)

const auditColumns = "id, owner_user_id, actor_user_id, actor_device_id, action, target_type, target_id, " +
	"metadata, ip_address, created_at"

// details is what an audit entry says beyond its action; never a secret.
type details map[string]any

// audit adds an entry, in the transaction that makes the change.
func audit(ctx context.Context, tx *sql.Tx, by Actor, ownerUserID, targetType, verb, targetID string, d details) error {
	var metadata []byte
	if len(d) > 0 {
		var err error
		if metadata, err = json.Marshal(d); err != nil {
			return fmt.Errorf("store: audit: %w", err)
		}
	}
	err := insert(ctx, tx, "audit_logs", auditColumns, newID(), ownerUserID, text(by.UserID), text(by.DeviceID),
		targetType+"."+verb, targetType, targetID, text(metadata), by.IP, ms(now()))
	if err != nil {
		return fmt.Errorf("store: audit: %w", err)
	}
	return nil
}
