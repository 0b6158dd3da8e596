package store_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// recordingModel is what the recordings of one user must be, in memory.
type recordingModel struct {
	t          *testing.T
	world      world
	recordings map[string]*modelRecording
	doomed     map[string]bool // keys
	now        time.Time
	told       map[string]int
}

type modelRecording struct {
	id, key string
	server  bool // this server records it; otherwise its camera uploads it
	status  store.RecordingStatus
	size    int64
	err     string
}

// What one user may keep, and how long a URL to upload works.
const (
	recordingStorage = 100
	recordingURLLife = time.Hour
)

// row is the recording as its camera, or the sweep, has read it.
func (r *modelRecording) row() store.Recording { return store.Recording{ID: r.id, ObjectKey: r.key} }

func (m *recordingModel) used() (bytes int64) {
	for _, r := range m.recordings {
		bytes += r.size
	}
	return bytes
}

func (m *recordingModel) pick(t *rapid.T) *modelRecording {
	if len(m.recordings) == 0 {
		t.Skip("no recording yet")
	}
	return m.recordings[rapid.SampledFrom(slices.Sorted(maps.Keys(m.recordings))).Draw(t, "recording")]
}

// begin is the server's own recording.
func (m *recordingModel) begin(t *rapid.T) {
	row := m.world.recording()
	row.StartedAt, row.CreatedAt, row.UpdatedAt = m.now, m.now, m.now
	err := m.world.db.CreateRecording(m.t.Context(), row, m.world.by)
	if m.used() >= recordingStorage {
		mustBe(t, errors.Is(err, store.ErrNoStorage), true)
		return
	}
	mustBe(t, err, nil)
	m.recordings[row.ID] = &modelRecording{id: row.ID, key: row.ObjectKey, server: true, status: store.RecordingRunning}
}

// expect is the end of a stream from peer to peer: the camera is to upload what
// it recorded of it, however much is kept already.
func (m *recordingModel) expect(t *rapid.T) {
	before := slices.Collect(maps.Keys(m.recordings))
	s := m.world.stream()
	s.MediaProvider = "p2p"
	s, err := m.world.db.RequestStream(m.t.Context(), s, m.world.command(), m.world.by)
	mustBe(t, err, nil)
	m.world.accept(m.t, s.ID)
	m.world.end(m.t, s.ID)
	for _, row := range m.rows() {
		if !slices.Contains(before, row.ID) {
			mustBe(t, row.Status, store.RecordingAwaitingUpload)
			mustBe(t, row.StreamID, s.ID)
			m.recordings[row.ID] = &modelRecording{id: row.ID, key: row.ObjectKey, status: row.Status}
		}
	}
	mustBe(t, len(m.recordings), len(before)+1)
}

func (m *recordingModel) rows() []store.Recording {
	rows, err := m.world.db.Recordings(m.t.Context(), m.world.user.ID, store.RecordingFilter{}, store.Page{Limit: 1000})
	wantErr(m.t, err, nil)
	return rows
}

