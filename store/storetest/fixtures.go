package storetest

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
)

// ID returns a new row id.
func ID() string { return store.NewID() }

// Now is the time in the resolution that rows keep.
func Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// User adds a user without a usable password.
func User(t *testing.T, db *store.DB) store.User {
	t.Helper()
	id, at := ID(), Now()
	u := store.User{ID: id, Name: "Ada", Email: id + "@example.org", CreatedAt: at, UpdatedAt: at}
	if err := db.CreateUser(t.Context(), u, "no hash", store.Actor{UserID: id}); err != nil {
		t.Fatal(err)
	}
	return u
}

// Camera registers a camera, which links it with the clients that the user
// has.
func Camera(t *testing.T, db *store.DB, userID string) store.Device {
	t.Helper()
	return device(t, db, userID, store.RoleCamera)
}

// Client registers a client, which links it with the cameras that the user
// has.
func Client(t *testing.T, db *store.DB, userID string) store.Device {
	t.Helper()
	return device(t, db, userID, store.RoleClient)
}

func device(t *testing.T, db *store.DB, userID string, role store.DeviceRole) store.Device {
	t.Helper()
	at := Now()
	d := store.Device{
		ID: ID(), UserID: userID, Name: "a " + string(role), Role: role, Status: store.DeviceOnline,
		RecordingPolicy: store.RecordOff, TokenKeyID: ID(), LastSeenAt: at, CreatedAt: at, UpdatedAt: at,
	}
	if _, err := db.RegisterDevice(t.Context(), d, store.Actor{UserID: userID}); err != nil {
		t.Fatal(err)
	}
	return d
}

// Subscribe gives a device a push subscription that nobody listens at.
func Subscribe(t *testing.T, db *store.DB, d store.Device) {
	t.Helper()
	err := db.SetPushSubscription(t.Context(), store.PushSubscription{
		DeviceID: d.ID, UserID: d.UserID, Endpoint: "https://push.example/" + d.ID, CreatedAt: Now(),
	}, store.Actor{UserID: d.UserID})
	if err != nil {
		t.Fatal(err)
	}
}
