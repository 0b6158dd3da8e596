package blob_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store/blob"
	"github.com/securecam/securecam/store/blob/blobtest"
)

func openDiskIn(dir, _ string) (blob.Store, error) {
	return blob.OpenDisk(blob.DiskConfig{Dir: dir, Secret: []byte("a secret of some length")})
}

func openDisk(tb testing.TB, dir string) *blob.Disk {
	tb.Helper()
	s, err := blob.OpenDisk(blob.DiskConfig{Dir: dir, Secret: []byte("a secret of some length")})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func TestDisk(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, blobtest.Backend{
		New: func(t *testing.T) func() blob.Store {
			t.Helper()
			dir := t.TempDir()
			return func() blob.Store { return openDisk(t, dir) }
		},
		Get: getDisk,
	})
}

// getDisk is what control/objects does with a URL, without HTTP.
func getDisk(t *testing.T, s blob.Store, method, signed string) (int, []byte) {
	t.Helper()
	u, err := url.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := strings.CutPrefix(u.Path, "/objects/")
	if !ok {
		t.Fatalf("%s is not below /objects/", signed)
	}
	if _, err := s.(*blob.Disk).Verify(method, key, u.Query()); err != nil {
		return http.StatusForbidden, nil
	}
	r, err := s.Open(t.Context(), key, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return http.StatusNotFound, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return http.StatusOK, body
}

func TestDiskVerify(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	open := func(secret string) *blob.Disk {
		s, err := blob.OpenDisk(blob.DiskConfig{
			Dir: t.TempDir(), Secret: []byte(secret), Base: "https://cam.example/objects/", Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeStore(t, s) })
		return s
	}
	s, other := open("0123456789abcdef"), open("0123456789abcdeX")
	signed, expires, err := s.SignGet(t.Context(), "a/b", blob.SignOptions{TTL: time.Minute, Filename: "x y&z.webm", Grant: "d.1.2"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil || u.Host != "cam.example" || u.Path != "/objects/a/b" {
		t.Fatalf("signed %s, %v", signed, err)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		o, err := s.Verify(method, "a/b", u.Query())
		if err != nil || o.Filename != "x y&z.webm" || o.Grant != "d.1.2" {
			t.Errorf("Verify(%s) = %+v, %v", method, o, err)
		}
	}
	if _, err := other.Verify(http.MethodGet, "a/b", u.Query()); !errors.Is(err, blob.ErrSignature) {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := s.Verify(http.MethodGet, "../a/b", u.Query()); !errors.Is(err, blob.ErrSignature) {
		t.Errorf("with a bad key: %v", err)
	}
	now = expires.Add(-time.Second)
	if _, err := s.Verify(http.MethodGet, "a/b", u.Query()); err != nil {
		t.Errorf("a second before it expires: %v", err)
	}
	now = expires
	if _, err := s.Verify(http.MethodGet, "a/b", u.Query()); !errors.Is(err, blob.ErrSignature) {
		t.Errorf("when it expires: %v", err)
	}
}

func TestDiskSymlinkOut(t *testing.T) {
	t.Parallel()
	dir, outside := t.TempDir(), t.TempDir()
	s := openDisk(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "data", "link")); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Open(t.Context(), "link/secret", 0, -1); err == nil {
		_ = r.Close()
		t.Error("Open followed a symbolic link out of the folder")
	}
}

func TestDiskShortSecret(t *testing.T) {
	t.Parallel()
	if _, err := blob.OpenDisk(blob.DiskConfig{Dir: t.TempDir(), Secret: []byte("short")}); err == nil {
		t.Error("a short secret was accepted")
	}
}

func FuzzDiskVerify(f *testing.F) {
	s := openDisk(f, f.TempDir())
	signed, _, err := s.SignGet(f.Context(), "a/b", blob.SignOptions{TTL: time.Hour, Filename: "f"})
	if err != nil {
		f.Fatal(err)
	}
	u, err := url.Parse(signed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a/b", u.RawQuery)
	f.Add("a/b", "expires=99999999999&sig=")
	f.Add("", "sig=%00&sig=")
	f.Fuzz(func(t *testing.T, key, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		_, err = s.Verify(http.MethodGet, key, query)
		if genuine := key == "a/b" && query.Encode() == u.RawQuery; genuine != (err == nil) {
			t.Errorf("Verify(%q, %q) = %v", key, raw, err)
		}
	})
}

func BenchmarkDiskWrite(b *testing.B) {
	s := openDisk(b, b.TempDir())
	w, err := s.Create(b.Context(), "bench", "video/webm")
	if err != nil {
		b.Fatal(err)
	}
	p := bytes.Repeat([]byte{1}, 256<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(p); err != nil {
			b.Fatal(err)
		}
		if err := w.Truncate(0); err != nil { // keeps the file small
			b.Fatal(err)
		}
	}
	if err := w.Abort(b.Context()); err != nil {
		b.Fatal(err)
	}
}
