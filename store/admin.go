package store

import (
	"context"
	"strings"
	"time"
)

// What follows is for the administrator of the server: it looks at everybody's
// rows. Changes go through the methods that users' changes go through.

// UserSummary is a user as the administrator sees one.
type UserSummary struct {
	User
	DisabledAt time.Time // zero for one who may sign in
	Devices    int
	Sessions   int
	LastSeenAt time.Time // of a session or a device; zero for never
}

// AllUsers lists users whose address or name contains text, in any case.
func (db *DB) AllUsers(ctx context.Context, text string, p Page) ([]UserSummary, error) {
	scan := func(r row) (u UserSummary, err error) {
		err = r.Scan(append(u.dest(), timeColumn{&u.DisabledAt}, &u.Devices, &u.Sessions, timeColumn{&u.LastSeenAt})...)
		return u, err
	}
	var f filter
	f.and("deleted_at IS NULL")
	if text = strings.ToLower(text); text != "" {
		f.and("(email LIKE ? ESCAPE '!' OR LOWER(name) LIKE ? ESCAPE '!')", like(text), like(text))
	}
	clauses, args := f.page(p)
	query := "SELECT " + userColumns + `, disabled_at,
			(SELECT COUNT(*) FROM devices d WHERE d.user_id = users.id AND d.deleted_at IS NULL),
			(SELECT COUNT(*) FROM sessions s WHERE s.user_id = users.id),
			(SELECT MAX(seen) FROM (
				SELECT updated_at AS seen FROM sessions s WHERE s.user_id = users.id
				UNION ALL SELECT last_seen_at FROM devices d WHERE d.user_id = users.id AND d.deleted_at IS NULL) AS times)
		FROM users` + clauses
	return all(ctx, db.r, scan, query, args...)
}

// like returns a pattern for LIKE … ESCAPE '!' that finds text.
func like(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
}

// DeviceSummary is a device as the administrator sees one.
type DeviceSummary struct {
	Device
	UserEmail string
}

func scanDeviceSummary(r row) (d DeviceSummary, err error) {
	err = r.Scan(append(d.dest(), &d.UserEmail)...)
	return d, err
}

const deviceSummary = "SELECT " + deviceColumns + ", (SELECT u.email FROM users u WHERE u.id = devices.user_id) FROM devices"

// LiveDevices returns the devices that publish, watch, or have asked to.
func (db *DB) LiveDevices(ctx context.Context) ([]DeviceSummary, error) {
	const query = deviceSummary + ` WHERE id IN (
		SELECT camera_device_id FROM media_sessions WHERE ended_at IS NULL
		UNION SELECT camera_device_id FROM stream_sessions WHERE status IN ('requested', 'streaming')
		UNION SELECT requester_device_id FROM stream_sessions WHERE status IN ('requested', 'streaming'))`
	return all(ctx, db.r, scanDeviceSummary, query)
}

// AllDevices lists devices, those of one user unless userID is empty.
func (db *DB) AllDevices(ctx context.Context, userID string, p Page) ([]DeviceSummary, error) {
	var f filter
	f.and("deleted_at IS NULL")
	if userID != "" {
		f.and("user_id = ?", userID)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanDeviceSummary, deviceSummary+clauses, args...)
}

// Totals counts what there is, for the administrator's first look.
type Totals struct {
	Users, Devices, Online, Streams, MediaSessions, Recordings int
	RecordedBytes                                              int64
}

// Totals counts what there is. A device is online if it was seen since.
func (db *DB) Totals(ctx context.Context, since time.Time) (Totals, error) {
	const query = `SELECT (SELECT COUNT(*) FROM users WHERE deleted_at IS NULL), (SELECT COUNT(*) FROM devices WHERE deleted_at IS NULL),
		(SELECT COUNT(*) FROM devices WHERE deleted_at IS NULL AND status = 'online' AND last_seen_at >= $1),
		(SELECT COUNT(*) FROM stream_sessions WHERE status IN ('requested', 'streaming')),
		(SELECT COUNT(*) FROM media_sessions WHERE ended_at IS NULL), (SELECT COUNT(*) FROM recordings),
		CAST((SELECT COALESCE(SUM(size), 0) FROM recordings) AS BIGINT)`
	return one(ctx, db.r, func(r row) (t Totals, err error) {
		err = r.Scan(&t.Users, &t.Devices, &t.Online, &t.Streams, &t.MediaSessions, &t.Recordings, &t.RecordedBytes)
		return t, err
	}, query, ms(since))
}
