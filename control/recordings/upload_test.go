package recordings

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/at-wat/ebml-go"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// awaiting adds a recording that its camera is to upload.
func (w *world) awaiting(key string) store.Recording {
	w.t.Helper()
	at := storetest.Now()
	r := store.Recording{
		ID: storetest.ID(), OwnerUserID: w.user.UserID, CameraDeviceID: w.camera.DeviceID, Status: store.RecordingAwaitingUpload,
		ObjectKey: key, ContentType: contentType, StartedAt: at, CreatedAt: at, UpdatedAt: at,
	}
	if err := w.db.CreateRecording(w.t.Context(), r, store.Actor{}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestUpload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	r := w.awaiting("recordings/c/1.webm")
	signed, err := w.UploadURL(t.Context(), w.camera, r.ID, "video/mp4", 1000)
	if err != nil || signed.URL != "/objects/"+r.ObjectKey || signed.Header["Content-Type"] != "video/mp4" {
		t.Errorf("signed %+v, %v", signed, err)
	}
	if _, err := w.Finalize(t.Context(), w.camera, r.ID, "", 0); !errors.Is(err, ErrNoObject) {
		t.Errorf("before the upload: %v", err)
	}
	if _, err := w.Finalize(t.Context(), w.camera, r.ID, "recordings/c/2.webm", 0); !errors.Is(err, ErrObjectKey) {
		t.Errorf("another object: %v", err)
	}
	w.objects.put(r.ObjectKey, 1000)
	got, err := w.Finalize(t.Context(), w.camera, r.ID, r.ObjectKey, 3*time.Second)
	if err != nil || got.Status != store.RecordingReady || got.Size != 1000 || got.Duration != 3*time.Second {
		t.Errorf("recording %+v, %v", got, err)
	}
	if _, err := w.Finalize(t.Context(), w.camera, r.ID, "", 0); !errors.Is(err, ErrNotAwaiting) {
		t.Errorf("again: %v", err)
	}
	if _, err := w.UploadURL(t.Context(), w.camera, r.ID, "video/mp4", 1000); !errors.Is(err, ErrNotAwaiting) {
		t.Errorf("another upload: %v", err)
	}
	if _, err := w.Download(t.Context(), w.client, r.ID, false); err != nil {
		t.Errorf("download: %v", err)
	}
}

func TestUploadSimulated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	for _, key := range []string{"sim/whatever", "sim/another/camera's"} {
		r := w.awaiting("recordings/c/" + storetest.ID())
		got, err := w.Finalize(t.Context(), w.camera, r.ID, key, 0)
		if err != nil || got.Status != store.RecordingReady || got.ObjectKey != "sim/"+w.camera.DeviceID+"/"+r.ID+".webm" {
			t.Errorf("recording %+v, %v", got, err)
		}
		if _, err := w.objects.Stat(t.Context(), got.ObjectKey); err != nil {
			t.Error(err)
		}
	}
	r := w.awaiting("sim/made-by-the-simulator")
	if got, err := w.Finalize(t.Context(), w.camera, r.ID, "", 0); err != nil || got.Size != int64(len(emptyWebM)) {
		t.Errorf("recording %+v, %v", got, err)
	}
	var head struct {
		Header struct {
			DocType string `ebml:"EBMLDocType"`
		} `ebml:"EBML"`
		Segment struct{} `ebml:"Segment"`
	}
	if err := ebml.Unmarshal(strings.NewReader(emptyWebM), &head); err != nil || head.Header.DocType != "webm" {
		t.Errorf("the placeholder is no WebM: %+v, %v", head, err)
	}
}

func TestUploadOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	c := newClient(w)
	r := w.awaiting("recordings/c/1.webm")
	for who, want := range map[string]struct {
		status int
		code   string
	}{
		"other-camera": {404, "not_found"}, "client": {403, "forbidden"}, "stranger": {401, "unauthenticated"}, "": {401, "unauthenticated"},
	} {
		c.want(who, "POST", "/recordings/"+r.ID+"/finalize", want.status, want.code)
	}
	c.want("camera", "POST", "/recordings/"+r.ID+"/finalize", 409, "upload_missing")
	c.want("camera", "POST", "/recordings/nothing/finalize", 404, "not_found")
	c.want("user", "DELETE", "/recordings/"+r.ID, 409, "recording_not_ready")
	w.objects.put(r.ObjectKey, 5)
	c.want("camera", "POST", "/recordings/"+r.ID+"/finalize", 200, "")
	foreign := auth.Principal{UserID: storetest.User(t, w.db).ID, DeviceID: "d", Role: store.RoleCamera}
	if _, err := w.UploadURL(t.Context(), foreign, r.ID, "video/webm", 1); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another user's camera: %v", err)
	}
}

func TestUploadStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, func(c *Config) { c.UploadStale, c.UploadInterval = -time.Hour, time.Millisecond })
	lost, forgotten := w.awaiting("recordings/c/1"), w.awaiting("recordings/c/2")
	w.objects.put(forgotten.ObjectKey, 7)
	w.objects.setErr(fs.ErrPermission)
	if err := w.sweepUploads(t.Context()); err == nil {
		t.Error("an object store that is away tells nothing of its objects")
	}
	w.objects.setErr(nil)
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- w.RunUploads(ctx) }()
	if r := w.await(1, store.RecordingFailed)[0]; r.ID != lost.ID || r.Error != reasonNotUploaded {
		t.Errorf("failed %+v", r)
	}
	if r := w.await(1, store.RecordingReady)[0]; r.ID != forgotten.ID || r.Size != 7 {
		t.Errorf("ready %+v", r)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestAwaitAgain has a camera come with an upload that was given up.
func TestAwaitAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	r := w.awaiting("recordings/c/1.webm")
	if _, err := w.Await(t.Context(), w.user, r.ID); !errors.Is(err, ErrNotFailed) {
		t.Errorf("awaits it already: %v", err)
	}
	if err := w.db.GiveUpRecording(t.Context(), r, reasonNotUploaded, storetest.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.UploadURL(t.Context(), w.camera, r.ID, "video/webm", 1000); !errors.Is(err, ErrNotAwaiting) {
		t.Errorf("given up: %v", err)
	}
	if _, err := w.Await(t.Context(), w.client, r.ID); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("a client: %v", err)
	}
	got, err := w.Await(t.Context(), w.camera, r.ID)
	if err != nil || got.Status != store.RecordingAwaitingUpload || got.Error != "" {
		t.Errorf("recording %+v, %v", got, err)
	}
	if _, err := w.UploadURL(t.Context(), w.camera, r.ID, "video/webm", 1000); err != nil {
		t.Error(err)
	}
	w.objects.put(r.ObjectKey, 1000) // by the URL of before
	if _, err := w.Finalize(t.Context(), w.camera, r.ID, "", 0); !errors.Is(err, ErrNoObject) {
		t.Errorf("what is to be deleted was taken: %v", err)
	}
}

// TestAwaitAgainWhileDeleted has what was given up be deleted by somebody who
// has read that it is to be, and be awaited and uploaded in between.
func TestAwaitAgainWhileDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, func(c *Config) { c.UploadStale = -time.Hour })
	w.db.SetLimits(store.Limits{UploadLife: time.Hour})
	w.awaiting("recordings/c/1.webm")
	if err := w.sweepUploads(t.Context()); err != nil {
		t.Fatal(err)
	}
	due, err := w.db.DoomedObjects(t.Context(), time.Now().Add(2*time.Hour), 9)
	if err != nil || len(due) != 1 {
		t.Fatalf("due %q, %v", due, err)
	}
	r, err := w.Await(t.Context(), w.user, w.await(1, store.RecordingFailed)[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	w.objects.put(r.ObjectKey, 1000)
	if r, err = w.Finalize(t.Context(), w.camera, r.ID, "", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.objects.Delete(t.Context(), due[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.objects.Stat(t.Context(), r.ObjectKey); err != nil {
		t.Errorf("the file of a recording that is %s: %v", r.Status, err)
	}
}

// staleList is a process that stood still after it had read what is overdue.
type staleList struct {
	Store
	list []store.Recording
}

func (s staleList) StaleUploads(context.Context, time.Time, int) ([]store.Recording, error) {
	return s.list, nil
}

// TestStaleListOfUploads has another process give an upload up, and its user
// await it again.
func TestStaleListOfUploads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, store.RecordOff, nil)
	r := w.awaiting("recordings/c/1.webm")
	if err := w.db.GiveUpRecording(t.Context(), r, reasonNotUploaded, storetest.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Await(t.Context(), w.user, r.ID); err != nil {
		t.Fatal(err)
	}
	w.Store = staleList{w.Store, []store.Recording{r}}
	for _, late := range []bool{false, true} { // the second time it is there, by the URL of before
		if late {
			w.objects.put(r.ObjectKey, 1000)
		}
		if err := w.sweepUploads(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := w.db.Recording(t.Context(), w.user.UserID, r.ID); err != nil || got.Status != store.RecordingAwaitingUpload {
			t.Errorf("awaited again, and then %s (%s), %v", got.Status, got.Error, err)
		}
	}
}
