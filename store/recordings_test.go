package store_test

import (
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestRecordings(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, at := t.Context(), storetest.Now()
		w := newWorld(t, db)
		s := w.request(t)
		_, m := w.accept(t, s.ID)
		r, lost := w.recording(), w.recording()
		r.RequesterDeviceID, r.StreamID, r.MediaSessionID = w.client.ID, s.ID, m.ID
		for _, r := range []store.Recording{r, lost} {
			wantErr(t, db.CreateRecording(ctx, r, w.by), nil)
		}
		same := w.recording()
		same.ObjectKey = r.ObjectKey
		wantErr(t, db.CreateRecording(ctx, same, w.by), store.ErrConflict)

		running, err := db.UnfinishedRecordings(ctx, "node")
		wantErr(t, err, nil)
		want(t, "unfinished", running, []store.Recording{r, lost})
		running, err = db.UnfinishedRecordings(ctx, "another node")
		wantErr(t, err, nil)
		want(t, "unfinished elsewhere", running, nil)
		_, err = db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)
		wantErr(t, err, store.ErrConflict)

		wantErr(t, db.FinishRecording(ctx, r.ID, "video/x-matroska", 1234*time.Millisecond, 1<<40, at), nil)
		wantErr(t, db.FinishRecording(ctx, r.ID, "", 0, 0, at), store.ErrConflict)
		wantErr(t, db.FailRecording(ctx, lost.ID, "no_media", at), nil)
		wantErr(t, db.FailRecording(ctx, lost.ID, "again", at), store.ErrConflict)
		wantErr(t, db.FailRecording(ctx, "unknown", "", at), store.ErrNotFound)
		r.ContentType = "video/x-matroska"
		r.Status, r.Duration, r.Size, r.EndedAt, r.UpdatedAt = store.RecordingReady, 1234*time.Millisecond, 1<<40, at, at
		lost.Status, lost.Error, lost.EndedAt, lost.UpdatedAt = store.RecordingFailed, "no_media", at, at
		got, err := db.Recording(ctx, w.user.ID, r.ID)
		wantErr(t, err, nil)
		want(t, "recording", got, r)

		for _, tt := range []struct {
			name   string
			filter store.RecordingFilter
			want   []store.Recording
		}{
			{"all", store.RecordingFilter{}, []store.Recording{lost, r}},
			{"camera", store.RecordingFilter{CameraDeviceID: w.camera.ID}, []store.Recording{lost, r}},
			{"camera of another", store.RecordingFilter{CameraDeviceID: w.client.ID}, nil},
			{"linked client", store.RecordingFilter{DeviceID: w.client.ID}, []store.Recording{lost, r}},
			{"client of another", store.RecordingFilter{DeviceID: "unknown"}, nil},
			{"stream", store.RecordingFilter{StreamID: s.ID}, []store.Recording{r}},
			{"status", store.RecordingFilter{Status: store.RecordingFailed}, []store.Recording{lost}},
			{"camera and status", store.RecordingFilter{DeviceID: w.camera.ID, Status: store.RecordingReady}, []store.Recording{r}},
		} {
			list, err := db.Recordings(ctx, w.user.ID, tt.filter, store.Page{})
			wantErr(t, err, nil)
			want(t, tt.name, list, tt.want)
		}

		got, err = db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)
		wantErr(t, err, nil)
		want(t, "deleted recording", got, r)
		_, err = db.DeleteRecording(ctx, w.user.ID, r.ID, w.by)
		wantErr(t, err, store.ErrNotFound)
	})
}
