package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second

	// markName is the user metadata that tells whose object it is: after a
	// lost answer, only the mark says that an upload had succeeded.
	markName = "Securecam-Writer"
)

// uploader moves the parts of one object from the spool to the server, in its
// own goroutine, and publishes the object when finish was called. It tries
// for ever; only what no retry can cure ends it.
type uploader struct {
	store *MinIO
	entry *spoolEntry // its journal belongs to the goroutine
	wake  chan struct{}
	done  chan struct{} // closed when the goroutine has ended
	stop  func()        // ends the goroutine and waits for it
	head  segment       // part 1 once there are more; the goroutine's

	mu     sync.Mutex // guards the fields below
	sealed []segment  // bounded by the spool
	last   *segment   // set by finish
	err    error      // why it ended
}

func newUploader(m *MinIO, e *spoolEntry) *uploader {
	return &uploader{store: m, entry: e, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// start runs u until it has published, failed or been stopped.
func (m *MinIO) start(u *uploader) error {
	ctx, cancel := context.WithCancel(context.Background())
	u.stop = func() {
		cancel()
		<-u.done
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		cancel()
		return ErrClosed
	}
	m.uploaders[u] = u.stop
	go func() {
		defer close(u.done)
		u.settle(u.run(ctx))
		cancel()
		m.claims.drop(u.entry.journal.Key)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.uploaders, u)
	}()
	return nil
}

func (u *uploader) push(g segment) {
	u.mu.Lock()
	u.sealed = append(u.sealed, g)
	u.mu.Unlock()
	u.nudge()
}

// finish says that last is the last part and may be uploaded.
func (u *uploader) finish(last segment) {
	u.mu.Lock()
	u.last = &last
	u.mu.Unlock()
	u.nudge()
}

func (u *uploader) nudge() {
	select {
	case u.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// failed returns why the upload ended, nil while it runs or when it succeeded.
func (u *uploader) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

func (u *uploader) settle(err error) {
	if errors.Is(err, context.Canceled) {
		err = ErrClosed
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
}

func (u *uploader) run(ctx context.Context) error {
	for {
		u.mu.Lock()
		sealed, last := u.sealed, u.last
		u.mu.Unlock()
		switch {
		case len(sealed) > 0 && sealed[0].number == 1:
			u.head = sealed[0] // goes last
		case len(sealed) > 0:
			if err := u.retry(ctx, func() error { return u.upload(ctx, sealed[0]) }); err != nil {
				return err
			}
		case last != nil:
			if err := u.retry(ctx, func() error { return u.publish(ctx, *last) }); err != nil {
				return err
			}
			return u.entry.remove()
		default:
			select {
			case <-u.wake:
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		}
		u.mu.Lock()
		u.sealed = u.sealed[1:]
		u.mu.Unlock()
	}
}

// retry calls f until it succeeds, ctx is done, or the error is for good.
func (u *uploader) retry(ctx context.Context, f func() error) error {
	m := u.store
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := f()
		if err == nil {
			if m.down.Swap(false) {
				m.log.Info("object store is back", slog.String("endpoint", m.endpoint))
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, ErrLost) || errors.Is(err, ErrExists) || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		m.tries.Add(1)
		if !m.down.Swap(true) {
			m.log.Warn("object store fails, spooling", slog.String("endpoint", m.endpoint), slog.Any("err", err))
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// upload sends a full part. The journal takes it over from the spool.
func (u *uploader) upload(ctx context.Context, g segment) error {
	part, err := u.put(ctx, g)
	if err != nil {
		return u.lost(err)
	}
	j := &u.entry.journal
	j.Uploaded = append(j.Uploaded, uploadedPart{ETag: part.ETag, Size: g.size})
	if err := u.entry.save(); err != nil {
		j.Uploaded = j.Uploaded[:len(j.Uploaded)-1]
		return err
	}
	return u.entry.removeSegment(g)
}

// put uploads one part; doing it again replaces it.
func (u *uploader) put(ctx context.Context, g segment) (minio.CompletePart, error) {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	m, j := u.store, &u.entry.journal
	if j.UploadID == "" {
		id, err := m.core.NewMultipartUpload(ctx, m.bucket, j.Key, u.options())
		if err != nil {
			return minio.CompletePart{}, fmt.Errorf("blob: begin %s: %w", j.Key, err)
		}
		j.UploadID = id
		if err := u.entry.save(); err != nil {
			j.UploadID = ""
			return minio.CompletePart{}, err
		}
	}
	f, err := os.Open(u.entry.path(g.number))
	if err != nil {
		return minio.CompletePart{}, err
	}
	defer func() { _ = f.Close() }()
	part, err := m.core.PutObjectPart(ctx, m.bucket, j.Key, j.UploadID, g.number, f, g.size, minio.PutObjectPartOptions{})
	if err != nil {
		return minio.CompletePart{}, fmt.Errorf("blob: part %d of %s: %w", g.number, j.Key, err)
	}
	m.parts.Add(1)
	return minio.CompletePart{PartNumber: g.number, ETag: part.ETag}, nil
}

func (u *uploader) options() minio.PutObjectOptions {
	return minio.PutObjectOptions{
		ContentType:  u.entry.journal.ContentType,
		UserMetadata: map[string]string{markName: u.entry.journal.Mark},
	}
}
