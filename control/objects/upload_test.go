package objects

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/blob"
)

// inbox is a blob.Disk as the program plugs it in for uploads.
type inbox struct{ *blob.Disk }

func (i inbox) VerifyPut(key string, query url.Values) (SignedUpload, error) {
	o, err := i.Disk.VerifyPut(key, query)
	return SignedUpload{ContentType: o.ContentType, Size: o.Size, Grant: o.Grant}, err
}

func (i inbox) Create(ctx context.Context, key, contentType string) (Upload, error) {
	return i.Disk.Create(ctx, key, contentType)
}

func (i inbox) Resume(ctx context.Context, key string) (Upload, error) {
	return i.Disk.Resume(ctx, key)
}

// awaited is rows that await uploads: all but those that are gone.
type awaited struct {
	mu   sync.Mutex // guards gone
	gone map[string]bool
	last map[string]bool // are gone when they have been asked for once
}

func (a *awaited) AwaitsUpload(_ context.Context, key string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last[key] {
		delete(a.last, key)
		a.gone[key] = true
		return true, nil
	}
	return !a.gone[key], nil
}

func (a *awaited) once(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = map[string]bool{key: true}
}

func (a *awaited) delete(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone[key] = true
}

// newInbox is a server that takes uploads, and has one object.
func newInbox(t *testing.T) server {
	t.Helper()
	d, err := blob.OpenDisk(blob.DiskConfig{Dir: t.TempDir(), Secret: []byte("sixteen bytes or more")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	s := server{t: t, disk: d, grants: &grants{ended: map[string]error{}}, awaited: &awaited{gone: map[string]bool{}}}
	s.service = New(disk{d}, s.grants).Accept(inbox{d}, s.awaited)
	app := fiber.New(fiber.Config{
		ErrorHandler: rest.ErrorHandler, DisableStartupMessage: true, StreamRequestBody: true, BodyLimit: 1 << 10, ReadTimeout: 5 * time.Second,
	})
	s.service.Mount(app, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := errors.Join(app.Shutdown(), <-served); err != nil {
			t.Error(err)
		}
	})
	s.base, s.http = "http://"+listener.Addr().String(), &http.Client{Transport: transport}
	return s
}

func (s server) signPut(key string, o blob.PutOptions) string {
	s.t.Helper()
	if o.TTL == 0 {
		o.TTL = time.Minute
	}
	if o.ContentType == "" {
		o.ContentType = "video/webm"
	}
	signed, err := s.disk.SignPut(s.t.Context(), key, o)
	if err != nil {
		s.t.Fatal(err)
	}
	if signed.Header["Content-Type"] != o.ContentType {
		s.t.Errorf("header %v", signed.Header)
	}
	return s.base + signed.URL
}

// put returns the status, and the body of a refusal.
func (s server) put(url, contentType string, body io.Reader) (int, string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, url, body)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatalf("PUT %s: %v", url, err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestUpload(t *testing.T) {
	t.Parallel()
	s := newInbox(t)
	content := make([]byte, 3<<20+17) // larger than what the server keeps in memory
	random := rand.NewChaCha8([32]byte{1})
	if _, err := random.Read(content); err != nil {
		t.Fatal(err)
	}
	to := s.signPut("videos/u/1.webm", blob.PutOptions{Size: int64(len(content))})
	if status, body := s.put(to, "video/webm", bytes.NewReader(content)); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	r, err := s.disk.Open(t.Context(), "videos/u/1.webm", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came, %v", len(got), err)
	}
	if info, err := s.disk.Stat(t.Context(), "videos/u/1.webm"); err != nil || info.ContentType != "video/webm" {
		t.Errorf("object %+v, %v", info, err)
	}
	// An object never changes.
	small := s.signPut("videos/u/2.webm", blob.PutOptions{Size: 3})
	if status, body := s.put(small, "video/webm", strings.NewReader("one")); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	status, body := s.put(small, "video/webm", strings.NewReader("two"))
	if status != http.StatusConflict || !strings.Contains(body, "object_exists") {
		t.Errorf("again: %d %s", status, body)
	}
}

func TestUploadRefused(t *testing.T) {
	t.Parallel()
	s := newInbox(t)
	good := s.signPut("videos/a", blob.PutOptions{Size: 4})
	other := s.signPut("videos/b", blob.PutOptions{Size: 4})
	s.grants.end("d.u.d.k.c", auth.ErrUnauthenticated)
	get, _, err := s.disk.SignGet(t.Context(), "videos/a", blob.SignOptions{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		url, contentType, body string
		status                 int
		code                   string
	}{
		"short":            {good, "video/webm", "abc", 400, "wrong_length"},
		"long":             {good, "video/webm", "abcde", 400, "wrong_length"},
		"empty":            {good, "video/webm", "", 400, "wrong_length"},
		"other type":       {good, "text/html", "abcd", 415, "unsupported_media_type"},
		"larger size":      {strings.Replace(good, "size=4", "size=5", 1), "video/webm", "abcde", 403, "invalid_signature"},
		"another's key":    {strings.Replace(good, "videos/a", "videos/b", 1), "video/webm", "abcd", 403, "invalid_signature"},
		"another's sig":    {strings.Replace(other, "videos/b", "videos/a", 1), "video/webm", "abcd", 403, "invalid_signature"},
		"of GET":           {s.base + get, "video/webm", "abcd", 403, "invalid_signature"},
		"no signature":     {s.base + "/objects/videos/a", "video/webm", "abcd", 403, "invalid_signature"},
		"outside":          {s.base + "/objects/../videos/a", "video/webm", "abcd", 403, "invalid_signature"},
		"revoked":          {s.signPut("videos/c", blob.PutOptions{Size: 4, Grant: "d.u.d.k.c"}), "video/webm", "abcd", 403, "revoked"},
		"through a folder": {s.signPut("videos/d/e", blob.PutOptions{Size: 4}), "video/webm", "abcd", 201, ""},
	} {
		status, body := s.put(test.url, test.contentType, strings.NewReader(test.body))
		if status != test.status || !strings.Contains(body, test.code) {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, test.status, test.code)
		}
	}
	for _, key := range []string{"videos/a", "videos/b", "videos/c"} {
		if _, err := s.disk.Stat(t.Context(), key); err == nil {
			t.Errorf("%s exists", key)
		}
	}
	// A GET with a PUT's signature is none either.
	response, err := s.http.Get(good)
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("GET: %v %v", response, err)
	}
	_ = response.Body.Close()
}

// TestUploadBreaksOff has a client vanish in the middle, and come back.
func TestUploadBreaksOff(t *testing.T) {
	t.Parallel()
	s := newInbox(t)
	const size = 4000 // what is refused must fit into the sockets' buffers
	to := s.signPut("videos/a", blob.PutOptions{Size: size})
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: video/webm\r\nContent-Length: %d\r\n\r\n", u.RequestURI(), size)
	if _, err := conn.Write(make([]byte, size/2)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(30 * time.Second)
	for {
		status, body := s.put(to, "video/webm", bytes.NewReader(make([]byte, size)))
		if status == http.StatusCreated {
			return
		}
		if status != http.StatusConflict || time.Now().After(limit) { // the server may not have noticed yet
			t.Fatalf("%d %s", status, body)
		}
	}
}

// TestUploadAfterCrash has a process killed in the middle of an upload.
func TestUploadAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *blob.Disk {
		d, err := blob.OpenDisk(blob.DiskConfig{Dir: dir, Secret: []byte("sixteen bytes or more")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		return d
	}
	dead := open()
	w, err := dead.Create(t.Context(), "videos/a", "video/webm")
	if err == nil {
		_, err = w.Write([]byte("half of"))
	}
	if err != nil {
		t.Fatal(err)
	}
	d := open()
	s := New(disk{d}, &grants{}).Accept(inbox{d}, &awaited{})
	upload, err := s.create(t.Context(), "videos/a", "video/webm")
	if err != nil {
		t.Fatal(err)
	}
	if err := receive(t.Context(), upload, upload.Commit, strings.NewReader("whole"), 5); err != nil {
		t.Fatal(err)
	}
	if info, err := d.Stat(t.Context(), "videos/a"); err != nil || info.Size != 5 {
		t.Errorf("object %+v, %v", info, err)
	}
}

// TestUploadCut has the right to an upload end while it runs.
func TestUploadCut(t *testing.T) {
	t.Parallel()
	s := newInbox(t)
	const size = 8 << 20
	grant := auth.Principal{UserID: "u", DeviceID: "d", KeyID: "k"}.Grant("d").String()
	to := s.signPut("videos/a", blob.PutOptions{Size: size, Grant: grant})
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the server has closed it
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Type: video/webm\r\nContent-Length: %d\r\n\r\n", u.RequestURI(), size)
	if _, err := conn.Write(make([]byte, uploadChunk)); err != nil {
		t.Fatal(err)
	}
	for s.service.Stats().Uploading == 0 {
		if t.Context().Err() != nil {
			t.Fatal("the upload is not counted in")
		}
	}
	s.service.Revoked(store.Revocation{Kind: store.RevokedDevice, OwnerUserID: "u", TargetID: "d"})
	go func() { _, _ = conn.Write(make([]byte, size-uploadChunk)) }() // the server may not take it
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != http.StatusForbidden {
		t.Fatalf("%v, %v", response, err)
	}
	_ = response.Body.Close()
	if _, err := s.disk.Stat(t.Context(), "videos/a"); err == nil {
		t.Error("the object exists")
	}
}

// TestUploadNobodyAwaits has the video deleted before the upload comes, and
// while it is under way.
func TestUploadNobodyAwaits(t *testing.T) {
	t.Parallel()
	s := newInbox(t)
	gone := func(key string, body io.Reader) {
		t.Helper()
		to := s.signPut(key, blob.PutOptions{Size: 5})
		if status, text := s.put(to, "video/webm", body); status != http.StatusGone || !strings.Contains(text, "upload_not_awaited") {
			t.Errorf("%s: %d %s", key, status, text)
		}
		if _, err := s.disk.Stat(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", key, err)
		}
	}
	s.awaited.delete("videos/u/before.webm")
	gone("videos/u/before.webm", strings.NewReader("hello"))
	s.awaited.once("videos/u/while.webm")
	gone("videos/u/while.webm", strings.NewReader("hello"))
}
