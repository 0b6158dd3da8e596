package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"
)

const auditColumns = "id, owner_user_id, actor_user_id, actor_device_id, action, target_type, target_id, " +
	"metadata, ip_address, created_at"

// details is what an audit entry says beyond its action; never a secret.
type details map[string]any

// audit adds an entry, in the transaction that makes the change.
func audit(ctx context.Context, tx *txn, by Actor, ownerUserID, targetType, verb, targetID string, d details) error {
	var metadata []byte
	if by.Admin != "" {
		d = maps.Clone(d)
		if d == nil {
			d = details{}
		}
		d["admin"] = by.Admin
	}
	if len(d) > 0 {
		var err error
		if metadata, err = json.Marshal(d); err != nil {
			return fmt.Errorf("store: audit: %w", err)
		}
	}
	err := insert(ctx, tx, "audit_logs", auditColumns, NewID(), ownerUserID, text(by.UserID), text(by.DeviceID),
		targetType+"."+verb, targetType, targetID, text(metadata), by.IP, ms(tx.now()))
	if err != nil {
		return fmt.Errorf("store: audit: %w", err)
	}
	return nil
}

// AuditEntry says that something was done, by whom and from where.
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

func scanAuditEntry(r row) (e AuditEntry, err error) {
	err = r.Scan(&e.ID, &e.OwnerUserID, textColumn{&e.ActorUserID}, textColumn{&e.ActorDeviceID}, &e.Action,
		&e.TargetType, &e.TargetID, jsonColumn{&e.Metadata}, &e.IPAddress, timeColumn{&e.CreatedAt})
	return e, err
}

// AuditFilter narrows a list of audit entries; what is empty does not.
type AuditFilter struct {
	Action        string // whole, "stream.end", or all of a kind, "stream."
	TargetType    string
	TargetID      string
	ActorDeviceID string
	DeviceID      string // what this device did, and what was done to it
	Since, Until  time.Time
}

// AuditEntries lists what was done to the user's things, or with an empty
// userID to anybody's.
func (db *DB) AuditEntries(ctx context.Context, userID string, a AuditFilter, p Page) ([]AuditEntry, error) {
	var f filter
	for _, c := range []struct{ condition, value string }{
		{"owner_user_id = ?", userID},
		{"target_type = ?", a.TargetType},
		{"target_id = ?", a.TargetID},
		{"actor_device_id = ?", a.ActorDeviceID},
	} {
		if c.value != "" {
			f.and(c.condition, c.value)
		}
	}
	switch {
	case strings.HasSuffix(a.Action, "."):
		f.and("substr(action, 1, ?) = ?", len(a.Action), a.Action)
	case a.Action != "":
		f.and("action = ?", a.Action)
	}
	if a.DeviceID != "" {
		f.and("(actor_device_id = ? OR target_id = ?)", a.DeviceID, a.DeviceID)
	}
	if !a.Since.IsZero() {
		f.and("created_at >= ?", ms(a.Since))
	}
	if !a.Until.IsZero() {
		f.and("created_at < ?", ms(a.Until))
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanAuditEntry, "SELECT "+auditColumns+" FROM audit_logs"+clauses, args...)
}

// What somebody got to see, which changes no row but the audit's.
const (
	AuditWatch    = "watch"    // a media session, live
	AuditDownload = "download" // a URL of a file, or the file, to look at or to keep
	// AuditDeleteFile is the administrator's: the object goes, its row stays.
	AuditDeleteFile = "delete_file"
)

// NoteAccess writes that somebody got to see a thing of a user: target is its
// type, such as "recording", and details says more.
func (db *DB) NoteAccess(ctx context.Context, by Actor, ownerUserID, target, verb, id string, d map[string]any) error {
	return db.inTx(ctx, func(tx *txn) error { return audit(ctx, tx, by, ownerUserID, target, verb, id, d) })
}
