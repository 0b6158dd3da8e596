package blob_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/securecam/securecam/store/blob"
	"github.com/securecam/securecam/store/blob/blobtest"
)

// minioConfig returns the test server, which `make test` starts.
func minioConfig() (blob.MinIOConfig, error) {
	c := blob.MinIOConfig{
		Endpoint:  os.Getenv("TEST_MINIO_ENDPOINT"),
		AccessKey: os.Getenv("TEST_MINIO_ACCESS_KEY"),
		SecretKey: os.Getenv("TEST_MINIO_SECRET_KEY"),
	}
	if c.Endpoint == "" || c.AccessKey == "" || c.SecretKey == "" {
		return c, errors.New("TEST_MINIO_ENDPOINT, TEST_MINIO_ACCESS_KEY or TEST_MINIO_SECRET_KEY is not set")
	}
	return c, nil
}

func openMinIOIn(dir, bucket string) (blob.Store, error) {
	c, err := minioConfig()
	if err != nil {
		return nil, err
	}
	c.Bucket, c.SpoolDir = bucket, filepath.Join(dir, "spool")
	return blob.OpenMinIO(context.Background(), c)
}

// openMinIO opens a store on the bucket, changed by change.
func openMinIO(t *testing.T, bucket, dir string, change func(*blob.MinIOConfig)) *blob.MinIO {
	t.Helper()
	c, err := minioConfig()
	if err != nil {
		t.Fatal(err)
	}
	c.Bucket, c.SpoolDir = bucket, dir
	if change != nil {
		change(&c)
	}
	s, err := blob.OpenMinIO(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// minioClient reaches the server past the store.
func minioClient(t *testing.T) *minio.Core {
	t.Helper()
	c, err := minioConfig()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	core, err := minio.NewCore(c.Endpoint, &minio.Options{
		Creds: credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""), Region: "us-east-1", Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return core
}

// newBucket names a bucket that goes away with the test.
func newBucket(t *testing.T) string {
	t.Helper()
	name := "test-" + uuid.NewString()
	core := minioClient(t)
	t.Cleanup(func() {
		// ForceDelete takes the objects with it. The test's own context is done.
		err := core.RemoveBucketWithOptions(context.Background(), name, minio.RemoveBucketOptions{ForceDelete: true})
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchBucket {
			t.Errorf("removing the bucket: %v", err)
		}
	})
	return name
}

func TestMinIO(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, blobtest.Backend{
		New: func(t *testing.T) func() blob.Store {
			t.Helper()
			bucket, dir := newBucket(t), t.TempDir()
			return func() blob.Store { return openMinIO(t, bucket, dir, nil) }
		},
		Get: func(t *testing.T, _ blob.Store, method, url string) (int, []byte) {
			t.Helper()
			return get(t, method, url)
		},
	})
}

func get(t *testing.T, method, url string) (int, []byte) {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

func TestMinIOUnreachable(t *testing.T) {
	t.Parallel()
	_, err := blob.OpenMinIO(t.Context(), blob.MinIOConfig{
		Endpoint: "127.0.0.1:1", AccessKey: "a", SecretKey: "b", Bucket: "bucket", SpoolDir: t.TempDir(),
	})
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line that names the endpoint", err)
	}
}

func TestMinIOPublicEndpoint(t *testing.T) {
	t.Parallel()
	s := openMinIO(t, newBucket(t), t.TempDir(), func(c *blob.MinIOConfig) { c.PublicEndpoint = "https://media.example.org" })
	signed, _, err := s.SignGet(t.Context(), "a", blob.SignOptions{TTL: time.Minute})
	if err != nil || !strings.HasPrefix(signed, "https://media.example.org/test-") {
		t.Errorf("signed %s, %v", signed, err)
	}
	c, err := minioConfig()
	if err != nil {
		t.Fatal(err)
	}
	c.Bucket, c.SpoolDir = newBucket(t), t.TempDir()
	for _, bad := range []string{"media.example.org", "https://", "https://media.example.org/minio"} {
		c.PublicEndpoint = bad
		if _, err := blob.OpenMinIO(t.Context(), c); err == nil {
			t.Errorf("public endpoint %q was accepted", bad)
		}
	}
}

// eventually polls until ok or the test's patience ends.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

func mustWrite(t *testing.T, w io.Writer, n int, fill byte) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{fill}, n)
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustCreate(t *testing.T, s blob.Store, key string) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key, "video/webm")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantContent(t *testing.T, s blob.Store, key string, want []byte) {
	t.Helper()
	r, err := s.Open(t.Context(), key, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("content of %s differs (%d bytes, want %d), %v", key, len(got), len(want), err)
	}
}

// wantEmptySpool checks that a finished object leaves nothing behind.
func wantEmptySpool(t *testing.T, s *blob.MinIO, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 || s.Stats().SpoolBytes != 0 {
		t.Errorf("spool has %v, counts %d bytes, %v", left, s.Stats().SpoolBytes, err)
	}
}

// TestMinIOPut has browsers upload to the server itself.
func TestMinIOPut(t *testing.T) {
	t.Parallel()
	s := openMinIO(t, newBucket(t), t.TempDir(), nil)
	sign := func(key string, ttl time.Duration) blob.SignedPut {
		t.Helper()
		signed, err := s.SignPut(t.Context(), key, blob.PutOptions{TTL: ttl, ContentType: "video/webm", Size: 7})
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	put := func(signed blob.SignedPut, body string, change func(*http.Request)) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, signed.URL, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range signed.Header {
			request.Header.Set(name, value)
		}
		if change != nil {
			change(request)
		}
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	signed := sign("videos/1", time.Minute)
	for name, test := range map[string]struct {
		body   string
		change func(*http.Request)
	}{
		"longer":     {"content and more", nil},
		"shorter":    {"short", nil},
		"other type": {"content", func(r *http.Request) { r.Header.Set("Content-Type", "text/html") }},
		"overwrites": {"content", func(r *http.Request) { r.Header.Del("If-None-Match") }},
		"other key":  {"content", func(r *http.Request) { r.URL.Path += "2" }},
	} {
		if status := put(signed, test.body, test.change); status/100 != 4 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if _, err := s.Stat(t.Context(), "videos/1"); !errors.Is(err, blob.ErrNotFound) {
		t.Fatalf("after what was refused: %v", err)
	}
	if status := put(signed, "content", nil); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	info, err := s.Stat(t.Context(), "videos/1")
	if err != nil || info.Size != 7 || info.ContentType != "video/webm" {
		t.Errorf("object %+v, %v", info, err)
	}
	if status := put(signed, "CONTENT", nil); status != http.StatusPreconditionFailed {
		t.Errorf("a second one: status %d", status)
	}
	for _, o := range []blob.PutOptions{
		{},
		{TTL: time.Minute, ContentType: "video/webm"},
		{TTL: time.Minute, Size: 1},
		{ContentType: "a", Size: 1},
		{TTL: time.Minute, ContentType: "a", Size: blob.MaxPut + 1},
	} {
		if signed, err := s.SignPut(t.Context(), "videos/3", o); err == nil {
			t.Errorf("SignPut(%+v) = %+v", o, signed)
		}
	}
}
