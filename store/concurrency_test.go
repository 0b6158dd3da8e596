package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// atOnce calls f from n goroutines and counts the calls that changed
// something. Any error but a conflict fails the test.
func atOnce(t *testing.T, n int, f func(i int) error) int {
	t.Helper()
	var changed atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch err := f(i); {
			case err == nil:
				changed.Add(1)
			case !errors.Is(err, store.ErrConflict):
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(changed.Load())
}

const goroutines = 50

func TestOneOpenStreamPerPair(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		n := atOnce(t, goroutines, func(int) error {
			_, err := db.RequestStream(t.Context(), w.stream(), w.command(), w.by)
			return err
		})
		want(t, "requests that succeeded", n, 1)
		wantCount(t, db, 1, `SELECT COUNT(*) FROM device_commands`)
		s := w.openStream(t)
		n = atOnce(t, goroutines, func(int) error {
			_, _, err := db.AcceptStream(t.Context(), w.camera.ID, s.ID, w.media(), w.by)
			return err
		})
		want(t, "accepts that succeeded", n, 1)
		n = atOnce(t, goroutines, func(int) error {
			return endError(db.EndStream(t.Context(), w.user.ID, s.ID, store.StreamCompleted, "", storetest.Now(), w.by))
		})
		want(t, "ends that succeeded", n, 1)
	})
}

func TestOneMediaSessionPerCamera(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		ids := make([]string, goroutines)
		n := atOnce(t, goroutines, func(i int) error {
			m, err := db.OpenMediaSession(t.Context(), w.media(), w.by)
			ids[i] = m.ID
			return err
		})
		want(t, "opened", n, goroutines)
		for _, id := range ids {
			want(t, "media session", id, ids[0])
		}
		n = atOnce(t, goroutines, func(int) error {
			return second(db.EndMediaSession(t.Context(), ids[0], "done", storetest.Now(), w.by))
		})
		want(t, "ended", n, 1)
	})
}

// TestTwoProcessesShareADatabase lets two pools, which know nothing of each
// other, write at once.
func TestTwoProcessesShareADatabase(t *testing.T) {
	t.Parallel()
	storetest.EachURL(t, func(t *testing.T, databaseURL string) {
		dbs := []*store.DB{openURL(t, databaseURL), openURL(t, databaseURL)}
		wantErr(t, dbs[0].Migrate(t.Context()), nil)
		w := newWorld(t, dbs[0])
		n := atOnce(t, goroutines, func(i int) error {
			return second(dbs[i%2].OpenMediaSession(t.Context(), w.media(), w.by))
		})
		want(t, "opened", n, goroutines)
		wantCount(t, dbs[1], 1, `SELECT COUNT(*) FROM media_sessions`)
	})
}

// TestLostTransactionRunsAgain makes two transactions wait for each other's
// row. The engine ends one; both must have happened in the end.
func TestLostTransactionRunsAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		rename := func(d store.Device) string {
			return `UPDATE devices SET name = name || '+' WHERE id = '` + d.ID + `'`
		}
		met := make(chan struct{})
		var first atomic.Int64
		meet := func() {
			if first.Add(1) == 2 {
				close(met)
			}
			select {
			case <-met:
			case <-time.After(100 * time.Millisecond): // SQLite lets one in at a time
			}
		}
		devices := []store.Device{w.camera, w.client}
		n := atOnce(t, 2, func(i int) error {
			return db.InTx(t.Context(), rename(devices[i]), rename(devices[1-i]), meet)
		})
		want(t, "transactions that happened", n, 2)
		for _, d := range devices {
			got, err := db.DeviceByID(t.Context(), d.ID)
			wantErr(t, err, nil)
			want(t, "name", got.Name, d.Name+"++")
		}
	})
}

