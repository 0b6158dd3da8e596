package store_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w world) event() store.Event {
	at := storetest.Now()
	return store.Event{ID: storetest.ID(), UserID: w.user.ID, DeviceID: w.camera.ID, TriggeredBy: "motion", StartedAt: at}
}

func (w world) webhook(types ...string) store.Webhook {
	return store.Webhook{
		ID: storetest.ID(), UserID: w.user.ID, Name: "hook", Kind: store.KindWebhook, URL: "https://example.org/hook",
		Secret: "whsec_c2VjcmV0", EventTypes: types, Enabled: true, CreatedAt: storetest.Now(),
	}
}

func message(typ string) store.Message {
	return store.Message{Type: typ, Payload: json.RawMessage(`{"a": 1}`)}
}

func ended(store.Event) (store.Message, error) { return message("motion:ended"), nil }

func (w world) start(t *testing.T) store.StartedEvent {
	t.Helper()
	e := w.event()
	made, err := w.db.StartEvent(t.Context(), e, message("motion:started"), e.StartedAt.Add(time.Minute), w.by)
	wantErr(t, err, nil)
	return made
}

func (w world) actions(t *testing.T) map[string]int {
	t.Helper()
	entries, err := w.db.AuditEntries(t.Context(), w.user.ID, store.AuditFilter{}, store.Page{Limit: 1000})
	wantErr(t, err, nil)
	actions := map[string]int{}
	for _, e := range entries {
		actions[e.Action]++
	}
	return actions
}

func TestEventStart(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		second := storetest.Client(t, db, w.user.ID)
		unlinked, silent := storetest.Client(t, db, w.user.ID), storetest.Client(t, db, w.user.ID)
		for _, d := range []store.Device{w.client, second, unlinked} {
			storetest.Subscribe(t, db, d)
		}
		link, err := db.ActiveLink(ctx, w.camera.ID, unlinked.ID)
		wantErr(t, err, nil)
		wantErr(t, db.RevokeLink(ctx, w.user.ID, link.ID, w.by), nil)
		all, some, none := w.webhook(), w.webhook("motion:started", "stream:ended"), w.webhook("motion:ended")
		for _, hook := range []store.Webhook{all, some, none} {
			wantErr(t, db.CreateWebhook(ctx, hook, 3, w.by), nil)
		}
		wantErr(t, db.CreateWebhook(ctx, w.webhook(), 3, w.by), store.ErrConflict)

		made := w.start(t)
		want(t, "notifications", len(made.Notifications), 3)
		want(t, "pushes", len(made.Pushes), 2)
		for _, p := range made.Pushes {
			if p.RecipientDeviceID != w.client.ID && p.RecipientDeviceID != second.ID {
				t.Errorf("a push for %s", p.RecipientDeviceID)
			}
		}
		want(t, "audited", w.actions(t)["event.start"], 1)
		for _, hook := range []store.Webhook{all, some, none} {
			log, err := db.Deliveries(ctx, w.user.ID, store.DeliveryFilter{WebhookID: hook.ID}, store.Page{})
			wantErr(t, err, nil)
			wanted := 1
			if hook.ID == none.ID {
				wanted = 0
			}
			want(t, "deliveries", len(log), wanted)
		}

		// The same camera again, while the event is active.
		again := w.event()
		again.StartedAt = made.Event.StartedAt.Add(time.Second)
		renewed, err := db.StartEvent(ctx, again, message("motion:started"), again.StartedAt, w.by)
		wantErr(t, err, store.ErrConflict)
		want(t, "renewed", renewed.Event.ID, made.Event.ID)
		want(t, "renewed at", renewed.Event.UpdatedAt, again.StartedAt)
		want(t, "events", w.actions(t)["event.start"], 1)

		// Who got it over the gateway needs no push.
		none1, err := db.ClaimPushes(ctx, store.Claim{At: storetest.Now(), Until: storetest.Now(), Limit: 9})
		wantErr(t, err, nil)
		want(t, "due in the grace", len(none1), 0)
		wantErr(t, db.DeliverEvent(ctx, made.Event.ID, []string{second.ID}, storetest.Now()), nil)
		pushes, err := db.Pushes(ctx, w.user.ID, store.PushFilter{}, store.Page{})
		wantErr(t, err, nil)
		want(t, "pushes left", len(pushes), 1)
		want(t, "recipient", pushes[0].RecipientDeviceID, w.client.ID)
		// A subscription is for what comes after it.
		storetest.Subscribe(t, db, silent)
		pushes, err = db.Pushes(ctx, w.user.ID, store.PushFilter{RecipientDeviceID: silent.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "pushes of one that did not subscribe", len(pushes), 0)
		list, err := db.Notifications(ctx, w.user.ID, store.NotificationFilter{RecipientDeviceID: second.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "status", list[0].Status, store.NotificationDelivered)
		claimed, err := db.ClaimPushes(ctx, store.Claim{At: storetest.Now(), Until: storetest.Now().Add(time.Minute), Limit: 9})
		wantErr(t, err, nil)
		want(t, "due after the fan-out", len(claimed), 1)
	})
}

func TestEventEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		hook := w.webhook("motion:ended")
		wantErr(t, db.CreateWebhook(ctx, hook, 9, w.by), nil)
		made := w.start(t)
		at := made.Event.StartedAt.Add(time.Second)
		wantErr(t, second(db.DeleteEvent(ctx, w.user.ID, made.Event.ID, w.by)), store.ErrConflict)
		wantErr(t, second(db.EndEvent(ctx, w.camera.ID, "unknown", at, ended, w.by)), store.ErrNotFound)
		broken := errors.New("broken")
		wantErr(t, second(db.EndEvent(ctx, w.camera.ID, "", at, func(store.Event) (store.Message, error) {
			return store.Message{}, broken
		}, w.by)), broken)
		e, err := db.EndEvent(ctx, w.camera.ID, "", at, ended, w.by)
		wantErr(t, err, nil)
		want(t, "ended", e.Status, store.EventEnded)
		want(t, "ended at", e.EndedAt, at)
		wantErr(t, second(db.EndEvent(ctx, w.camera.ID, e.ID, at, ended, w.by)), store.ErrConflict)
		wantErr(t, second(db.EndEvent(ctx, w.camera.ID, "", at, ended, w.by)), store.ErrNotFound)
		log, err := db.Deliveries(ctx, w.user.ID, store.DeliveryFilter{WebhookID: hook.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "deliveries", len(log), 1)

		before, err := db.SetEventThumbnail(ctx, w.camera.ID, e.ID, "thumbnails/1", w.by)
		wantErr(t, err, nil)
		want(t, "no thumbnail before", before, "")
		_, err = db.DeleteEvent(ctx, w.user.ID, e.ID, w.by)
		wantErr(t, err, nil)
		wantErr(t, second(db.Event(ctx, w.user.ID, e.ID)), store.ErrNotFound)
		list, err := db.Notifications(ctx, w.user.ID, store.NotificationFilter{EventID: e.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "notifications left", len(list), 0)
	})
}

func TestEventStale(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		made := w.start(t)
		late := made.Event.StartedAt.Add(time.Hour)
		none, err := db.EndStaleEvents(ctx, made.Event.UpdatedAt, late, 9, ended)
		wantErr(t, err, nil)
		want(t, "ended too early", len(none), 0)
		list, err := db.EndStaleEvents(ctx, late, late, 9, ended)
		wantErr(t, err, nil)
		want(t, "ended", len(list), 1)
		want(t, "ended when it was last renewed", list[0].EndedAt, made.Event.UpdatedAt)
		w.start(t) // the camera may begin anew
	})
}

