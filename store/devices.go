package store

import (
	"context"
	"time"
)

// DeviceRole says which side of a stream a device is on.
type DeviceRole string

// The two roles.
const (
	RoleCamera DeviceRole = "camera"
	RoleClient DeviceRole = "client"
)

// DeviceStatus is a device's presence as last reported.
type DeviceStatus string

// The presence states.
const (
	DeviceOnline  DeviceStatus = "online"
	DeviceOffline DeviceStatus = "offline"
)

// RecordingPolicy says when the server records a camera.
type RecordingPolicy string

// The recording policies: never, while clients watch, or whenever it publishes.
const (
	RecordOff        RecordingPolicy = "off"
	RecordSession    RecordingPolicy = "session"
	RecordContinuous RecordingPolicy = "continuous"
)

// Device is a camera or a client that belongs to a user.
type Device struct {
	ID              string
	UserID          string
	Name            string
	Role            DeviceRole
	Status          DeviceStatus
	Platform        string
	AppVersion      string
	PushToken       string
	RecordingPolicy RecordingPolicy
	TokenKeyID      string // tokens with another key id are revoked
	LastSeenAt      time.Time
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// DeviceChange names the fields of a device to change; nil keeps a field.
type DeviceChange struct {
	Name            *string
	Role            *DeviceRole
	Platform        *string
	AppVersion      *string
	PushToken       *string
	RecordingPolicy *RecordingPolicy
}

const deviceColumns = "id, user_id, name, role, status, platform, app_version, push_token, recording_policy, " +
	"token_key_id, last_seen_at, created_at, updated_at"

// dest is where the columns of a device go.
func (d *Device) dest() []any {
	return []any{
		&d.ID, &d.UserID, &d.Name, &d.Role, &d.Status, &d.Platform, &d.AppVersion, &d.PushToken, &d.RecordingPolicy,
		&d.TokenKeyID,
		timeColumn{&d.LastSeenAt},
		timeColumn{&d.CreatedAt},
		timeColumn{&d.UpdatedAt},
	}
}

func scanDevice(r row) (d Device, err error) {
	err = r.Scan(d.dest()...)
	return d, err
}

// RegisterDevice adds a device, links it with every device of the user that
// has the opposite role, and returns those links. It returns ErrFull when the
// user has as many devices as one may have.
func (db *DB) RegisterDevice(ctx context.Context, d Device, by Actor) (links []Link, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, d.UserID); err != nil {
			return err
		}
		const devices = `SELECT COUNT(*) FROM devices WHERE user_id = $1 AND deleted_at IS NULL`
		if err := checkRoom(ctx, tx, db.limits.Devices, devices, d.UserID); err != nil {
			return err
		}
		err := insert(ctx, tx, "devices", deviceColumns, d.ID, d.UserID, d.Name, d.Role, d.Status, d.Platform,
			d.AppVersion, d.PushToken, d.RecordingPolicy, d.TokenKeyID, ms(d.LastSeenAt), ms(d.CreatedAt),
			ms(orElse(d.UpdatedAt, d.CreatedAt)))
		if err != nil {
			return err
		}
		if links, err = linkOpposites(ctx, tx, d, d.CreatedAt); err != nil {
			return err
		}
		return audit(ctx, tx, by, d.UserID, "device", "register", d.ID, details{"role": d.Role, "links": len(links)})
	})
	if err != nil {
		return nil, err
	}
	return links, nil
}

// Device returns the user's device.
func (db *DB) Device(ctx context.Context, userID, id string) (Device, error) {
	return userDevice(ctx, db.r, userID, id)
}

func userDevice(ctx context.Context, q querier, userID, id string) (Device, error) {
	const query = "SELECT " + deviceColumns + " FROM devices WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL"
	return one(ctx, q, scanDevice, query, id, userID)
}