// TestViewersComeAndGo lets many viewers request, be accepted and leave, each
// in its own order, while the camera itself goes live and away. Whatever
// happens, the rows must fit each other, and each transition that was reported
// must be there exactly once.
func TestViewersComeAndGo(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		clients := make([]world, 8)
		for i := range clients {
			clients[i] = w
			clients[i].client = storetest.Client(t, db, w.user.ID)
		}
		var requested, accepted, ended atomic.Int64
		atOnce(t, goroutines, func(i int) error {
			v := clients[i%len(clients)]
			s, err := db.RequestStream(t.Context(), v.stream(), v.command(), v.by)
			if err != nil {
				return err
			}
			requested.Add(1)
			if s.Status == store.StreamRequested && i%3 != 0 {
				switch _, _, err := db.AcceptStream(t.Context(), v.camera.ID, s.ID, v.media(), v.by); {
				case err == nil:
					accepted.Add(1)
				case !errors.Is(err, store.ErrConflict):
					return err
				}
			}
			if i%5 == 0 {
				list, err := db.OpenMediaSessions(t.Context())
				if err != nil || len(list) == 0 {
					return err
				}
				streams, err := db.EndMediaSession(t.Context(), list[0].ID, store.ReasonCameraLost, storetest.Now(), v.by)
				ended.Add(int64(len(streams)))
				return err
			}
			if i%2 == 0 {
				err := endError(db.EndStream(t.Context(), v.user.ID, s.ID, store.StreamCompleted, "", storetest.Now(), v.by))
				if err == nil {
					ended.Add(1)
				}
				return err
			}
			return nil
		})
		count := func(want int64, query string) {
			t.Helper()
			wantCount(t, db, int(want), query)
		}
		count(requested.Load(), `SELECT COUNT(*) FROM stream_sessions`)
		count(requested.Load(), `SELECT COUNT(*) FROM audit_logs WHERE action = 'stream.request'`)
		count(accepted.Load(), `SELECT COUNT(*) FROM audit_logs WHERE action = 'stream.accept'`)
		count(ended.Load(), `SELECT COUNT(*) FROM stream_sessions WHERE ended_at IS NOT NULL`)
		count(ended.Load(), `SELECT COUNT(*) FROM audit_logs WHERE action = 'stream.end'`)
		checkRows(t, db)
	})
}

// checkRows checks what the streams and media sessions promise each other.
func checkRows(t *testing.T, db *store.DB) {
	t.Helper()
	for _, broken := range []string{
		`SELECT COUNT(*) FROM stream_sessions s JOIN media_sessions m ON m.id = s.media_session_id
			WHERE s.status = 'streaming' AND m.ended_at IS NOT NULL`,
		`SELECT COUNT(*) FROM media_sessions m WHERE m.ended_at IS NULL AND NOT m.continuous AND NOT EXISTS (
			SELECT 1 FROM stream_sessions s WHERE s.media_session_id = m.id AND s.status = 'streaming')`,
		`SELECT COUNT(*) FROM (SELECT 1 FROM media_sessions WHERE ended_at IS NULL
			GROUP BY camera_device_id HAVING COUNT(*) > 1) x`,
	} {
		wantCount(t, db, 0, broken)
	}
}

// TestDevicesMeetUnderConcurrency registers cameras and clients at once: every
// pair must be linked, though no transaction sees another's device.
func TestDevicesMeetUnderConcurrency(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		u := storetest.User(t, db)
		atOnce(t, 20, func(i int) error {
			d := store.Device{
				ID: storetest.ID(), UserID: u.ID, Role: store.RoleCamera, Status: store.DeviceOnline,
				RecordingPolicy: store.RecordOff, CreatedAt: storetest.Now(),
			}
			if i%2 == 0 {
				d.Role = store.RoleClient
			}
			return second(db.RegisterDevice(t.Context(), d, store.Actor{}))
		})
		wantCount(t, db, 100, `SELECT COUNT(*) FROM device_links WHERE status = 'active'`)
	})
}

// TestRevocationRacesRequests revokes and restores links, changes roles and
// deletes devices while viewers request: no open stream may be left without an
// active link, and nothing may deadlock.
func TestRevocationRacesRequests(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		victim := w
		victim.client = storetest.Client(t, db, w.user.ID)
		link, err := db.ActiveLink(t.Context(), w.camera.ID, w.client.ID)
		wantErr(t, err, nil)
		atOnce(t, goroutines, func(i int) error {
			v := w
			if i%2 == 0 {
				v = victim
			}
			var err error
			switch i {
			case 11, 12, 13:
				err = db.RevokeLink(t.Context(), w.user.ID, link.ID, w.by)
			case 14, 15, 16:
				_, err = db.CreateLink(t.Context(), link, w.by)
			case 17:
				err = db.DeleteDevice(t.Context(), w.user.ID, victim.client.ID, w.by)
			case 18:
				role := store.RoleCamera
				_, err = db.UpdateDevice(t.Context(), w.user.ID, w.client.ID, store.DeviceChange{Role: &role}, w.by)
			default:
				var s store.Stream
				if s, err = db.RequestStream(t.Context(), v.stream(), v.command(), v.by); err == nil {
					_, _, err = db.AcceptStream(t.Context(), v.camera.ID, s.ID, v.media(), v.by)
				}
			}
			if errors.Is(err, store.ErrNotFound) {
				return nil // the link or device went first
			}
			return err
		})
		wantCount(t, db, 0, `SELECT COUNT(*) FROM stream_sessions s WHERE s.ended_at IS NULL AND NOT EXISTS (
			SELECT 1 FROM device_links l WHERE l.camera_device_id = s.camera_device_id
				AND l.client_device_id = s.requester_device_id AND l.status = 'active')`)
		checkRows(t, db)
	})
}
