package blob_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/minio/minio-go/v7"

	"github.com/securecam/securecam/store/blob"
)

// proxy stands between a store and MinIO and can be cut.
type proxy struct {
	listener net.Listener
	target   string
	tasks    sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	cut   bool
	conns map[net.Conn]struct{}
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	c, err := minioConfig()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: c.Endpoint, conns: make(map[net.Conn]struct{})}
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.setCut(true)
		p.tasks.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.tasks.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	if !p.add(client, server) {
		return
	}
	var copies sync.WaitGroup
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		copies.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			_ = client.Close()
			_ = server.Close()
		})
	}
	copies.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, client)
	delete(p.conns, server)
}

func (p *proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return !p.cut
}

// setCut breaks every connection and refuses new ones, or lets them through.
func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	for c := range p.conns {
		if cut {
			_ = c.Close()
		}
	}
}

func (p *proxy) open(t *testing.T, bucket, dir string) *blob.MinIO {
	t.Helper()
	return openMinIO(t, bucket, dir, func(c *blob.MinIOConfig) { c.Endpoint = p.listener.Addr().String() })
}

func TestMinIOOutage(t *testing.T) {
	t.Parallel()
	p, dir := newProxy(t), t.TempDir()
	s := p.open(t, newBucket(t), dir)
	w := mustCreate(t, s, "outage")
	var want []byte
	for i := range byte(6) {
		want = append(want, mustWrite(t, w, 3<<20, i)...)
	}
	eventually(t, "part 2 is uploaded", func() bool { return s.Stats().PartsUploaded > 0 })

	p.setCut(true)
	for i := range byte(6) {
		want = append(want, mustWrite(t, w, 3<<20, 10+i)...)
	}
	eventually(t, "the outage is noticed", func() bool { return s.Stats().Down && s.Stats().Retries > 2 })
	short := mustCreate(t, s, "begun-in-outage")
	wantShort := mustWrite(t, short, 1000, 42)
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping succeeded in the outage")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit with a cancelled context: %v", err)
	}

	p.setCut(false)
	for _, w := range []blob.Writer{w, short} {
		if err := w.Commit(t.Context()); err != nil {
			t.Fatalf("Commit after the outage: %v", err)
		}
	}
	wantContent(t, s, "outage", want)
	wantContent(t, s, "begun-in-outage", wantShort)
	wantEmptySpool(t, s, dir)
	if s.Stats().Down {
		t.Error("still counts as down")
	}
}

// TestMinIOOutageAndRestart stops the process in an outage.
func TestMinIOOutageAndRestart(t *testing.T) {
	t.Parallel()
	p, dir, bucket := newProxy(t), t.TempDir(), newBucket(t)
	s := p.open(t, bucket, dir)
	w := mustCreate(t, s, "outage")
	p.setCut(true)
	var want []byte
	for i := range byte(4) {
		want = append(want, mustWrite(t, w, 3<<20, i)...)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit: %v", err)
	}
	closeStore(t, s)
	if err := w.Commit(t.Context()); !errors.Is(err, blob.ErrClosed) {
		t.Errorf("Commit after Close: %v", err)
	}
	if _, err := s.Create(t.Context(), "late", ""); !errors.Is(err, blob.ErrClosed) {
		t.Errorf("Create after Close: %v", err)
	}

	p.setCut(false)
	s = p.open(t, bucket, dir)
	if got := s.Stats().SpoolBytes; got != int64(len(want)) {
		t.Errorf("spool counts %d bytes, want %d", got, len(want))
	}
	w, err := s.Resume(t.Context(), "outage")
	if err == nil {
		err = w.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "outage", want)
}

func TestMinIOSpoolFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openMinIO(t, newBucket(t), dir, func(c *blob.MinIOConfig) { c.MaxSpool = 1 << 20 })
	w := mustCreate(t, s, "full")
	want := mustWrite(t, w, 1<<20-10, 1)
	if n, err := w.Write(make([]byte, 11)); n != 0 || !errors.Is(err, blob.ErrSpoolFull) {
		t.Errorf("Write = %d, %v, want ErrSpoolFull", n, err)
	}
	want = append(want, mustWrite(t, w, 10, 2)...)
	if got := s.Stats().SpoolRefused; got != 1 {
		t.Errorf("%d refusals counted, want 1", got)
	}
	if err := w.Truncate(1<<20 - 5); err != nil {
		t.Fatal(err)
	}
	want = append(want[:1<<20-5], mustWrite(t, w, 5, 3)...)
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "full", want)
	wantEmptySpool(t, s, dir)
}

// TestMinIOSpoolLeftovers opens a spool with what kills leave behind.
func TestMinIOSpoolLeftovers(t *testing.T) {
	t.Parallel()
	dir, bucket := t.TempDir(), newBucket(t)
	s := openMinIO(t, bucket, dir, nil)
	mustWrite(t, mustCreate(t, s, "removed"), 1000, 1)
	mustWrite(t, mustCreate(t, s, "kept"), 500, 1)
	closeStore(t, s)
	journals, err := filepath.Glob(filepath.Join(dir, "*", "journal.json"))
	if err != nil || len(journals) != 2 {
		t.Fatalf("journals %v, %v", journals, err)
	}
	for _, name := range journals {
		raw, err := os.ReadFile(name)
		if err == nil && bytes.Contains(raw, []byte("removed")) {
			err = os.Remove(name)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "new-123"), os.DirFS(filepath.Dir(journals[0]))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "README"), []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}

	s = openMinIO(t, bucket, dir, nil)
	if got := s.Stats().SpoolBytes; got != 500 {
		t.Errorf("spool counts %d bytes, want 500", got)
	}
	if _, err := s.Resume(t.Context(), "removed"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Resume of a half removed entry: %v", err)
	}
	for _, key := range []string{"kept", "removed"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%s): %v", key, err)
		}
	}
	if got := s.Stats().SpoolBytes; got != 0 {
		t.Errorf("spool counts %d bytes, want 0", got)
	}
}

