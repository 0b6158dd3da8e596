package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w world) policy(t *testing.T, p store.RecordingPolicy) {
	t.Helper()
	_, err := w.db.UpdateDevice(t.Context(), w.user.ID, w.camera.ID, store.DeviceChange{RecordingPolicy: &p}, w.by)
	wantErr(t, err, nil)
}

// TestExpectedUploads has streams from peer to peer end.
func TestExpectedUploads(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		p2p := func(accept bool) store.Stream {
			t.Helper()
			s := w.stream()
			s.MediaProvider = "p2p"
			s, err := db.RequestStream(ctx, s, w.command(), w.by)
			wantErr(t, err, nil)
			if accept {
				s, _ = w.accept(t, s.ID)
			}
			w.end(t, s.ID)
			return s
		}
		list := func() []store.Recording {
			t.Helper()
			list, err := db.Recordings(ctx, w.user.ID, store.RecordingFilter{}, store.Page{})
			wantErr(t, err, nil)
			return list
		}
		p2p(true)
		want(t, "of a camera that is not recorded", len(list()), 0)
		w.policy(t, store.RecordSession)
		p2p(false)
		want(t, "of a stream that never was", len(list()), 0)
		s := w.request(t)
		w.accept(t, s.ID)
		w.end(t, s.ID)
		want(t, "of what the server records itself", len(list()), 0)
		s = p2p(true)
		want(t, "expected", len(list()), 1)
		r := list()[0]
		want(t, "status", r.Status, store.RecordingAwaitingUpload)
		want(t, "stream", r.StreamID, s.ID)
		want(t, "requester", r.RequesterDeviceID, w.client.ID)

		at := storetest.Now()
		wantErr(t, second(db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)), store.ErrConflict)
		stale, err := db.StaleUploads(ctx, at.Add(time.Hour), 10)
		wantErr(t, err, nil)
		want(t, "stale", len(stale), 1)
		fresh, err := db.StaleUploads(ctx, r.UpdatedAt, 10)
		wantErr(t, err, nil)
		want(t, "not yet stale", len(fresh), 0)
		wantErr(t, second(db.FinalizeRecording(ctx, store.Recording{ID: "nothing"}, store.Uploaded{}, at, w.by)), store.ErrNotFound)
		done, err := db.FinalizeRecording(ctx, r, store.Uploaded{ContentType: "video/mp4", Size: 9}, at, w.by)
		wantErr(t, err, nil)
		want(t, "ready", done.Status, store.RecordingReady)
		want(t, "duration, as the stream's", done.Duration, r.Duration)
		want(t, "key", done.ObjectKey, r.ObjectKey)
		wantErr(t, db.GiveUpRecording(ctx, r, "not_uploaded", at), store.ErrConflict)
		p2p(true)
		w.request(t)
		wantErr(t, db.DeleteDevice(ctx, w.user.ID, w.camera.ID, w.by), nil)
		want(t, "none of a camera that is gone", len(list()), 2)
		wantErr(t, db.GiveUpRecording(ctx, list()[0], "not_uploaded", at), nil)
		want(t, "given up", list()[0].Error, "not_uploaded")
	})
}

// awaiting adds a recording that its camera is to upload.
func (w world) awaiting(t *testing.T) store.Recording {
	t.Helper()
	r := w.recording()
	r.NodeID, r.Status = "", store.RecordingAwaitingUpload
	wantErr(t, w.db.CreateRecording(t.Context(), r, w.by), nil)
	return r
}

// TestUploadReserves has cameras ask for what is over the limit only together,
// and for less than they may upload already.
func TestUploadReserves(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		db.SetLimits(store.Limits{Storage: 100})
		w, other := newWorld(t, db), newWorld(t, db)
		first, next := w.awaiting(t), w.awaiting(t)
		reserve := func(r store.Recording, size int64) error {
			t.Helper()
			return db.ReserveUpload(ctx, r.OwnerUserID, r.ID, size)
		}
		wantErr(t, reserve(first, 101), store.ErrNoStorage)
		wantErr(t, reserve(first, 60), nil)
		wantErr(t, reserve(next, 41), store.ErrNoStorage)
		wantErr(t, reserve(first, 100), nil) // its own 60 are not in its way
		wantErr(t, reserve(first, 1), nil)   // the first URLs still work
		wantErr(t, reserve(next, 1), store.ErrNoStorage)
		wantErr(t, reserve(other.awaiting(t), 100), nil)
		wantErr(t, db.ReserveUpload(ctx, other.user.ID, first.ID, 1), store.ErrNotFound)
		wantErr(t, db.GiveUpRecording(ctx, first, "not_uploaded", at), nil)
		wantErr(t, reserve(first, 1), store.ErrConflict)
		wantErr(t, reserve(next, 100), nil)
		done, err := db.FinalizeRecording(ctx, next, store.Uploaded{Size: 30}, at, w.by)
		wantErr(t, err, nil)
		want(t, "size", done.Size, int64(30))
		wantErr(t, reserve(w.awaiting(t), 70), nil)
	})
}