// DeviceByID returns a device whoever owns it: it is for checking the token
// that the device itself shows.
func (db *DB) DeviceByID(ctx context.Context, id string) (Device, error) {
	const query = "SELECT " + deviceColumns + " FROM devices WHERE id = $1 AND deleted_at IS NULL"
	return one(ctx, db.r, scanDevice, query, id)
}

// DeviceFilter narrows a list of devices; the zero value does not.
type DeviceFilter struct {
	Role        DeviceRole
	OnlineSince time.Time    // what counts as online: it was seen then or later, and has not gone since
	Status      DeviceStatus // by that
	LinkedWith  string       // by an active link with this device
}

// Devices lists the user's devices that pass the filter.
func (db *DB) Devices(ctx context.Context, userID string, by DeviceFilter, p Page) ([]Device, error) {
	var f filter
	f.and("user_id = ?", userID)
	f.and("deleted_at IS NULL")
	if by.Role != "" {
		f.and("role = ?", by.Role)
	}
	switch by.Status {
	case DeviceOnline:
		f.and("status = 'online' AND last_seen_at >= ?", ms(by.OnlineSince))
	case DeviceOffline:
		f.and("(status <> 'online' OR COALESCE(last_seen_at, 0) < ?)", ms(by.OnlineSince))
	}
	if by.LinkedWith != "" {
		f.and(`id IN (SELECT CASE WHEN camera_device_id = ? THEN client_device_id ELSE camera_device_id END FROM device_links
			WHERE owner_user_id = ? AND status = 'active' AND (camera_device_id = ? OR client_device_id = ?))`,
			by.LinkedWith, userID, by.LinkedWith, by.LinkedWith)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanDevice, "SELECT "+deviceColumns+" FROM devices"+clauses, args...)
}

// UpdateDevice changes the user's device. A change of role revokes the
// device's tokens, also for the time when it has its old role again, and
// replaces its links, as relink says; it is ErrConflict while the device
// streams or publishes.
func (db *DB) UpdateDevice(ctx context.Context, userID, id string, c DeviceChange, by Actor) (d Device, err error) {
	err = db.inRevokingTx(ctx, func(tx *txn) (err error) {
		if err := lockDevices(ctx, tx, userID); err != nil {
			return err
		}
		before, err := userDevice(ctx, tx, userID, id)
		if err != nil {
			return err
		}
		d = c.apply(before)
		d.UpdatedAt = tx.now()
		if d.Role != before.Role {
			d.TokenKeyID = NewID()
			if err := relink(ctx, tx, d); err != nil {
				return err
			}
			if err := db.revokeDevice(ctx, tx, userID, id); err != nil {
				return err
			}
		}
		const query = `UPDATE devices SET name = $2, role = $3, platform = $4, app_version = $5, push_token = $6,
			recording_policy = $7, token_key_id = $8, updated_at = $9 WHERE id = $1`
		err = changeOne(ctx, tx, query, id, d.Name, d.Role, d.Platform, d.AppVersion, d.PushToken,
			d.RecordingPolicy, d.TokenKeyID, ms(d.UpdatedAt))
		if err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "device", "update", id, c.details())
	})
	return d, err
}

