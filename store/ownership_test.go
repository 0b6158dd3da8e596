package store_test

import (
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// TestOwnership calls every method that takes a user's id with the things of
// another user.
func TestOwnership(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, foreign := newWorld(t, db), newWorld(t, db)
		me := foreign.user.ID
		by := store.Actor{UserID: me}
		s := w.request(t)
		w.accept(t, s.ID)
		cmd, r := w.command(), w.recording()
		wantErr(t, db.CreateCommand(ctx, cmd, w.by), nil)
		wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		wantErr(t, db.FinishRecording(ctx, r.ID, "", 0, 0, storetest.Now()), nil)
		link, err := db.ActiveLink(ctx, w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		session := store.Session{
			ID: storetest.ID(), UserID: w.user.ID, TokenSHA256: []byte(w.user.ID), CreatedAt: storetest.Now(), ExpiresAt: storetest.Now(),
		}
		wantErr(t, db.CreateSession(ctx, session, w.by), nil)
		passkey := store.Passkey{ID: storetest.ID(), UserID: w.user.ID, CredentialID: w.user.ID, CreatedAt: storetest.Now()}
		wantErr(t, db.CreatePasskey(ctx, passkey, 1, w.by), nil)
		swap := store.SessionSwap{OldID: session.ID, Next: store.Session{ID: storetest.ID(), UserID: me, TokenSHA256: []byte(me)}}

		event := w.start(t)
		push, hook := w.push(t), w.webhook()
		wantErr(t, db.CreateWebhook(ctx, hook, 9, w.by), nil)
		wantErr(t, db.QueueMessage(ctx, w.user.ID, message("x"), storetest.Now()), nil)
		log, err := db.Deliveries(ctx, w.user.ID, store.DeliveryFilter{}, store.Page{})
		wantErr(t, err, nil)
		at, note := storetest.Now(), event.Notifications[0].ID
		sub := store.PushSubscription{DeviceID: w.client.ID, UserID: w.user.ID, Endpoint: "https://push.example/" + w.user.ID, CreatedAt: at}
		wantErr(t, db.SetPushSubscription(ctx, sub, w.by), nil)
		stolen, foreignEvent := sub, w.event()
		stolen.UserID, foreignEvent.UserID = me, me

		for name, err := range map[string]error{
			"StartEvent":             second(db.StartEvent(ctx, foreignEvent, message("x"), at, by)),
			"EndEvent":               second(db.EndEvent(ctx, foreign.camera.ID, event.Event.ID, at, ended, by)),
			"Event":                  second(db.Event(ctx, me, event.Event.ID)),
			"SetEventThumbnail":      second(db.SetEventThumbnail(ctx, foreign.camera.ID, event.Event.ID, "k", by)),
			"DeleteEvent":            second(db.DeleteEvent(ctx, me, event.Event.ID, by)),
			"Notification":           second(db.Notification(ctx, me, "", note)),
			"AdvanceNotification":    second(db.AdvanceNotification(ctx, me, "", note, store.NotificationRead, at, by)),
			"DeleteNotification":     db.DeleteNotification(ctx, me, "", note, by),
			"QueuePush":              second(db.QueuePush(ctx, store.Push{OwnerUserID: me, RecipientDeviceID: w.client.ID, CreatedAt: at}, "", by)),
			"Push":                   second(db.Push(ctx, me, "", push.ID)),
			"RetryPush":              second(db.RetryPush(ctx, me, "", push.ID, at, by)),
			"DeletePush":             db.DeletePush(ctx, me, "", push.ID, by),
			"SetPushSubscription":    db.SetPushSubscription(ctx, stolen, by),
			"PushSubscription":       second(db.PushSubscription(ctx, me, w.client.ID)),
			"DeletePushSubscription": db.DeletePushSubscription(ctx, me, w.client.ID, by),
			"Webhook":                second(db.Webhook(ctx, me, hook.ID)),
			"UpdateWebhook":          second(db.UpdateWebhook(ctx, me, hook.ID, store.WebhookChange{}, at, by)),
			"DeleteWebhook":          db.DeleteWebhook(ctx, me, hook.ID, by),
			"QueueDelivery":          db.QueueDelivery(ctx, store.Delivery{ID: storetest.ID(), UserID: me, WebhookID: hook.ID, CreatedAt: at}, by),
			"Delivery":               second(db.Delivery(ctx, me, log[0].ID)),
			"DeleteSession":          db.DeleteSession(ctx, me, session.ID, by),
			"RenamePasskey":          second(db.RenamePasskey(ctx, me, passkey.ID, "x", by)),
			"DeletePasskey":          db.DeletePasskey(ctx, me, passkey.ID, by),
			"DisableTwoFactor":       db.DisableTwoFactor(ctx, me, swap, by),
			"Device":                 second(db.Device(ctx, me, w.camera.ID)),
			"UpdateDevice":           second(db.UpdateDevice(ctx, me, w.camera.ID, store.DeviceChange{}, by)),
			"SetDeviceKey":           db.SetDeviceKey(ctx, me, w.camera.ID, "key", by),
			"DeleteDevice":           db.DeleteDevice(ctx, me, w.camera.ID, by),
			"RevokeLink":             db.RevokeLink(ctx, me, link.ID, by),
			"Command":                second(db.Command(ctx, me, cmd.ID)),
			"Stream":                 second(db.Stream(ctx, me, s.ID)),
			"EndStream":              endError(db.EndStream(ctx, me, s.ID, store.StreamFailed, "", storetest.Now(), by)),
			"Recording":              second(db.Recording(ctx, me, r.ID)),
			"DeleteRecording":        second(db.DeleteRecording(ctx, me, r.ID, by)),
		} {
			t.Log(name)
			wantErr(t, err, store.ErrNotFound)
		}
		foreignRows(t, w, foreign)
		foreignLists(t, w, foreign)
	})
}

