package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestObjectOf(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, w := t.Context(), newWorld(t, db)
		at := storetest.Now()
		video := store.Video{
			ID: storetest.ID(), UserID: w.user.ID, Name: "a", Status: store.VideoAwaitingUpload, ObjectKey: "videos/" + w.user.ID + "/a",
			ContentType: "video/webm", Size: 1, ExpiresAt: at.Add(time.Hour), CreatedAt: at, UpdatedAt: at,
		}
		wantErr(t, db.CreateVideo(ctx, video, 10, w.by), nil)
		started, err := db.StartEvent(ctx, store.Event{
			ID: storetest.ID(), UserID: w.user.ID, DeviceID: w.camera.ID, TriggeredBy: "motion", StartedAt: at,
			ThumbnailKey: "thumbnails/" + w.camera.ID + "/a.jpeg",
		}, store.Message{Type: "x", Payload: json.RawMessage("{}")}, at, w.by)
		wantErr(t, err, nil)
		for key, expected := range map[string]store.Object{
			video.ObjectKey:            {Type: "video", ID: video.ID, OwnerUserID: w.user.ID},
			started.Event.ThumbnailKey: {Type: "event", ID: started.Event.ID, OwnerUserID: w.user.ID},
		} {
			got, err := db.ObjectOf(ctx, key)
			wantErr(t, err, nil)
			want(t, "owner of "+key, got, expected)
		}
		_, err = db.ObjectOf(ctx, "nobody's")
		wantErr(t, err, store.ErrNotFound)
	})
}
