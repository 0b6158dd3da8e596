package store

import (
	"context"
	"errors"
	"time"
)

// LinkStatus says whether a link may be used.
type LinkStatus string

// The link states.
const (
	LinkActive  LinkStatus = "active"
	LinkRevoked LinkStatus = "revoked"
)

// Link lets one camera and one client of the same owner talk.
type Link struct {
	ID             string
	OwnerUserID    string
	CameraDeviceID string
	ClientDeviceID string
	Status         LinkStatus
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

const linkColumns = "id, owner_user_id, camera_device_id, client_device_id, status, created_at, updated_at"

func scanLink(r row) (l Link, err error) {
	err = r.Scan(&l.ID, &l.OwnerUserID, &l.CameraDeviceID, &l.ClientDeviceID, &l.Status,
		timeColumn{&l.CreatedAt}, timeColumn{&l.UpdatedAt})
	return l, err
}

// LinkFilter narrows a list of links; empty fields do not.
type LinkFilter struct {
	DeviceID string // on either side
	Status   LinkStatus
}

// Links lists the user's links that pass the filter.
func (db *DB) Links(ctx context.Context, userID string, by LinkFilter, p Page) ([]Link, error) {
	var f filter
	f.and("owner_user_id = ?", userID)
	if by.DeviceID != "" {
		f.and("(camera_device_id = ? OR client_device_id = ?)", by.DeviceID, by.DeviceID)
	}
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	clauses, args := f.page(p)
	return all(ctx, db.r, scanLink, "SELECT "+linkColumns+" FROM device_links"+clauses, args...)
}

// Link returns the user's link, revoked or not.
func (db *DB) Link(ctx context.Context, userID, id string) (Link, error) {
	const query = "SELECT " + linkColumns + " FROM device_links WHERE id = $1 AND owner_user_id = $2"
	return one(ctx, db.r, scanLink, query, id, userID)
}

// CreateLink links a camera and a client. A revoked link of the pair becomes
// active again and keeps its id. It returns ErrConflict when the link is
// active or a device has the wrong role, and ErrNotFound when a device is not
// the owner's.
func (db *DB) CreateLink(ctx context.Context, l Link, by Actor) (made Link, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		if err := lockUser(ctx, tx, l.OwnerUserID); err != nil {
			return err
		}
		camera, err := userDevice(ctx, tx, l.OwnerUserID, l.CameraDeviceID)
		if err != nil {
			return err
		}
		client, err := userDevice(ctx, tx, l.OwnerUserID, l.ClientDeviceID)
		if err != nil {
			return err
		}
		if camera.Role != RoleCamera || client.Role != RoleClient {
			return ErrConflict
		}
		if made, err = activateLink(ctx, tx, l); err != nil {
			return err
		}
		return auditLink(ctx, tx, by, made, "create")
	})
	return made, err
}

func auditLink(ctx context.Context, tx *txn, by Actor, l Link, verb string) error {
	return audit(ctx, tx, by, l.OwnerUserID, "device_link", verb, l.ID,
		details{"cameraDeviceId": l.CameraDeviceID, "clientDeviceId": l.ClientDeviceID})
}

// activateLink makes the link of a pair active: ErrConflict if it is already.
func activateLink(ctx context.Context, tx *txn, l Link) (Link, error) {
	const upsert = `INSERT INTO device_links (` + linkColumns + `) VALUES ($1, $2, $3, $4, 'active', $5, $5)
		ON CONFLICT (camera_device_id, client_device_id)
			DO UPDATE SET status = 'active', updated_at = excluded.updated_at
			WHERE device_links.status = 'revoked'
		RETURNING ` + linkColumns
	made, err := one(ctx, tx, scanLink, upsert, l.ID, l.OwnerUserID, l.CameraDeviceID, l.ClientDeviceID, ms(l.CreatedAt))
	if errors.Is(err, ErrNotFound) {
		return Link{}, ErrConflict
	}
	return made, err
}

