package store_test

import (
	"encoding/json"
	"testing"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// world is a user with a camera and a client, linked.
type world struct {
	db             *store.DB
	user           store.User
	camera, client store.Device
	by             store.Actor
}

func newWorld(t *testing.T, db *store.DB) world {
	t.Helper()
	u := storetest.User(t, db)
	return world{
		db: db, user: u, camera: storetest.Camera(t, db, u.ID), client: storetest.Client(t, db, u.ID),
		by: store.Actor{UserID: u.ID},
	}
}

func (w world) command() store.Command {
	at := storetest.Now()
	return store.Command{
		ID: storetest.ID(), OwnerUserID: w.user.ID, SourceDeviceID: w.client.ID, TargetDeviceID: w.camera.ID,
		CommandType: "start_stream", Payload: json.RawMessage(`{"a": 1}`), Status: store.CommandQueued,
		CreatedAt: at, UpdatedAt: at,
	}
}

func (w world) stream() store.Stream {
	at := storetest.Now()
	return store.Stream{
		ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, RequesterDeviceID: w.client.ID,
		Status: store.StreamRequested, Reason: "curious", MediaProvider: "sfu", StreamKey: "key",
		CreatedAt: at, UpdatedAt: at,
	}
}

func (w world) media() store.MediaSession {
	at := storetest.Now()
	return store.MediaSession{
		ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, NodeID: "node", RenewedAt: at, CreatedAt: at,
	}
}

func (w world) recording() store.Recording {
	at, id := storetest.Now(), storetest.ID()
	return store.Recording{
		ID: id, OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, NodeID: "node", Status: store.RecordingRunning,
		ObjectKey: "recordings/" + id, Bucket: "b", ContentType: "video/webm", StartedAt: at, CreatedAt: at, UpdatedAt: at,
	}
}

func (w world) request(t *testing.T) store.Stream {
	t.Helper()
	s, err := w.db.RequestStream(t.Context(), w.stream(), w.command(), w.by)
	wantErr(t, err, nil)
	return s
}

func (w world) accept(t *testing.T, id string) (store.Stream, store.MediaSession) {
	t.Helper()
	s, m, err := w.db.AcceptStream(t.Context(), w.camera.ID, id, w.media(), w.by)
	wantErr(t, err, nil)
	return s, m
}

func (w world) end(t *testing.T, id string) (store.Stream, store.MediaSession) {
	t.Helper()
	s, m, err := w.db.EndStream(t.Context(), w.user.ID, id, store.StreamCompleted, "", storetest.Now(), w.by)
	wantErr(t, err, nil)
	return s, m
}
