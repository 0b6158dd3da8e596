package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// EventStatus says whether a camera still sees what an event is about.
type EventStatus string

// The event states: active -> ended.
const (
	EventActive EventStatus = "active"
	EventEnded  EventStatus = "ended"
)

// Event is something that a camera saw. While it is active, UpdatedAt is when
// the camera last said so.
type Event struct {
	ID           string
	UserID       string
	DeviceID     string // the camera
	Status       EventStatus
	TriggeredBy  string
	VideoURL     string // of the video that was uploaded for it, empty for none
	ThumbnailKey string // of the object, empty for none
	StartedAt    time.Time
	EndedAt      time.Time
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

// EventFilter narrows a list of events; empty fields do not.
type EventFilter struct {
	CameraDeviceID string
	DeviceID       string // the camera, or a client that has an active link with it
	Status         EventStatus
	TriggeredBy    string
	Since, Until   time.Time // of StartedAt: from Since, before Until
}

const eventColumns = "id, user_id, device_id, status, triggered_by, video_url, thumbnail_key, started_at, ended_at, " +
	"created_at, updated_at"

func scanEvent(r row) (e Event, err error) {
	err = r.Scan(&e.ID, &e.UserID, &e.DeviceID, &e.Status, &e.TriggeredBy, &e.VideoURL, &e.ThumbnailKey,
		timeColumn{&e.StartedAt}, timeColumn{&e.EndedAt}, timeColumn{&e.CreatedAt}, timeColumn{&e.UpdatedAt})
	return e, err
}

// Message is what devices and webhooks are told of a change.
type Message struct {
	Type    string
	Payload json.RawMessage
	// Key, unless empty, names what the message is about: however often it is
	// queued, by whichever process, it is sent once.
	Key string
}

// StartedEvent is what StartEvent made.
type StartedEvent struct {
	Event         Event
	Notifications []Notification // one of each client that is linked with the camera
	Pushes        []Push         // to those of them that subscribed; due after the grace
}

// StartEvent adds an active event of a camera, a notification for each client
// that has an active link with the camera, a push for those of them whose
// browser subscribed, and what the user's webhooks are to be sent. The pushes
// are due at grace: DeliverEvent settles them before, or the process that was
// to do so has died. A subscription that comes later is for later events.
//
// When the camera has an active event already, that one is renewed and
// returned with ErrConflict.
func (db *DB) StartEvent(ctx context.Context, e Event, m Message, grace time.Time, by Actor) (made StartedEvent, err error) {
	var running bool
	err = db.inTx(ctx, func(tx *txn) error {
		made, running = StartedEvent{}, false
		if err := lockCamera(ctx, tx, e.UserID, e.DeviceID); err != nil {
			return err
		}
		const renew = `UPDATE events SET updated_at = $2 WHERE device_id = $1 AND status = 'active' RETURNING ` + eventColumns
		active, err := one(ctx, tx, scanEvent, renew, e.DeviceID, ms(e.StartedAt))
		if err == nil {
			made.Event, running = active, true
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		e.Status, e.CreatedAt, e.UpdatedAt = EventActive, e.StartedAt, e.StartedAt
		if err := insertEvent(ctx, tx, e); err != nil {
			return err
		}
		if err := claimObject(ctx, tx, e.ThumbnailKey); err != nil {
			return err
		}
		made.Event = e
		if err := notifyClients(ctx, tx, &made, m, grace); err != nil {
			return err
		}
		if err := insertDeliveries(ctx, tx, e.UserID, m, e.StartedAt); err != nil {
			return err
		}
		return audit(ctx, tx, by, e.UserID, "event", "start", e.ID,
			details{"deviceId": e.DeviceID, "triggeredBy": e.TriggeredBy, "recipients": len(made.Notifications)})
	})
	if err == nil && running {
		return made, ErrConflict
	}
	return made, err
}

func insertEvent(ctx context.Context, tx *txn, e Event) error {
	return insert(ctx, tx, "events", eventColumns, e.ID, e.UserID, e.DeviceID, e.Status, e.TriggeredBy, e.VideoURL,
		e.ThumbnailKey, ms(e.StartedAt), ms(e.EndedAt), ms(e.CreatedAt), ms(e.UpdatedAt))
}

// audience is a client that is told of an event.
type audience struct {
	id         string
	subscribed bool
}

func scanAudience(r row) (a audience, err error) {
	err = r.Scan(&a.id, &a.subscribed)
	return a, err
}

// notifyClients adds the notifications and pushes of a new event.
func notifyClients(ctx context.Context, tx *txn, made *StartedEvent, m Message, grace time.Time) error {
	e := made.Event
	const linked = `SELECT client_device_id,
			EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.device_id = client_device_id AND s.user_id = owner_user_id)
		FROM device_links WHERE camera_device_id = $1 AND status = 'active' ORDER BY id`
	clients, err := all(ctx, tx, scanAudience, linked, e.DeviceID)
	if err != nil {
		return err
	}
	for _, client := range clients {
		n := Notification{
			ID: NewID(), UserID: e.UserID, EventID: e.ID, RecipientDeviceID: client.id, Status: NotificationSent,
			CreatedAt: e.CreatedAt, UpdatedAt: e.CreatedAt,
		}
		if err := insertNotification(ctx, tx, n); err != nil {
			return err
		}
		made.Notifications = append(made.Notifications, n)
		if !client.subscribed {
			continue
		}
		p := Push{
			ID: NewID(), OwnerUserID: e.UserID, RecipientDeviceID: client.id, EventID: e.ID, Type: m.Type, Payload: m.Payload,
			Status: WorkQueued, NextAttemptAt: grace, CreatedAt: e.CreatedAt, UpdatedAt: e.CreatedAt,
		}
		if err := insertPush(ctx, tx, p); err != nil {
			return err
		}
		made.Pushes = append(made.Pushes, p)
	}
	return nil
}

// DeliverEvent settles the pushes of a new event: those of devices that got it
// by the gateway are taken back, the others are due at once.
func (db *DB) DeliverEvent(ctx context.Context, eventID string, delivered []string, at time.Time) error {
	return db.inTx(ctx, func(tx *txn) error {
		for _, device := range delivered {
			const unneeded = `DELETE FROM push_notifications WHERE event_id = $1 AND recipient_device_id = $2
				AND status = 'queued' AND attempts = 0`
			if _, err := change(ctx, tx, unneeded, eventID, device); err != nil {
				return err
			}
			if err := markDelivered(ctx, tx, eventID, device, at); err != nil {
				return err
			}
		}
		const due = `UPDATE push_notifications SET next_attempt_at = $2 WHERE event_id = $1 AND status = 'queued' AND attempts = 0`
		_, err := change(ctx, tx, due, eventID, ms(at))
		return err
	})
}

// EndEvent ends the camera's active event, whichever it is when id is empty,
// and adds what the user's webhooks are to be sent: message gets the event as
// it is afterwards. It returns ErrConflict when the event has ended before, and
// ErrNotFound when there is no such event.
func (db *DB) EndEvent(
	ctx context.Context, cameraID, id string, at time.Time, message func(Event) (Message, error), by Actor,
) (e Event, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE events SET status = 'ended', ended_at = CASE WHEN started_at > $3 THEN started_at ELSE $3 END,
			updated_at = $3 WHERE device_id = $1 AND ($2 = '' OR id = $2) AND status = 'active' RETURNING ` + eventColumns
		e, err = one(ctx, tx, scanEvent, query, cameraID, id, ms(at))
		if errors.Is(err, ErrNotFound) && id != "" {
			return conflictIf(ctx, tx, `SELECT id FROM events WHERE id = $1 AND device_id = $2`, id, cameraID)
		}
		if err != nil {
			return err
		}
		return eventEnded(ctx, tx, e, at, message, "", by)
	})
	return e, err
}

// EndStaleEvents ends at most limit active events that their cameras have not
// renewed since before, at the time when they last did, and returns them.
func (db *DB) EndStaleEvents(
	ctx context.Context, before, at time.Time, limit int, message func(Event) (Message, error),
) (ended []Event, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		const query = `UPDATE events SET status = 'ended', updated_at = $2,
				ended_at = CASE WHEN started_at > updated_at THEN started_at ELSE updated_at END
			WHERE id IN (SELECT id FROM events WHERE status = 'active' AND updated_at < $1 ORDER BY updated_at, id LIMIT $3)
			AND status = 'active' AND updated_at < $1 RETURNING ` + eventColumns
		ended, err = all(ctx, tx, scanEvent, query, ms(before), ms(at), limit)
		if err != nil {
			return err
		}
		for _, e := range ended {
			if err := eventEnded(ctx, tx, e, at, message, "stale", Actor{}); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

func eventEnded(
	ctx context.Context, tx *txn, e Event, at time.Time, message func(Event) (Message, error), reason string, by Actor,
) error {
	m, err := message(e)
	if err != nil {
		return err
	}
	if err := insertDeliveries(ctx, tx, e.UserID, m, at); err != nil {
		return err
	}
	d := details{"deviceId": e.DeviceID}
	if reason != "" {
		d["reason"] = reason
	}
	return audit(ctx, tx, by, e.UserID, "event", "end", e.ID, d)
}

// Event returns the user's event.
func (db *DB) Event(ctx context.Context, userID, id string) (Event, error) {
	return userEvent(ctx, db.r, userID, id)
}

func userEvent(ctx context.Context, q querier, userID, id string) (Event, error) {
	return one(ctx, q, scanEvent, "SELECT "+eventColumns+" FROM events WHERE id = $1 AND user_id = $2", id, userID)
}

// Events lists the user's events that pass the filter.
func (db *DB) Events(ctx context.Context, userID string, by EventFilter, p Page) ([]Event, error) {
	var f filter
	f.and("user_id = ?", userID)
	if by.CameraDeviceID != "" {
		f.and("device_id = ?", by.CameraDeviceID)
	}
	f.visibleTo(by.DeviceID, "events", "device_id")
	if by.Status != "" {
		f.and("status = ?", by.Status)
	}
	if by.TriggeredBy != "" {
		f.and("triggered_by = ?", by.TriggeredBy)
	}
	f.between("started_at", by.Since, by.Until)
	clauses, args := f.page(p)
	return all(ctx, db.r, scanEvent, "SELECT "+eventColumns+" FROM events"+clauses, args...)
}

// SetEventThumbnail gives the camera's event a thumbnail and returns the key of
// the one that it had before, empty for none: that one is deleted in the end
// even if the caller does not.
func (db *DB) SetEventThumbnail(ctx context.Context, cameraID, id, key string, by Actor) (before string, err error) {
	err = db.inTx(ctx, func(tx *txn) error {
		e, err := one(ctx, tx, scanEvent, "SELECT "+eventColumns+" FROM events WHERE id = $1 AND device_id = $2", id, cameraID)
		if err != nil {
			return err
		}
		before = e.ThumbnailKey
		if err := changeOne(ctx, tx, `UPDATE events SET thumbnail_key = $2 WHERE id = $1`, id, key); err != nil {
			return err
		}
		if err := claimObject(ctx, tx, key); err != nil {
			return err
		}
		if before != "" && before != key {
			if err := doomAt(ctx, tx, before, tx.now()); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, e.UserID, "event", "thumbnail", id, nil)
	})
	return before, err
}

// DeleteEvent deletes the user's event with its notifications and returns it,
// so that the caller deletes its thumbnail. Its video stays. It returns
// ErrConflict while the event is active.
func (db *DB) DeleteEvent(ctx context.Context, userID, id string, by Actor) (e Event, err error) {
	err = db.inTx(ctx, func(tx *txn) (err error) {
		e, err = userEvent(ctx, tx, userID, id)
		if err != nil {
			return err
		}
		if e.Status == EventActive {
			return ErrConflict
		}
		for _, query := range []string{
			`DELETE FROM notifications WHERE event_id = $1`,
			`DELETE FROM push_notifications WHERE event_id = $1`,
			`UPDATE videos SET event_id = NULL WHERE event_id = $1`,
			`DELETE FROM events WHERE id = $1`,
		} {
			if _, err := change(ctx, tx, query, id); err != nil {
				return err
			}
		}
		return audit(ctx, tx, by, userID, "event", "delete", id, details{"deviceId": e.DeviceID})
	})
	return e, err
}