// linkOpposites links d with every device of its user that has the opposite
// role, but for those that it has a link with which the user revoked. The
// caller holds the user's lock.
func linkOpposites(ctx context.Context, tx *txn, d Device, at time.Time) ([]Link, error) {
	const query = `SELECT id FROM devices WHERE user_id = $1 AND role = $2 AND id <> $3 AND deleted_at IS NULL
		ORDER BY created_at, id`
	opposite := RoleCamera
	if d.Role == RoleCamera {
		opposite = RoleClient
	}
	others, err := all(ctx, tx, scanText, query, d.UserID, opposite, d.ID)
	if err != nil {
		return nil, err
	}
	links := make([]Link, 0, len(others))
	for _, other := range others {
		l := Link{ID: NewID(), OwnerUserID: d.UserID, CameraDeviceID: d.ID, ClientDeviceID: other, CreatedAt: at}
		if d.Role == RoleClient {
			l.CameraDeviceID, l.ClientDeviceID = other, d.ID
		}
		l.Status, l.UpdatedAt = LinkActive, at
		const add = `INSERT INTO device_links (` + linkColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $6)
			ON CONFLICT (camera_device_id, client_device_id) DO NOTHING`
		n, err := change(ctx, tx, add, l.ID, l.OwnerUserID, l.CameraDeviceID, l.ClientDeviceID, l.Status, ms(at))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			links = append(links, l)
		}
	}
	return links, nil
}

// relink replaces the links of a device whose role changed: those that were
// active go, since their sides fit no more, and it is linked as if it had been
// registered in its new role. A link that the user revoked stays, and so the
// pair stays apart however often roles change. The caller holds the lock on
// the user's devices.
func relink(ctx context.Context, tx *txn, d Device) error {
	const busy = `SELECT EXISTS (SELECT 1 FROM stream_sessions
			WHERE (camera_device_id = $1 OR requester_device_id = $1) AND status IN ('requested', 'streaming'))
		OR EXISTS (SELECT 1 FROM media_sessions WHERE camera_device_id = $1 AND ended_at IS NULL)`
	var streaming bool
	if err := tx.QueryRowContext(ctx, busy, d.ID).Scan(&streaming); err != nil {
		return err
	}
	if streaming {
		return ErrConflict
	}
	const unlink = `DELETE FROM device_links WHERE (camera_device_id = $1 OR client_device_id = $1) AND status = 'active'`
	if _, err := change(ctx, tx, unlink, d.ID); err != nil {
		return err
	}
	if err := failPending(ctx, tx, ReasonLinkRevoked, d.UpdatedAt, eitherSide, d.ID); err != nil {
		return err
	}
	_, err := linkOpposites(ctx, tx, d, d.UpdatedAt)
	return err
}

// RevokeLink revokes the user's link, ends the open streams over it and fails
// its pending commands. It returns ErrConflict when the link is revoked already.
func (db *DB) RevokeLink(ctx context.Context, userID, id string, by Actor) error {
	return db.inRevokingTx(ctx, func(tx *txn) error {
		const query = "SELECT " + linkColumns + " FROM device_links WHERE id = $1 AND owner_user_id = $2"
		l, err := one(ctx, tx, scanLink, query, id, userID)
		if err != nil {
			return err
		}
		if err := lockCamera(ctx, tx, userID, l.CameraDeviceID); err != nil {
			return err
		}
		at := tx.now()
		const deactivate = `UPDATE device_links SET status = 'revoked', updated_at = $2 WHERE id = $1 AND status = 'active'`
		switch n, err := change(ctx, tx, deactivate, id, ms(at)); {
		case err != nil:
			return err
		case n == 0:
			return ErrConflict
		}
		const open = "SELECT " + streamColumns + ` FROM stream_sessions
			WHERE camera_device_id = $1 AND requester_device_id = $2 AND status IN ('requested', 'streaming')`
		streams, err := all(ctx, tx, scanStream, open, l.CameraDeviceID, l.ClientDeviceID)
		if err != nil {
			return err
		}
		for _, s := range streams {
			if _, _, err := endStream(ctx, tx, s, StreamCompleted, ReasonLinkRevoked, at, by); err != nil {
				return err
			}
		}
		const between = `target_device_id = $3 AND source_device_id = $4`
		err = failPending(ctx, tx, ReasonLinkRevoked, at, between, l.CameraDeviceID, l.ClientDeviceID)
		if err != nil {
			return err
		}
		err = db.revoke(ctx, tx, Revocation{
			OwnerUserID: userID, Kind: RevokedLink, TargetID: id,
			CameraDeviceID: l.CameraDeviceID, ClientDeviceID: l.ClientDeviceID,
		})
		if err != nil {
			return err
		}
		return auditLink(ctx, tx, by, l, "revoke")
	})
}

// ActiveLink returns the active link of the pair, or ErrNotFound.
func (db *DB) ActiveLink(ctx context.Context, cameraID, clientID string) (Link, error) {
	return activeLink(ctx, db.r, cameraID, clientID)
}

func activeLink(ctx context.Context, q querier, cameraID, clientID string) (Link, error) {
	const query = "SELECT " + linkColumns + ` FROM device_links
		WHERE camera_device_id = $1 AND client_device_id = $2 AND status = 'active'`
	return one(ctx, q, scanLink, query, cameraID, clientID)
}
