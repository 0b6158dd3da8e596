package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestDoomedObjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		db.SetLimits(store.Limits{UploadLife: time.Hour})
		w := newWorld(t, db)
		at := storetest.Now()
		id := storetest.ID()
		v := store.Video{
			ID: id, UserID: w.user.ID, Name: "x", ObjectKey: "videos/" + id, ContentType: "video/webm", Size: 5,
			ExpiresAt: at.Add(time.Hour), CreatedAt: at,
		}
		awaited := func() bool {
			t.Helper()
			awaited, err := db.AwaitsUpload(ctx, v.ObjectKey)
			wantErr(t, err, nil)
			return awaited
		}
		want(t, "before there is a row", awaited(), false)
		wantErr(t, db.CreateVideo(ctx, v, 9, w.by), nil)
		want(t, "awaited", awaited(), true)
		wantErr(t, second(db.FinishVideo(ctx, w.user.ID, id, 5, at, w.by)), nil)
		want(t, "awaited when complete", awaited(), false)
		wantErr(t, db.DeleteVideo(ctx, w.user.ID, id, w.by), nil)
		due := func(at time.Time) int {
			t.Helper()
			keys, err := db.DoomedObjects(ctx, at, 10)
			wantErr(t, err, nil)
			return len(keys)
		}
		want(t, "due while the URL works", due(time.Now().Add(50*time.Minute)), 0)
		later := time.Now().Add(time.Hour)
		want(t, "due", due(later), 1)
		wantErr(t, db.PostponeDoomed(ctx, v.ObjectKey, later.Add(time.Minute)), nil)
		want(t, "postponed", due(later), 0)
		want(t, "due again", due(later.Add(time.Minute)), 1)
		wantErr(t, db.ForgetDoomed(ctx, v.ObjectKey), nil)
		want(t, "gone", due(later.Add(time.Hour)), 0)

		r := w.recording()
		wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		wantErr(t, db.FailRecording(ctx, r.ID, "x", at), nil)
		wantErr(t, second(db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)), nil)
		want(t, "a recording's", due(time.Now().Add(time.Hour)), 1)
	})
}

func TestExpectedObjects(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		soon := time.Now().Add(time.Minute)
		doomed := func() []string {
			t.Helper()
			keys, err := db.DoomedObjects(ctx, soon, 10)
			wantErr(t, err, nil)
			return keys
		}
		for _, key := range []string{"thumbnails/1", "thumbnails/2", "thumbnails/lost"} {
			wantErr(t, db.ExpectObject(ctx, key, soon), nil)
		}
		want(t, "due before", len(doomed()), 3)
		e := w.event()
		e.ThumbnailKey = "thumbnails/1"
		_, err := db.StartEvent(ctx, e, message("motion:started"), e.StartedAt, w.by)
		wantErr(t, err, nil)
		want(t, "claimed by an event", doomed(), []string{"thumbnails/2", "thumbnails/lost"})
		_, err = db.SetEventThumbnail(ctx, w.camera.ID, e.ID, "thumbnails/2", w.by)
		wantErr(t, err, nil)
		want(t, "claimed by its next picture", doomed(), []string{"thumbnails/1", "thumbnails/lost"})

		second := w.event() // refused: the first one is active
		second.ThumbnailKey = "thumbnails/lost"
		_, err = db.StartEvent(ctx, second, message("motion:started"), e.StartedAt, w.by)
		wantErr(t, err, store.ErrConflict)
		want(t, "not claimed by what was refused", len(doomed()), 2)
	})
}

func TestStorageLimit(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		db.SetLimits(store.Limits{Storage: 100})
		w, other := newWorld(t, db), newWorld(t, db)
		at := storetest.Now()
		video := func(w world, size int64) error {
			id := storetest.ID()
			return db.CreateVideo(ctx, store.Video{
				ID: id, UserID: w.user.ID, ObjectKey: "videos/" + id, Size: size, ExpiresAt: at, CreatedAt: at,
			}, 9, w.by)
		}
		wantErr(t, video(w, 101), store.ErrNoStorage)
		wantErr(t, video(w, 60), nil)
		wantErr(t, video(w, 41), store.ErrNoStorage)
		r := w.recording()
		wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		wantErr(t, db.FinishRecording(ctx, r.ID, "", time.Second, 70, at), nil) // was more than there was room for
		wantErr(t, db.CreateRecording(ctx, w.recording(), w.by), store.ErrNoStorage)
		wantErr(t, video(w, 1), store.ErrNoStorage)
		wantErr(t, video(other, 100), nil)
		wantErr(t, second(db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)), nil)
		wantErr(t, video(w, 1), nil)
	})
}