// foreignRows makes rows that join the things of two users.
func foreignRows(t *testing.T, w, foreign world) {
	t.Helper()
	ctx, db := t.Context(), w.db
	link := store.Link{
		ID: storetest.ID(), OwnerUserID: foreign.user.ID, CameraDeviceID: w.camera.ID, ClientDeviceID: foreign.client.ID,
		CreatedAt: storetest.Now(),
	}
	_, err := db.CreateLink(ctx, link, foreign.by)
	wantErr(t, err, store.ErrNotFound)
	cmd := foreign.command()
	cmd.TargetDeviceID = w.camera.ID
	wantErr(t, db.CreateCommand(ctx, cmd, foreign.by), store.ErrNotFound)
	s := foreign.stream()
	s.CameraDeviceID = w.camera.ID
	_, err = db.RequestStream(ctx, s, foreign.command(), foreign.by)
	wantErr(t, err, store.ErrNotFound)
	s.OwnerUserID = w.user.ID
	_, err = db.RequestStream(ctx, s, foreign.command(), foreign.by)
	wantErr(t, err, store.ErrNotFound)
	m := foreign.media()
	m.CameraDeviceID = w.camera.ID
	_, err = db.OpenMediaSession(ctx, m, foreign.by)
	wantErr(t, err, store.ErrNotFound)
	for _, change := range []func(*store.Recording){
		func(r *store.Recording) { r.CameraDeviceID = w.camera.ID },
		func(r *store.Recording) { r.RequesterDeviceID = w.client.ID },
		func(r *store.Recording) { r.StreamID = w.openStream(t).ID },
		func(r *store.Recording) { r.MediaSessionID = w.openStream(t).MediaSessionID },
	} {
		r := foreign.recording()
		change(&r)
		wantErr(t, db.CreateRecording(ctx, r, foreign.by), store.ErrNotFound)
	}
}

// foreignLists asks as a user for lists of another user's devices.
func foreignLists(t *testing.T, w, foreign world) {
	t.Helper()
	ctx, db, me := t.Context(), w.db, foreign.user.ID
	for _, device := range []string{w.camera.ID, w.client.ID} {
		links, err := db.Links(ctx, me, store.LinkFilter{DeviceID: device}, store.Page{})
		wantErr(t, err, nil)
		commands, err := db.Commands(ctx, me, store.CommandFilter{DeviceIDs: []string{device}}, store.Page{})
		wantErr(t, err, nil)
		streams, err := db.Streams(ctx, me, store.StreamFilter{DeviceID: device}, store.Page{})
		wantErr(t, err, nil)
		live, err := db.MediaSessions(ctx, me, store.MediaSessionFilter{CameraDeviceID: device}, store.Page{})
		wantErr(t, err, nil)
		want(t, "another user's media sessions", len(live), 0)
		recordings, err := db.Recordings(ctx, me, store.RecordingFilter{DeviceID: device}, store.Page{})
		wantErr(t, err, nil)
		if len(links)+len(commands)+len(streams)+len(recordings) != 0 {
			t.Errorf("lists of another user's device: %v %v %v %v", links, commands, streams, recordings)
		}
	}
	devices, err := db.Devices(ctx, me, store.DeviceFilter{}, store.Page{})
	wantErr(t, err, nil)
	entries, err := db.AuditEntries(ctx, me, store.AuditFilter{}, store.Page{})
	wantErr(t, err, nil)
	for _, d := range devices {
		want(t, "owner of a listed device", d.UserID, me)
	}
	for _, e := range entries {
		want(t, "owner of a listed audit entry", e.OwnerUserID, me)
	}
}

func (w world) openStream(t *testing.T) store.Stream {
	t.Helper()
	list, err := w.db.Streams(t.Context(), w.user.ID, store.StreamFilter{DeviceID: w.camera.ID}, store.Page{Limit: 1})
	wantErr(t, err, nil)
	return list[0]
}

func second[T any](_ T, err error) error { return err }

func endError(_ store.Stream, _ store.MediaSession, err error) error { return err }