func (c DeviceChange) apply(d Device) Device {
	set(&d.Name, c.Name)
	set(&d.Role, c.Role)
	set(&d.Platform, c.Platform)
	set(&d.AppVersion, c.AppVersion)
	set(&d.PushToken, c.PushToken)
	set(&d.RecordingPolicy, c.RecordingPolicy)
	return d
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// details leaves the push token out: who has it can notify the device.
func (c DeviceChange) details() details {
	d := details{}
	if c.Name != nil {
		d["name"] = *c.Name
	}
	if c.Role != nil {
		d["role"] = *c.Role
	}
	if c.RecordingPolicy != nil {
		d["recordingPolicy"] = *c.RecordingPolicy
	}
	return d
}

func (db *DB) revokeDevice(ctx context.Context, tx *txn, userID, id string) error {
	return db.revoke(ctx, tx, Revocation{OwnerUserID: userID, Kind: RevokedDevice, TargetID: id})
}

// SetDeviceKey gives the user's device a new token key, so that its tokens
// with the old one are revoked, and ends what they opened: its streams and its
// media session.
func (db *DB) SetDeviceKey(ctx context.Context, userID, id, keyID string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, userID); err != nil {
			return err
		}
		at := tx.now()
		const query = `UPDATE devices SET token_key_id = $3, updated_at = $4
			WHERE id = $1 AND user_id = $2 AND deleted_at IS NULL`
		if err := changeOne(ctx, tx, query, id, userID, keyID, ms(at)); err != nil {
			return err
		}
		if err := endDevice(ctx, tx, id, ReasonDeviceRevoked, at, by); err != nil {
			return err
		}
		if err := db.revokeDevice(ctx, tx, userID, id); err != nil {
			return err
		}
		return audit(ctx, tx, by, userID, "device", "rotate_key", id, nil)
	})
}

// DeleteDevice deletes the user's device, its links and its tokens' key, ends
// its open streams and its media session, and fails the pending commands from
// it and to it. Its history stays.
func (db *DB) DeleteDevice(ctx context.Context, userID, id string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		if err := lockDevices(ctx, tx, userID); err != nil {
			return err
		}
		if _, err := userDevice(ctx, tx, userID, id); err != nil {
			return err
		}
		return db.deleteDevice(ctx, tx, userID, id, tx.now(), by)
	})
}

// deleteDevice is DeleteDevice in a transaction that holds lockDevices.
func (db *DB) deleteDevice(ctx context.Context, tx *txn, userID, id string, at time.Time, by Actor) error {
	if err := endDevice(ctx, tx, id, ReasonDeviceDeleted, at, by); err != nil {
		return err
	}
	if err := failPending(ctx, tx, ReasonDeviceDeleted, at, eitherSide, id); err != nil {
		return err
	}
	if _, err := change(ctx, tx, `DELETE FROM push_subscriptions WHERE device_id = $1`, id); err != nil {
		return err
	}
	const unlink = `DELETE FROM device_links WHERE camera_device_id = $1 OR client_device_id = $1`
	if _, err := change(ctx, tx, unlink, id); err != nil {
		return err
	}
	if err := forgetDeviceEvents(ctx, tx, id); err != nil {
		return err
	}
	const del = `UPDATE devices SET deleted_at = $2, updated_at = $2, status = 'offline', push_token = '',
		token_key_id = '' WHERE id = $1`
	if err := changeOne(ctx, tx, del, id, ms(at)); err != nil {
		return err
	}
	if err := db.revokeDevice(ctx, tx, userID, id); err != nil {
		return err
	}
	return audit(ctx, tx, by, userID, "device", "delete", id, nil)
}

// SetPresence notes that a device came or went, or still is there.
func (db *DB) SetPresence(ctx context.Context, deviceID string, status DeviceStatus, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE devices SET status = $2, last_seen_at = $3 WHERE id = $1 AND deleted_at IS NULL`
		return changeOne(ctx, tx, query, deviceID, status, ms(at))
	})
}

// lockDevices makes the transaction the only one that changes the user's
// devices, their links, streams and media sessions. Everything else locks one
// camera, so that no two transactions wait for each other.
func lockDevices(ctx context.Context, tx *txn, userID string) error {
	if err := lockUser(ctx, tx, userID); err != nil {
		return err
	}
	_, err := change(ctx, tx, `UPDATE devices SET updated_at = updated_at WHERE user_id = $1`, userID)
	return err
}

// lockCamera makes the transaction the only one that changes the streams and
// the media session of the user's camera.
func lockCamera(ctx context.Context, tx *txn, userID, id string) error {
	const query = `UPDATE devices SET updated_at = updated_at WHERE id = $1 AND user_id = $2`
	return changeOne(ctx, tx, query, id, userID)
}
