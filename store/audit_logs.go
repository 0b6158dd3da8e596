package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// AuditEntry says that something was changed, by whom and from where.
type AuditEntry struct {
	ID            string
	OwnerUserID   string // whose thing it was
	ActorUserID   string
	ActorDeviceID string
	Action        string // such as "stream.end"
	TargetType    string // such as "stream"
	TargetID      string
	Metadata      json.RawMessage
	IPAddress     string
	CreatedAt     time.Time
}

const auditColumns = "id, owner_user_id, actor_user_id, actor_device_id, action, target_type, target_id, " +
	"metadata, ip_address, created_at"

func scanAuditEntry(r row) (e AuditEntry, err error) {
	err = r.Scan(&e.ID, &e.OwnerUserID, textColumn{&e.ActorUserID}, textColumn{&e.ActorDeviceID}, &e.Action,
		&e.TargetType, &e.TargetID, jsonColumn{&e.Metadata}, &e.IPAddress, timeColumn{&e.CreatedAt})
	return e, err
}

// AuditEntries lists what was done to the user's things.
func (db *DB) AuditEntries(ctx context.Context, userID string, p Page) ([]AuditEntry, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	clauses, args := f.page(p)
	return all(ctx, db.r, scanAuditEntry, "SELECT "+auditColumns+" FROM audit_logs"+clauses, args...)
}

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