// TestUploadLeavesNothing has objects come by URLs of rows that name another
// object, or await none any more.
func TestUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		doomed := func(want ...string) {
			t.Helper()
			keys, err := db.DoomedObjects(ctx, time.Now().Add(time.Hour), 9)
			wantErr(t, err, nil)
			if !slices.Equal(keys, want) {
				t.Errorf("doomed %q, want %q", keys, want)
			}
			for _, key := range keys {
				wantErr(t, db.ForgetDoomed(ctx, key), nil)
			}
		}
		for _, life := range []time.Duration{0, time.Hour} {
			db.SetLimits(store.Limits{UploadLife: life})
			r := w.awaiting(t)
			wantErr(t, second(db.FinalizeRecording(ctx, r, store.Uploaded{ObjectKey: "sim/" + r.ID}, at, w.by)), nil)
			doomed(r.ObjectKey)
			r = w.awaiting(t)
			wantErr(t, second(db.FinalizeRecording(ctx, r, store.Uploaded{ObjectKey: r.ObjectKey}, at, w.by)), nil)
			doomed()
		}
		r := w.awaiting(t)
		wantErr(t, db.GiveUpRecording(ctx, r, "not_uploaded", at), nil)
		doomed(r.ObjectKey)
	})
}

func TestVideoRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w, foreign := newWorld(t, db), newWorld(t, db)
		at := storetest.Now()
		video := func(w world) store.Video {
			id := storetest.ID()
			return store.Video{
				ID: id, UserID: w.user.ID, Name: "x", ObjectKey: "videos/" + id, ContentType: "video/webm", Size: 5,
				ExpiresAt: at.Add(time.Hour), CreatedAt: at,
			}
		}
		event := w.start(t).Event
		v := video(w)
		v.DeviceID, v.EventID = w.camera.ID, event.ID
		wantErr(t, db.CreateVideo(ctx, v, 1, w.by), nil)
		wantErr(t, db.CreateVideo(ctx, video(w), 1, w.by), store.ErrConflict)
		for _, change := range []func(*store.Video){
			func(v *store.Video) { v.DeviceID = w.camera.ID }, func(v *store.Video) { v.EventID = event.ID },
		} {
			v := video(foreign)
			change(&v)
			wantErr(t, db.CreateVideo(ctx, v, 9, foreign.by), store.ErrNotFound)
		}
		for name, err := range map[string]error{
			"Video": second(db.Video(ctx, foreign.user.ID, v.ID)), "DeleteVideo": db.DeleteVideo(ctx, foreign.user.ID, v.ID, foreign.by),
			"FinishVideo": second(db.FinishVideo(ctx, foreign.user.ID, v.ID, 5, at, foreign.by)),
			"FailVideo":   db.FailVideo(ctx, foreign.user.ID, v.ID, at),
		} {
			t.Log(name)
			wantErr(t, err, store.ErrNotFound)
		}
		wantErr(t, db.DeleteVideo(ctx, w.user.ID, v.ID, w.by), store.ErrConflict)
		expired, err := db.ExpiredVideos(ctx, at.Add(2*time.Hour), 9)
		wantErr(t, err, nil)
		want(t, "expired", len(expired), 1)
		done, err := db.FinishVideo(ctx, w.user.ID, v.ID, 7, at, w.by)
		wantErr(t, err, nil)
		want(t, "size", done.Size, int64(7))
		wantErr(t, db.FailVideo(ctx, w.user.ID, v.ID, at), store.ErrConflict)
		told, err := db.Event(ctx, w.user.ID, event.ID)
		wantErr(t, err, nil)
		want(t, "the event's", told.VideoURL, "/videos/"+v.ID+"/download-url")
		seen, err := db.Videos(ctx, w.user.ID, store.VideoFilter{DeviceID: w.client.ID, EventID: event.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "seen by a linked client", len(seen), 1)
		none, err := db.Videos(ctx, foreign.user.ID, store.VideoFilter{OfDeviceID: w.camera.ID}, store.Page{})
		wantErr(t, err, nil)
		want(t, "seen by another user", len(none), 0)
		wantErr(t, db.DeleteVideo(ctx, w.user.ID, v.ID, w.by), nil)
	})
}
