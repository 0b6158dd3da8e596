package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestStreamFromRequestToEnd(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		asked, cmd := w.stream(), w.command()
		s, err := db.RequestStream(ctx, asked, cmd, w.by)
		wantErr(t, err, nil)
		want(t, "requested stream", s, asked)
		_, err = db.Command(ctx, w.user.ID, cmd.ID)
		wantErr(t, err, nil)
		_, err = db.RequestStream(ctx, w.stream(), w.command(), w.by)
		wantErr(t, err, store.ErrConflict)

		_, _, err = db.AcceptStream(ctx, w.client.ID, s.ID, w.media(), w.by)
		wantErr(t, err, store.ErrNotFound)
		m := w.media()
		s, open, err := db.AcceptStream(ctx, w.camera.ID, s.ID, m, w.by)
		wantErr(t, err, nil)
		want(t, "media session", open, m)
		asked.Status, asked.MediaSessionID, asked.StartedAt, asked.UpdatedAt = store.StreamStreaming, m.ID, m.CreatedAt, m.CreatedAt
		want(t, "accepted stream", s, asked)
		_, _, err = db.AcceptStream(ctx, w.camera.ID, s.ID, w.media(), w.by)
		wantErr(t, err, store.ErrConflict)
		list, err := db.OpenStreams(ctx)
		wantErr(t, err, nil)
		want(t, "open streams", list, []store.Stream{asked})
		sessions, err := db.OpenMediaSessions(ctx)
		wantErr(t, err, nil)
		want(t, "open media sessions", sessions, []store.MediaSession{m})

		at := storetest.Now().Add(time.Minute)
		s, ended, err := db.EndStream(ctx, w.user.ID, s.ID, store.StreamCompleted, "seen", at, w.by)
		wantErr(t, err, nil)
		asked.Status, asked.Reason, asked.EndedAt, asked.UpdatedAt = store.StreamCompleted, "seen", at, at
		m.EndReason, m.EndedAt = "seen", at
		want(t, "ended stream", s, asked)
		want(t, "ended media session", ended, m)
		_, _, err = db.EndStream(ctx, w.user.ID, s.ID, store.StreamFailed, "", at, w.by)
		wantErr(t, err, store.ErrConflict)
		for _, device := range []string{"", w.camera.ID, w.client.ID} {
			list, err = db.Streams(ctx, w.user.ID, store.StreamFilter{DeviceID: device}, store.Page{})
			wantErr(t, err, nil)
			want(t, "streams", list, []store.Stream{asked})
		}
	})
}

func TestEndStreamBeforeItStarted(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, m := w.end(t, w.request(t).ID)
		want(t, "status", s.Status, store.StreamCancelled)
		want(t, "reason", s.Reason, "curious")
		want(t, "media session", m, store.MediaSession{})
	})
}

func TestSecondViewerJoins(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		other := w
		other.client = storetest.Client(t, db, w.user.ID)
		first := w.request(t)
		_, m := w.accept(t, first.ID)

		cmd := other.command()
		second, err := db.RequestStream(t.Context(), other.stream(), cmd, w.by)
		wantErr(t, err, nil)
		want(t, "status", second.Status, store.StreamStreaming)
		want(t, "media session", second.MediaSessionID, m.ID)
		_, err = db.Command(t.Context(), w.user.ID, cmd.ID)
		wantErr(t, err, store.ErrNotFound)

		_, ended := w.end(t, first.ID)
		want(t, "media session that is still watched", ended, store.MediaSession{})
		_, ended = w.end(t, second.ID)
		want(t, "media session that nobody watches", ended.ID, m.ID)
	})
}