// finish is the recorder's last word, which may come twice.
func (m *recordingModel) finish(t *rapid.T) {
	r := m.pick(t)
	failed, size := rapid.Bool().Draw(t, "failed"), int64(rapid.IntRange(1, 60).Draw(t, "size"))
	var err error
	if failed {
		err = m.world.db.FailRecording(m.t.Context(), r.id, "camera_lost", m.now)
	} else {
		err = m.world.db.FinishRecording(m.t.Context(), r.id, "", time.Second, size, m.now)
	}
	if r.status != store.RecordingRunning {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.told["recording.end"]++
	if r.status, r.size = store.RecordingReady, size; failed {
		r.status, r.size, r.err = store.RecordingFailed, 0, "camera_lost"
	}
}

// reserve is the camera's request for a URL, which it may make again: the room
// for the largest is kept.
func (m *recordingModel) reserve(t *rapid.T) {
	r := m.pick(t)
	size := int64(rapid.IntRange(1, 60).Draw(t, "size"))
	err := m.world.db.ReserveUpload(m.t.Context(), m.world.user.ID, r.id, size)
	switch {
	case r.status != store.RecordingAwaitingUpload:
		mustConflict(t, err)
	case m.used()-r.size+max(r.size, size) > recordingStorage:
		mustBe(t, errors.Is(err, store.ErrNoStorage), true)
	default:
		mustBe(t, err, nil)
		r.size = max(r.size, size)
	}
}

// finalize is the camera's word that the object is there, or that another one
// is: what may have been uploaded by the URL is left to nobody then.
func (m *recordingModel) finalize(t *rapid.T) {
	r := m.pick(t)
	u := store.Uploaded{ContentType: "video/webm", Size: r.size}
	if rapid.Bool().Draw(t, "elsewhere") {
		u.ObjectKey = "sim/" + r.id
	}
	_, err := m.world.db.FinalizeRecording(m.t.Context(), r.row(), u, m.now, m.world.by)
	if r.status != store.RecordingAwaitingUpload {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.told["recording.finalize"]++
	r.status = store.RecordingReady
	if u.ObjectKey != "" {
		m.doomed[r.key] = true
		r.key = u.ObjectKey
	}
}

// giveUp is the server's patience at its end: what comes yet must go again.
func (m *recordingModel) giveUp(t *rapid.T) {
	r := m.pick(t)
	err := m.world.db.GiveUpRecording(m.t.Context(), r.row(), "not_uploaded", m.now)
	if r.status != store.RecordingAwaitingUpload {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.told["recording.fail"]++
	r.status, r.size, r.err = store.RecordingFailed, 0, "not_uploaded"
	m.doomed[r.key] = true
}

// await is what did not come, awaited once more, by another key: the object of
// the one before may be being deleted just now.
func (m *recordingModel) await(t *rapid.T) {
	r := m.pick(t)
	row, err := m.world.db.AwaitUpload(m.t.Context(), m.world.user.ID, r.id, m.now, m.world.by)
	if r.status != store.RecordingFailed || r.server {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.told["recording.await_upload"]++
	before := r.row()
	r.status, r.err, r.key = store.RecordingAwaitingUpload, "", row.ObjectKey
	if m.names(before.ObjectKey) {
		t.Fatalf("awaits %s as before", r.key)
	}
	// What others know of it is of no use any more.
	mustConflict(t, m.world.db.GiveUpRecording(m.t.Context(), before, "not_uploaded", m.now))
	mustConflict(t, second(m.world.db.FinalizeRecording(m.t.Context(), before, store.Uploaded{Size: 1}, m.now, m.world.by)))
}

func (m *recordingModel) remove(t *rapid.T) {
	r := m.pick(t)
	err := second(m.world.db.DeleteRecording(m.t.Context(), m.world.user.ID, r.id, m.world.by))
	if r.status != store.RecordingReady && r.status != store.RecordingFailed {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	m.told["recording.delete"]++
	delete(m.recordings, r.id)
	m.doomed[r.key] = true
	mustNotFind(t, second(m.world.db.DeleteRecording(m.t.Context(), m.world.user.ID, r.id, m.world.by)))
}

// due are the keys of this user's that are to be deleted.
func (m *recordingModel) due(t *rapid.T) (keys []string) {
	all, err := m.world.db.DoomedObjects(m.t.Context(), time.Now().Add(2*recordingURLLife), 10000)
	mustBe(t, err, nil)
	for _, key := range all {
		if m.doomed[key] || strings.Contains(key, m.world.camera.ID) || m.names(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// names says whether a row has that object, or may have one soon.
func (m *recordingModel) names(key string) bool {
	for _, r := range m.recordings {
		if r.key == key && (r.status != store.RecordingFailed || r.server) {
			return true
		}
	}
	return false
}

// sweep is the deletion of what is due.
func (m *recordingModel) sweep(t *rapid.T) {
	for _, key := range m.due(t) {
		mustBe(t, m.world.db.ForgetDoomed(m.t.Context(), key), nil)
		delete(m.doomed, key)
	}
}

func (m *recordingModel) pass(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
}

// check compares every row and what is doomed with the model.
func (m *recordingModel) check(t *rapid.T) {
	rows := m.rows()
	mustBe(t, len(rows), len(m.recordings))
	for _, row := range rows {
		r := m.recordings[row.ID]
		if r == nil {
			t.Fatalf("%s was deleted", row.ID)
		}
		mustBe(t, row.Status, r.status)
		mustBe(t, row.ObjectKey, r.key)
		mustBe(t, row.Size, r.size)
		mustBe(t, row.Error, r.err)
		awaits, err := m.world.db.AwaitsUpload(m.t.Context(), row.ObjectKey)
		mustBe(t, err, nil)
		mustBe(t, awaits, r.status == store.RecordingAwaitingUpload)
	}
	due := m.due(t)
	mustBe(t, len(due), len(m.doomed))
	for _, key := range due {
		if !m.doomed[key] || m.names(key) {
			t.Fatalf("%s is to be deleted, and a row has it", key)
		}
	}
}

// TestRecordingStateMachine does to a user's recordings, in any order, what the
// recorder, cameras that upload, their user and the clock do:
//
//   - a recording ends once, and what comes afterwards is told so; only an
//     upload that did not come can be awaited again;
//   - an object that a row has, or awaits, is never deleted; one that no row has
//     any more, or that may come yet by a URL that still works, always is;
//   - nothing is begun, and no room promised, beyond what one user may keep;
//   - what runs or is awaited cannot be deleted, and each end is audited once.
func TestRecordingStateMachine(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		db.SetLimits(store.Limits{Storage: recordingStorage, UploadLife: recordingURLLife})
		rapid.Check(t, func(rt *rapid.T) {
			// Each run has a user of its own, so that one schema serves all.
			w := newWorld(t, db)
			w.policy(t, store.RecordSession)
			m := &recordingModel{
				t: t, world: w, recordings: map[string]*modelRecording{}, doomed: map[string]bool{}, now: storetest.Now(),
				told: map[string]int{},
			}
			rt.Repeat(map[string]func(*rapid.T){
				"begin": m.begin, "expect": m.expect, "finish": m.finish, "reserve": m.reserve, "finalize": m.finalize,
				"give up": m.giveUp, "await": m.await, "delete": m.remove, "sweep": m.sweep, "pass": m.pass, "": m.check,
			})
			audited := w.actions(t)
			for action, n := range m.told {
				mustBe(rt, audited[action], n)
			}
		})
	})
}