// TestMinIOCommitTwice restores the spool of a committed object, as if the
// process had been killed before it could remove it.
func TestMinIOCommitTwice(t *testing.T) {
	t.Parallel()
	for name, writes := range map[string]int{"one-part": 1, "four-parts": 7} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, saved, bucket := t.TempDir(), t.TempDir(), newBucket(t)
			s := openMinIO(t, bucket, dir, nil)
			w := mustCreate(t, s, name)
			var want []byte
			for i := range writes {
				want = append(want, mustWrite(t, w, 3<<20, byte(i))...)
			}
			// Of four parts, the second and the third are full.
			eventually(t, "full parts are uploaded", func() bool {
				return s.Stats().SpoolBytes == min(int64(len(want)), 9<<20)
			})
			if err := os.CopyFS(saved, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			closeStore(t, s)

			s = openMinIO(t, bucket, saved, nil)
			w, err := s.Resume(t.Context(), name)
			if err == nil {
				err = w.Commit(t.Context())
			}
			if err != nil {
				t.Fatalf("second Commit: %v", err)
			}
			wantContent(t, s, name, want)
			wantEmptySpool(t, s, saved)
		})
	}
}

func TestMinIOUploadForgotten(t *testing.T) {
	t.Parallel()
	core := minioClient(t)
	t.Run("with parts", func(t *testing.T) {
		t.Parallel()
		bucket, dir := newBucket(t), t.TempDir()
		s := openMinIO(t, bucket, dir, nil)
		w := mustCreate(t, s, "lost")
		for i := range byte(5) {
			mustWrite(t, w, 3<<20, i)
		}
		eventually(t, "part 2 is uploaded", func() bool { return s.Stats().PartsUploaded == 1 })
		uploads, err := core.ListMultipartUploads(t.Context(), bucket, "lost", "", "", "", 10)
		if err != nil || len(uploads.Uploads) != 1 {
			t.Fatalf("uploads %+v, %v", uploads, err)
		}
		if err := core.AbortMultipartUpload(t.Context(), bucket, "lost", uploads.Uploads[0].UploadID); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(t.Context()); !errors.Is(err, blob.ErrLost) {
			t.Errorf("Commit: %v, want ErrLost", err)
		}
		if err := w.Abort(t.Context()); err != nil {
			t.Errorf("Abort: %v", err)
		}
		wantEmptySpool(t, s, dir)
	})
	t.Run("before any part", func(t *testing.T) {
		t.Parallel()
		p, bucket, dir := newProxy(t), newBucket(t), t.TempDir()
		s := p.open(t, bucket, dir)
		w := mustCreate(t, s, "begun")
		p.setCut(true)
		want := mustWrite(t, w, 6<<20, 1)
		want = append(want, mustWrite(t, w, 6<<20, 2)...)
		want = append(want, mustWrite(t, w, 10, 3)...)
		closeStore(t, s)
		id, err := core.NewMultipartUpload(t.Context(), bucket, "begun", minio.PutObjectOptions{})
		if err == nil {
			err = core.AbortMultipartUpload(t.Context(), bucket, "begun", id)
		}
		if err != nil {
			t.Fatal(err)
		}
		setUploadID(t, dir, id)

		p.setCut(false)
		s = p.open(t, bucket, dir)
		if w, err = s.Resume(t.Context(), "begun"); err == nil {
			err = w.Commit(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		wantContent(t, s, "begun", want)
	})
}

// setUploadID changes the only journal below dir.
func setUploadID(t *testing.T, dir, id string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*", "journal.json"))
	if err != nil || len(names) != 1 {
		t.Fatalf("journals %v, %v", names, err)
	}
	raw, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	var journal map[string]any
	if err := json.Unmarshal(raw, &journal); err != nil {
		t.Fatal(err)
	}
	journal["uploadId"] = id
	if raw, err = json.Marshal(journal); err == nil {
		err = os.WriteFile(names[0], raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMinIOTwoWriters lets two processes write the same key.
func TestMinIOTwoWriters(t *testing.T) {
	t.Parallel()
	bucket := newBucket(t)
	first, second := openMinIO(t, bucket, t.TempDir(), nil), openMinIO(t, bucket, t.TempDir(), nil)
	a, b := mustCreate(t, first, "same"), mustCreate(t, second, "same")
	want := mustWrite(t, a, 100, 1)
	mustWrite(t, b, 100, 2)
	if err := a.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); !errors.Is(err, blob.ErrExists) {
		t.Errorf("second Commit: %v, want ErrExists", err)
	}
	wantContent(t, first, "same", want)
}