func TestContinuousMediaSession(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		w := newWorld(t, db)
		s := w.request(t)
		_, m := w.accept(t, s.ID)
		live := w.media()
		live.Continuous = true
		open, err := db.OpenMediaSession(ctx, live, w.by)
		wantErr(t, err, nil)
		m.Continuous = true
		want(t, "media session", open, m)
		open, err = db.OpenMediaSession(ctx, w.media(), w.by)
		wantErr(t, err, nil)
		want(t, "media session asked for again", open, m)

		_, ended := w.end(t, s.ID)
		want(t, "media session that is continuous", ended, store.MediaSession{})
		again := w.request(t)
		want(t, "status", again.Status, store.StreamStreaming)
		list, err := db.EndMediaSession(ctx, m.ID, "stopped", storetest.Now(), w.by)
		wantErr(t, err, nil)
		if len(list) != 1 || list[0].ID != again.ID || list[0].Status != store.StreamCompleted {
			t.Errorf("got %+v, want the second stream completed", list)
		}
		_, err = db.EndMediaSession(ctx, m.ID, "stopped", storetest.Now(), w.by)
		wantErr(t, err, store.ErrConflict)
		_, err = db.EndMediaSession(ctx, "unknown", "stopped", storetest.Now(), w.by)
		wantErr(t, err, store.ErrNotFound)
		client := w.media()
		client.CameraDeviceID = w.client.ID
		_, err = db.OpenMediaSession(ctx, client, w.by)
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestEndMediaSessionFailsItsStreams(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for reason, status := range map[string]store.StreamStatus{
			store.ReasonCameraLost: store.StreamFailed, store.ReasonCameraUnavailable: store.StreamFailed,
			"ended": store.StreamCompleted,
		} {
			w := newWorld(t, db)
			s := w.request(t)
			_, m := w.accept(t, s.ID)
			list, err := db.EndMediaSession(t.Context(), m.ID, reason, storetest.Now(), w.by)
			wantErr(t, err, nil)
			if len(list) != 1 || list[0].Status != status || list[0].Reason != reason {
				t.Errorf("%s: got %+v, want one %s stream", reason, list, status)
			}
		}
	})
}

func TestChangesAreAudited(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.by = store.Actor{UserID: w.user.ID, DeviceID: w.client.ID, IP: "2001:db8::1"}
		s := w.request(t)
		w.accept(t, s.ID)
		w.end(t, s.ID)
		_, _, err := db.EndStream(t.Context(), w.user.ID, s.ID, store.StreamFailed, "", storetest.Now(), w.by)
		wantErr(t, err, store.ErrConflict)

		entries, err := db.AuditEntries(t.Context(), w.user.ID, store.AuditFilter{}, store.Page{Limit: 6})
		wantErr(t, err, nil)
		actions := map[string]int{}
		for _, e := range entries {
			actions[e.Action]++
			if e.ActorDeviceID != w.client.ID || e.ActorUserID != w.user.ID || e.IPAddress != "2001:db8::1" {
				t.Errorf("entry without its actor: %+v", e)
			}
		}
		want(t, "actions", actions, map[string]int{
			"stream.request": 1, "command.create": 1, "media_session.open": 1, "stream.accept": 1,
			"stream.end": 1, "media_session.end": 1,
		})
		w.by.DeviceID = "unknown"
		_, err = db.RequestStream(t.Context(), w.stream(), w.command(), w.by)
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a change without a possible audit entry: %v", err)
		}
		open, err := db.OpenStreams(t.Context())
		wantErr(t, err, nil)
		want(t, "open streams", open, nil)
	})
}

func TestFirstWatcher(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		other := w
		other.client = storetest.Client(t, db, w.user.ID)
		first, second := w.request(t), other.request(t)
		_, m := w.accept(t, second.ID)
		got, err := db.FirstWatcher(t.Context(), m.ID)
		wantErr(t, err, nil)
		want(t, "watcher while the older one is not accepted", got.ID, second.ID)
		w.accept(t, first.ID)
		got, err = db.FirstWatcher(t.Context(), m.ID)
		wantErr(t, err, nil)
		want(t, "watcher", got.ID, first.ID)
		w.end(t, first.ID)
		got, err = db.FirstWatcher(t.Context(), m.ID)
		wantErr(t, err, nil)
		want(t, "watcher that is left", got.ID, second.ID)
		w.end(t, second.ID)
		_, err = db.FirstWatcher(t.Context(), m.ID)
		wantErr(t, err, store.ErrNotFound)
	})
}

func TestRenewMediaSessions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		mine, other := newWorld(t, db), newWorld(t, db)
		m, foreign := mine.media(), other.media()
		foreign.NodeID = "another node"
		for _, row := range []store.MediaSession{m, foreign} {
			open, err := db.OpenMediaSession(ctx, row, store.Actor{})
			wantErr(t, err, nil)
			want(t, "media session", open, row)
		}
		again := m
		again.NodeID = foreign.NodeID
		open, err := db.OpenMediaSession(ctx, again, mine.by)
		wantErr(t, err, nil)
		want(t, "media session that another node has", open, m)

		m.RenewedAt = m.RenewedAt.Add(time.Minute)
		wantErr(t, db.RenewMediaSessions(ctx, m.NodeID, m.RenewedAt), nil)
		list, err := db.OpenMediaSessions(ctx)
		wantErr(t, err, nil)
		want(t, "media sessions", list, []store.MediaSession{m, foreign})
	})
}
