package recordings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func TestMain(m *testing.M) {
	// fasthttp keeps the date for its headers as long as the process lives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
}

const node = "node-1"

// fakeRecorder records nothing, into fakeObjects.
type fakeRecorder struct {
	objects *fakeObjects

	mu       sync.Mutex // guards the fields below
	running  map[string]bool
	most     int // at the same time
	startErr error
	broken   map[string]error
	stop     func(ctx context.Context, key string) (Result, error) // nil: 10 s, 1000 bytes
	recover  func(key string) (Result, error)
}

type fakeRunning struct {
	recorder *fakeRecorder
	key      string
}

func (r *fakeRecorder) Start(_ context.Context, _, key string) (Running, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.startErr != nil {
		return nil, r.startErr
	}
	r.running[key] = true
	r.most = max(r.most, len(r.running))
	return fakeRunning{r, key}, nil
}

func (r *fakeRecorder) Recover(_ context.Context, key string) (Result, error) { return r.recover(key) }

func (r fakeRunning) Err() error {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	return r.recorder.broken[r.key]
}

func (r fakeRunning) Stop(ctx context.Context) (Result, error) {
	r.recorder.mu.Lock()
	defer r.recorder.mu.Unlock()
	if !r.recorder.running[r.key] {
		return Result{}, errors.New("stopped twice")
	}
	delete(r.recorder.running, r.key)
	if r.recorder.stop != nil {
		return r.recorder.stop(ctx, r.key)
	}
	r.recorder.objects.put(r.key, 1000)
	return Result{Duration: 10 * time.Second, Size: 1000}, nil
}

type fakeObjects struct {
	mu    sync.Mutex // guards the fields below
	sizes map[string]int64
	err   error
}

func (o *fakeObjects) put(key string, size int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sizes[key] = size
}

func (o *fakeObjects) setErr(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *fakeObjects) Stat(_ context.Context, key string) (ObjectInfo, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	size, ok := o.sizes[key]
	if o.err == nil && !ok {
		return ObjectInfo{}, fmt.Errorf("stat: %w", fs.ErrNotExist)
	}
	return ObjectInfo{Key: key, Size: size, ContentType: "video/x-matroska", ModTime: time.Now()}, o.err
}

func (o *fakeObjects) SignGet(_ context.Context, key string, so SignOptions) (string, time.Time, error) {
	return "/objects/" + key + "?filename=" + so.Filename + "&by=" + so.Grant, time.Now().Add(so.TTL), nil
}

func (o *fakeObjects) SignPut(_ context.Context, key string, po PutOptions) (SignedPut, error) {
	return SignedPut{URL: "/objects/" + key, Header: map[string]string{"Content-Type": po.ContentType}, Expires: time.Now().Add(po.TTL)}, nil
}

func (o *fakeObjects) Put(_ context.Context, key, _ string, data []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.sizes[key]; ok {
		return fs.ErrExist
	}
	if o.err == nil {
		o.sizes[key] = int64(len(data))
	}
	return o.err
}

func (o *fakeObjects) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.sizes, key)
	return o.err
}

// world is a camera, a client and a service on a real database.
type world struct {
	*Service
	t        *testing.T
	db       *store.DB
	recorder *fakeRecorder
	objects  *fakeObjects
	user     auth.Principal
	camera   auth.Principal
	client   auth.Principal
}

func newWorld(t *testing.T, policy store.RecordingPolicy, change func(*Config)) *world {
	t.Helper()
	db := storetest.SQLite(t)
	user := storetest.User(t, db)
	camera, client := storetest.Camera(t, db, user.ID), storetest.Client(t, db, user.ID)
	w := &world{
		t: t, db: db,
		user:   auth.Principal{UserID: user.ID, SessionID: "s"},
		camera: auth.Principal{UserID: user.ID, DeviceID: camera.ID, Role: store.RoleCamera},
		client: auth.Principal{UserID: user.ID, DeviceID: client.ID, Role: store.RoleClient},
	}
	w.setPolicy(policy)
	w.objects = &fakeObjects{sizes: map[string]int64{}}
	w.recorder = &fakeRecorder{objects: w.objects, running: map[string]bool{}, broken: map[string]error{}}
	c := Config{Store: db, Objects: w.objects, Recorder: w.recorder, NodeID: node, Interval: 5 * time.Millisecond}
	if change != nil {
		change(&c)
	}
	w.Service = New(c)
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil { // the test's context is done
			t.Errorf("Close: %v", err)
		}
	})
	return w
}

func (w *world) setPolicy(policy store.RecordingPolicy) {
	w.t.Helper()
	_, err := w.db.UpdateDevice(w.t.Context(), w.user.UserID, w.camera.DeviceID,
		store.DeviceChange{RecordingPolicy: &policy}, w.user.Actor())
	if err != nil {
		w.t.Fatal(err)
	}
}

// goLive opens a media session that outlives its viewers.
func (w *world) goLive() string {
	w.t.Helper()
	m, err := w.db.OpenMediaSession(w.t.Context(), store.MediaSession{
		ID: storetest.ID(), OwnerUserID: w.user.UserID, CameraDeviceID: w.camera.DeviceID, Continuous: true,
		CreatedAt: storetest.Now(),
	}, w.camera.Actor())
	if err != nil {
		w.t.Fatal(err)
	}
	return m.ID
}

// watch makes the client a viewer.
func (w *world) watch() store.Stream {
	w.t.Helper()
	ctx, at := w.t.Context(), storetest.Now()
	stream, err := w.db.RequestStream(ctx, store.Stream{
		ID: storetest.ID(), OwnerUserID: w.user.UserID, CameraDeviceID: w.camera.DeviceID,
		RequesterDeviceID: w.client.DeviceID, Status: store.StreamRequested, MediaProvider: "sfu",
		StreamKey: storetest.ID(), CreatedAt: at, UpdatedAt: at,
	}, store.Command{
		ID: storetest.ID(), OwnerUserID: w.user.UserID, SourceDeviceID: w.client.DeviceID,
		TargetDeviceID: w.camera.DeviceID, CommandType: "start_stream", Status: store.CommandQueued,
		CreatedAt: at, UpdatedAt: at,
	}, w.client.Actor())
	if err == nil && stream.Status == store.StreamRequested {
		stream, _, err = w.db.AcceptStream(ctx, w.camera.DeviceID, stream.ID, store.MediaSession{
			ID: storetest.ID(), OwnerUserID: w.user.UserID, CameraDeviceID: w.camera.DeviceID, CreatedAt: at,
		}, w.camera.Actor())
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return stream
}

func (w *world) rows() []store.Recording {
	w.t.Helper()
	rows, err := w.List(w.t.Context(), w.user, store.RecordingFilter{}, store.Page{Limit: 100})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// await polls until the camera has so many recordings in that state, and
// returns them, newest first.
func (w *world) await(count int, status store.RecordingStatus) []store.Recording {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var found []store.Recording
		all := w.rows()
		for _, r := range all {
			if r.Status == status {
				found = append(found, r)
			}
		}
		if len(found) >= count {
			return found
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("want %d %s recordings, have %+v", count, status, all)
		}
	}
}

// looks waits until the service has looked at its media sessions a few times.
func (w *world) looks() {
	w.t.Helper()
	select {
	case <-time.After(20 * w.Interval):
	case <-w.t.Context().Done():
	}
}