func TestEventLists(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		other := storetest.Camera(t, db, w.user.ID)
		var ids []string
		for i := range 5 {
			e := w.event()
			e.StartedAt = e.StartedAt.Add(time.Duration(i) * time.Second)
			_, err := db.StartEvent(ctx, e, store.Message{Type: "x", Payload: json.RawMessage("{}")}, e.StartedAt, w.by)
			wantErr(t, err, nil)
			_, err = db.EndEvent(ctx, w.camera.ID, e.ID, e.StartedAt.Add(time.Second), ended, w.by)
			wantErr(t, err, nil)
			ids = append(ids, e.ID)
		}
		var got []string
		var p store.Page
		for p.Limit = 2; ; {
			page, err := db.Events(ctx, w.user.ID, store.EventFilter{CameraDeviceID: w.camera.ID}, p)
			wantErr(t, err, nil)
			for _, e := range page {
				got = append(got, e.ID)
				p.Before = store.Cursor{CreatedAt: e.CreatedAt, ID: e.ID}
			}
			if len(page) < 2 {
				break
			}
		}
		want(t, "all pages", len(got), 5)
		want(t, "newest first", got[0], ids[4])
		first, err := db.Event(ctx, w.user.ID, ids[0])
		wantErr(t, err, nil)
		for name, test := range map[string]struct {
			filter store.EventFilter
			count  int
		}{
			"other camera":  {store.EventFilter{CameraDeviceID: other.ID}, 0},
			"active":        {store.EventFilter{Status: store.EventActive}, 0},
			"ended":         {store.EventFilter{Status: store.EventEnded}, 5},
			"person":        {store.EventFilter{TriggeredBy: "person"}, 0},
			"client":        {store.EventFilter{DeviceID: w.client.ID}, 5},
			"camera itself": {store.EventFilter{DeviceID: w.camera.ID}, 5},
			"foreign":       {store.EventFilter{DeviceID: other.ID}, 0},
			"since":         {store.EventFilter{Since: first.StartedAt.Add(time.Second)}, 4},
			"until":         {store.EventFilter{Until: first.StartedAt.Add(time.Second)}, 1},
		} {
			list, err := db.Events(ctx, w.user.ID, test.filter, store.Page{})
			wantErr(t, err, nil)
			want(t, name, len(list), test.count)
		}
	})
}

func TestNotifications(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		n := w.start(t).Notifications[0]
		advance := func(to store.NotificationStatus) store.NotificationStatus {
			t.Helper()
			n, err := db.AdvanceNotification(ctx, w.user.ID, w.client.ID, n.ID, to, storetest.Now(), w.by)
			wantErr(t, err, nil)
			return n.Status
		}
		want(t, "delivered", advance(store.NotificationDelivered), store.NotificationDelivered)
		want(t, "read", advance(store.NotificationRead), store.NotificationRead)
		want(t, "not back", advance(store.NotificationDelivered), store.NotificationRead)
		want(t, "audited", w.actions(t)["notification.advance"], 2)
		unread, err := db.Notifications(ctx, w.user.ID, store.NotificationFilter{Unread: true}, store.Page{})
		wantErr(t, err, nil)
		want(t, "unread", len(unread), 0)
		_, err = db.EndEvent(ctx, w.camera.ID, "", storetest.Now(), ended, w.by)
		wantErr(t, err, nil)
		w.start(t)
		read, err := db.ReadNotifications(ctx, w.user.ID, w.camera.ID, storetest.Now(), w.by)
		wantErr(t, err, nil)
		want(t, "another device's", read, int64(0))
		read, err = db.ReadNotifications(ctx, w.user.ID, "", storetest.Now(), w.by)
		wantErr(t, err, nil)
		want(t, "read at once", read, int64(1))
		wantErr(t, second(db.Notification(ctx, w.user.ID, w.camera.ID, n.ID)), store.ErrNotFound)
		wantErr(t, db.DeleteNotification(ctx, w.user.ID, w.camera.ID, n.ID, w.by), store.ErrNotFound)
		wantErr(t, db.DeleteNotification(ctx, w.user.ID, w.client.ID, n.ID, w.by), nil)
		wantErr(t, second(db.Notification(ctx, w.user.ID, "", n.ID)), store.ErrNotFound)
	})
}
