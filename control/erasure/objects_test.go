package erasure_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/securecam/securecam/control/erasure"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/blob"
	"github.com/securecam/securecam/store/storetest"
)

// TestLateUpload deletes a video, uploads it once more by the URL that still
// works, and looks at what is left: on disk, and in a MinIO whose URLs lead to
// it past this server.
func TestLateUpload(t *testing.T) {
	t.Parallel()
	t.Run("disk", func(t *testing.T) {
		t.Parallel()
		d, err := blob.OpenDisk(blob.DiskConfig{Dir: t.TempDir(), Secret: []byte("sixteen bytes or more")})
		if err != nil {
			t.Fatal(err)
		}
		lateUpload(t, d, func(key string, to blob.SignedPut) error { // as control/objects, had it not looked at the row
			u, err := url.Parse(to.URL)
			if err != nil {
				return err
			}
			if _, err := d.VerifyPut(key, u.Query()); err != nil {
				return err
			}
			w, err := d.Create(t.Context(), key, "video/webm")
			if err != nil {
				return err
			}
			_, err = bytes.NewReader([]byte("hello")).WriteTo(w)
			return errors.Join(err, w.Commit(t.Context()))
		})
	})
	t.Run("MinIO", func(t *testing.T) {
		t.Parallel()
		endpoint := os.Getenv("TEST_MINIO_ENDPOINT")
		m, err := blob.OpenMinIO(t.Context(), blob.MinIOConfig{
			Endpoint: endpoint, PublicEndpoint: "http://" + endpoint, Bucket: "late-" + uuid.NewString(),
			SpoolDir:  filepath.Join(t.TempDir(), "spool"),
			AccessKey: os.Getenv("TEST_MINIO_ACCESS_KEY"), SecretKey: os.Getenv("TEST_MINIO_SECRET_KEY"),
		})
		if err != nil {
			t.Fatal(err)
		}
		lateUpload(t, m, func(_ string, to blob.SignedPut) error {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, to.URL, strings.NewReader("hello"))
			if err != nil {
				return err
			}
			for name, value := range to.Header {
				request.Header.Set(name, value)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				return err
			}
			if response.StatusCode != http.StatusOK {
				err = errors.New(response.Status)
			}
			http.DefaultClient.CloseIdleConnections()
			return errors.Join(err, response.Body.Close())
		})
	})
}

func lateUpload(t *testing.T, objects blob.Store, put func(key string, to blob.SignedPut) error) {
	t.Helper()
	t.Cleanup(func() { _ = objects.Close() })
	ctx := t.Context()
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	db := storetest.SQLite(t)
	db.SetLimits(store.Limits{UploadLife: time.Millisecond})
	user := storetest.User(t, db)
	id, at := storetest.ID(), storetest.Now()
	key := "videos/" + user.ID + "/" + id + ".webm"
	to, err := objects.SignPut(ctx, key, blob.PutOptions{TTL: time.Minute, ContentType: "video/webm", Size: 5})
	must("sign", err)
	must("create", db.CreateVideo(ctx, store.Video{
		ID: id, UserID: user.ID, ObjectKey: key, ContentType: "video/webm", Size: 5, ExpiresAt: to.Expires, CreatedAt: at,
	}, 9, store.Actor{}))
	must("upload", put(key, to))
	_, err = db.FinishVideo(ctx, user.ID, id, 5, at, store.Actor{})
	must("finish", err)
	must("delete the object", objects.Delete(ctx, key))
	must("delete", db.DeleteVideo(ctx, user.ID, id, store.Actor{}))
	must("upload again", put(key, to))
	_, err = objects.Stat(ctx, key)
	must("the orphan", err)

	s := erasure.New(erasure.Config{Store: db, Objects: objects})
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	for err == nil {
		s.Nudge()
		_, err = objects.Stat(ctx, key)
	}
	stop()
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the orphan: %v", err)
	}
	must("run", <-done)
}
