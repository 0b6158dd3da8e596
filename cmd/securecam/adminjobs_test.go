package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// jobJSON is what the test reads of a job.
type jobJSON struct {
	ID, Status, Error      string
	Attempts               int
	Dead, AwaitsDevice     bool
	NextAttemptAt, FailsAt time.Time
}

// adminJobs lists the jobs of a queue in a state, as the page does.
func adminJobs(t *testing.T, base, queue, status string) []jobJSON {
	t.Helper()
	var list struct{ Items []jobJSON }
	administer(t, base, "GET", "/admin/api/jobs/"+queue+"?status="+status, http.StatusOK, &list)
	return list.Items
}

// TestAdminJobs has one of each kind fail, and the administrator try the first
// again and delete the other.
func TestAdminJobs(t *testing.T) {
	t.Parallel()
	database := postgresSettings(t)
	app := startApp(t, append(adminSettings("--push-max-attempts=1", "--outgoing-networks=127.0.0.0/8"), database...)...)
	base := app.url
	db, err := store.Open(t.Context(), store.Config{URL: strings.TrimPrefix(database[0], "--database-url=")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	user := signUp(t, base, "jobs@example.org")
	_, cameraInfo := user.register("camera")
	client, _ := user.register("client")
	camera := cameraInfo.Device.ID
	if err := db.SetPresence(t.Context(), camera, store.DeviceOffline, storetest.Now()); err != nil {
		t.Fatal(err)
	}

	var open atomic.Bool
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(hook.Close)
	var made struct{ ID string }
	user.must(http.StatusCreated, "POST", "/webhooks", map[string]string{"name": "hook", "url": hook.URL}, &made)
	for range 2 {
		user.must(http.StatusAccepted, "POST", "/webhooks/"+made.ID+"/ping", nil, nil)
	}
	for _, kind := range []struct {
		queue      string
		lose, mend func()
	}{
		{store.QueueDeliveries, func() {}, func() { open.Store(true) }}, // each has one attempt
		{store.QueueCommands, func() {
			client.command(camera)
			client.command(camera)
			waiting := adminJobs(t, base, store.QueueCommands, "queued")
			if len(waiting) != 2 || !waiting[0].AwaitsDevice || waiting[0].FailsAt.IsZero() || !waiting[0].NextAttemptAt.IsZero() {
				t.Errorf("commands for a camera that is away: %+v", waiting)
			}
			at := storetest.Now()
			if _, err := db.ExpireCommands(t.Context(), store.CommandExpiry{At: at, CreatedBefore: at.Add(time.Hour), Limit: 9}); err != nil {
				t.Fatal(err)
			}
		}, func() {}},
		{store.QueueUploads, func() { missUploads(t, db, base, user, camera, 2) }, func() {}},
	} {
		queue := kind.queue
		kind.lose()
		var dead []jobJSON
		eventually(t, patience, func() string {
			if dead = adminJobs(t, base, queue, "failed"); len(dead) != 2 {
				return "not both " + queue + " have failed"
			}
			return ""
		})
		if !dead[0].Dead || dead[0].Error == "" {
			t.Errorf("a dead letter of %s: %+v", queue, dead[0])
		}
		kind.mend()
		path := "/admin/api/jobs/" + queue + "/"
		administer(t, base, "POST", path+dead[0].ID+"/retry", http.StatusNoContent, nil)
		administer(t, base, "POST", path+dead[0].ID+"/retry", http.StatusConflict, nil)
		administer(t, base, "DELETE", path+dead[0].ID, http.StatusConflict, nil)
		administer(t, base, "DELETE", path+dead[1].ID, http.StatusNoContent, nil)
		administer(t, base, "DELETE", path+dead[1].ID, http.StatusNotFound, nil)
		administer(t, base, "POST", path+dead[1].ID+"/retry", http.StatusNotFound, nil)
		if left := adminJobs(t, base, queue, "failed"); len(left) != 0 {
			t.Errorf("dead letters of %s that are left: %+v", queue, left)
		}
		if all := adminJobs(t, base, queue, ""); len(all) != 1 || all[0].ID != dead[0].ID {
			t.Errorf("all %s: %+v", queue, all)
		}
	}
	for _, action := range []string{
		"webhook_delivery.retry", "webhook_delivery.delete", "command.retry", "command.delete", "recording.await_upload", "recording.delete",
	} {
		if _, seen := user.raw("GET", "/audit?action="+action, nil); !strings.Contains(string(seen), `"admin":"root"`) {
			t.Errorf("the audit log of %s: %s", action, seen)
		}
	}
}

// missUploads has recordings await uploads that do not come.
func missUploads(t *testing.T, db *store.DB, base string, user *apiClient, camera string, n int) {
	t.Helper()
	var me struct{ User struct{ ID string } }
	user.must(http.StatusOK, "GET", "/api/auth/get-session", nil, &me)
	for range n {
		at, id := storetest.Now(), storetest.ID()
		r := store.Recording{
			ID: id, OwnerUserID: me.User.ID, CameraDeviceID: camera, Status: store.RecordingAwaitingUpload,
			ObjectKey: "recordings/" + id, ContentType: "video/webm", StartedAt: at, CreatedAt: at, UpdatedAt: at,
		}
		if err := db.CreateRecording(t.Context(), r, store.Actor{}); err != nil {
			t.Fatal(err)
		}
		awaited := adminJobs(t, base, store.QueueUploads, "awaiting_upload")
		if len(awaited) != 1 || !awaited[0].AwaitsDevice || awaited[0].FailsAt.Before(at) {
			t.Errorf("awaited uploads: %+v", awaited)
		}
		if err := db.GiveUpRecording(t.Context(), r, "not_uploaded", at); err != nil {
			t.Fatal(err)
		}
	}
}
