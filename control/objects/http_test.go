package objects

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/blob"
)

// disk is a blob.Disk as the program plugs it in.
type disk struct{ *blob.Disk }

func (d disk) Verify(method, key string, query url.Values) (Signed, error) {
	o, err := d.Disk.Verify(method, key, query)
	return Signed{Filename: o.Filename, Grant: o.Grant}, err
}

// grants are the rights that have ended; all others stand.
type grants struct {
	mu    sync.Mutex
	ended map[string]error
}

func (g *grants) Holds(_ context.Context, grant string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ended[grant]
}

func (g *grants) end(grant string, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended[grant] = why
}

func (d disk) Stat(ctx context.Context, key string) (Info, error) {
	info, err := d.Disk.Stat(ctx, key)
	return Info(info), err
}

const key = "recordings/camera/1.webm"

// server serves a folder with one object on a real socket.
type server struct {
	t    *testing.T
	disk *blob.Disk
	base string
	http *http.Client

	service *Service
	grants  *grants
	awaited *awaited // of newInbox
}

func newServer(t *testing.T, content []byte) server {
	t.Helper()
	d, err := blob.OpenDisk(blob.DiskConfig{Dir: t.TempDir(), Secret: []byte("sixteen bytes or more")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w, err := d.Create(t.Context(), key, "video/webm")
	if err == nil {
		_, err = w.Write(content)
		err = errors.Join(err, w.Commit(t.Context()))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := server{t: t, disk: d}
	s.listen(disk{d})
	return s
}

func (s *server) listen(files Files) {
	t := s.t
	t.Helper()
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, DisableStartupMessage: true})
	s.grants = &grants{ended: map[string]error{}}
	s.service = New(files, s.grants)
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
}

func (s server) sign(o blob.SignOptions) string {
	s.t.Helper()
	if o.TTL == 0 {
		o.TTL = time.Minute
	}
	signed, _, err := s.disk.SignGet(s.t.Context(), key, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return signed
}

func (s server) do(method, path string, header map[string]string) (*http.Response, []byte) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		s.t.Fatal(err)
	}
	return response, body
}

func TestServe(t *testing.T) {
	t.Parallel()
	content := []byte(strings.Repeat("0123456789", 1000))
	s := newServer(t, content)
	signed := s.sign(blob.SignOptions{})
	whole, body := s.do(http.MethodGet, signed, nil)
	if whole.StatusCode != http.StatusOK || !bytes.Equal(body, content) || whole.ContentLength != 10_000 {
		t.Fatalf("GET: %s, %d bytes, Content-Length %d", whole.Status, len(body), whole.ContentLength)
	}
	for name, want := range map[string]string{
		"Content-Type": "video/webm", "Accept-Ranges": "bytes", "Cache-Control": "private",
		"X-Content-Type-Options": "nosniff", "Content-Disposition": "",
	} {
		if got := whole.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	tag, modified := whole.Header.Get("ETag"), whole.Header.Get("Last-Modified")
	if tag == "" || modified == "" || !strings.Contains(whole.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Fatalf("header %v", whole.Header)
	}
	tests := []struct {
		name, method string
		header       map[string]string
		status       int
		length       int64
		body         []byte
		contentRange string
	}{
		{"head", "HEAD", nil, 200, 10_000, nil, ""},
		{"head ignores ranges", "HEAD", map[string]string{"Range": "bytes=0-9"}, 200, 10_000, nil, ""},
		{"range", "GET", map[string]string{"Range": "bytes=5-14"}, 206, 10, content[5:15], "bytes 5-14/10000"},
		{"open range", "GET", map[string]string{"Range": "bytes=9990-"}, 206, 10, content[9990:], "bytes 9990-9999/10000"},
		{"suffix", "GET", map[string]string{"Range": "bytes=-3"}, 206, 3, content[9997:], "bytes 9997-9999/10000"},
		{"several", "GET", map[string]string{"Range": "bytes=0-1,5-6"}, 200, 10_000, content, ""},
		{"other unit", "GET", map[string]string{"Range": "lines=0-1"}, 200, 10_000, content, ""},
		{"beyond", "GET", map[string]string{"Range": "bytes=10000-"}, 416, 0, []byte{}, "bytes */10000"},
		{"if-range tag", "GET", map[string]string{"Range": "bytes=0-1", "If-Range": tag}, 206, 2, content[:2], "bytes 0-1/10000"},
		{"if-range date", "GET", map[string]string{"Range": "bytes=0-1", "If-Range": modified}, 206, 2, content[:2], "bytes 0-1/10000"},
		{"if-range other", "GET", map[string]string{"Range": "bytes=0-1", "If-Range": `"x"`}, 200, 10_000, content, ""},
		{"if-range weak", "GET", map[string]string{"Range": "bytes=0-1", "If-Range": "W/" + tag}, 200, 10_000, content, ""},
		{"if-range other beyond", "GET", map[string]string{"Range": "bytes=10000-", "If-Range": `"x"`}, 200, 10_000, content, ""},
		{"not modified", "GET", map[string]string{"If-None-Match": `"x", W/` + tag}, 304, 0, []byte{}, ""},
		{"modified", "GET", map[string]string{"If-None-Match": `"x"`}, 200, 10_000, content, ""},
	}
	for _, test := range tests {
		response, body := s.do(test.method, signed, test.header)
		if response.StatusCode != test.status || response.Header.Get("Content-Range") != test.contentRange {
			t.Errorf("%s: %s, Content-Range %q", test.name, response.Status, response.Header.Get("Content-Range"))
		}
		if test.status != http.StatusNotModified && response.ContentLength != test.length {
			t.Errorf("%s: Content-Length %d, want %d", test.name, response.ContentLength, test.length)
		}
		if test.body != nil && !bytes.Equal(body, test.body) {
			t.Errorf("%s: %d bytes, want %d", test.name, len(body), len(test.body))
		}
		if response.Header.Get("ETag") != tag {
			t.Errorf("%s: ETag %q, want %q", test.name, response.Header.Get("ETag"), tag)
		}
	}
}

func TestServeEmpty(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		response, body := s.do(method, s.sign(blob.SignOptions{}), nil)
		if response.StatusCode != http.StatusOK || response.ContentLength != 0 || len(body) > 0 {
			t.Errorf("%s: %s, Content-Length %d", method, response.Status, response.ContentLength)
		}
	}
}

func TestServeDownload(t *testing.T) {
	t.Parallel()
	s := newServer(t, []byte("x"))
	for name, want := range map[string]string{
		"a.webm":           "attachment; filename=a.webm",
		`Front "door".mkv`: `attachment; filename="Front \"door\".mkv"`,
		"Tür.webm":         "attachment; filename*=utf-8''T%C3%BCr.webm",
	} {
		response, _ := s.do(http.MethodGet, s.sign(blob.SignOptions{Filename: name}), nil)
		if got := response.Header.Get("Content-Disposition"); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestServeRefuses(t *testing.T) {
	t.Parallel()
	s := newServer(t, []byte("secret"))
	signed := s.sign(blob.SignOptions{})
	query := signed[strings.Index(signed, "?"):]
	tests := []struct {
		name, method, path string
		status             int
	}{
		{"no signature", "GET", "/objects/" + key, 403},
		{"other key", "GET", "/objects/other" + query, 403},
		{"no key", "GET", "/objects/" + query, 403},
		{"traversal", "GET", "/objects/x/../" + key + query, 403},
		{"encoded traversal", "GET", "/objects/%2e%2e/" + key + query, 403},
		{"NUL", "GET", "/objects/" + key + "%00" + query, 403},
		{"long", "GET", "/objects/" + strings.Repeat("a", 3000) + query, 403},
		{"more query", "GET", signed + "&filename=evil.exe", 403},
		{"broken query", "GET", signed + "&x=%zz", 403},
		{"twice", "GET", signed + "&" + query[1:], 403},
		{"put", "PUT", signed, 405},
		{"delete", "DELETE", signed, 405},
		{"as it is", "GET", signed, 200},
	}
	for _, test := range tests {
		response, body := s.do(test.method, test.path, nil)
		if response.StatusCode != test.status {
			t.Errorf("%s: %s, want %d", test.name, response.Status, test.status)
		}
		if test.status != 200 && (bytes.Contains(body, []byte("secret")) || response.Header.Get("Content-Type") != "application/problem+json") {
			t.Errorf("%s: %s %s", test.name, response.Header.Get("Content-Type"), body)
		}
	}
	if err := s.disk.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if response, _ := s.do(http.MethodGet, signed, nil); response.StatusCode != http.StatusNotFound {
		t.Errorf("deleted: %s, want 404", response.Status)
	}
}

// plugged is a blob.Signed as the program plugs it in.
type plugged struct{ *blob.Signed }

func (p plugged) Verify(method, key string, query url.Values) (Signed, error) {
	o, err := p.Signed.Verify(method, key, query)
	return Signed{Filename: o.Filename, Grant: o.Grant}, err
}

func (p plugged) Stat(ctx context.Context, key string) (Info, error) {
	info, err := p.Signed.Stat(ctx, key)
	return Info(info), err
}

// TestServeSigned serves a store whose own URLs lead elsewhere.
func TestServeSigned(t *testing.T) {
	t.Parallel()
	inner := newServer(t, []byte("0123456789"))
	if _, err := blob.NewSigned(inner.disk, []byte("too short"), nil); err == nil {
		t.Error("a short secret is taken")
	}
	signed, err := blob.NewSigned(inner.disk, []byte("another secret of 16 bytes or more"), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := server{t: t}
	s.listen(plugged{signed})
	signedURL, _, err := signed.SignGet(t.Context(), key, blob.SignOptions{TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	response, body := s.do(http.MethodGet, signedURL, map[string]string{"Range": "bytes=2-4"})
	if response.StatusCode != http.StatusPartialContent || string(body) != "234" {
		t.Errorf("got %s %q", response.Status, body)
	}
	if response, _ := s.do(http.MethodGet, inner.sign(blob.SignOptions{}), nil); response.StatusCode != http.StatusForbidden {
		t.Errorf("the store's own URL: got %s", response.Status)
	}
}

// broken fails at one step.
type broken struct{ stat, open error }

func (broken) Verify(string, string, url.Values) (Signed, error) { return Signed{}, nil }

func (b broken) Stat(context.Context, string) (Info, error) {
	return Info{Size: 100, ContentType: "video/webm"}, b.stat
}

func (b broken) Open(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return nil, b.open
}

func TestServeBrokenStore(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		files  broken
		status int
	}{
		{broken{stat: errors.New("disk on fire")}, 503},
		{broken{stat: fmt.Errorf("x: %w", fs.ErrNotExist)}, 404},
		{broken{open: errors.New("disk on fire")}, 503},
		{broken{open: fmt.Errorf("deleted meanwhile: %w", fs.ErrNotExist)}, 404},
	} {
		s := server{t: t}
		s.listen(test.files)
		response, body := s.do(http.MethodGet, "/objects/a", nil)
		if response.StatusCode != test.status || bytes.Contains(body, []byte("fire")) {
			t.Errorf("%+v: %s %s", test.files, response.Status, body)
		}
		for _, name := range []string{"Content-Disposition", "Content-Range", "ETag", "Last-Modified", "Accept-Ranges"} {
			if got := response.Header.Get(name); got != "" {
				t.Errorf("%+v: %s %s with an error", test.files, name, got)
			}
		}
	}
}

// endless is an object of 8 GiB that counts what was read of it.
type endless struct {
	read   atomic.Int64
	closed chan struct{}
}

const (
	endlessSize  = 8 << 30
	endlessGrant = "d.user.phone.key.camera"
)

func (*endless) Verify(string, string, url.Values) (Signed, error) {
	return Signed{Grant: endlessGrant}, nil
}

func (*endless) Stat(context.Context, string) (Info, error) {
	return Info{Size: endlessSize, ContentType: "video/webm"}, nil
}

func (e *endless) Open(_ context.Context, _ string, _, n int64) (io.ReadCloser, error) {
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(e, n), e}, nil
}

func (e *endless) Read(p []byte) (int, error) {
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func (e *endless) Close() error {
	close(e.closed)
	return nil
}

// TestServeStreams reads a little of a large object: the server must neither
// read it into memory, nor hold it open when the client has gone.
func TestServeStreams(t *testing.T) {
	t.Parallel()
	files := &endless{closed: make(chan struct{})}
	s := server{t: t}
	s.listen(files)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /objects/a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if response.ContentLength != endlessSize {
		t.Errorf("Content-Length %d, want %d", response.ContentLength, int64(endlessSize))
	}
	if _, err := io.CopyN(io.Discard, response.Body, 16<<20); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-files.closed:
	case <-time.After(20 * time.Second):
		t.Fatal("the object is still open though the client has gone")
	}
	runtime.ReadMemStats(&after)
	// Socket buffers hold some megabytes; the object is 8 GiB.
	if got := files.read.Load(); got > 256<<20 {
		t.Errorf("%d bytes were read for a client that took 16 MiB", got)
	}
	if grown := int64(after.TotalAlloc) - int64(before.TotalAlloc); grown > 64<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

func TestRevokedURL(t *testing.T) {
	t.Parallel()
	s := newServer(t, []byte("content"))
	const mine, other = "s.user.session", "s.user.another"
	signed := s.sign(blob.SignOptions{Grant: mine})
	if response, _ := s.do(http.MethodGet, signed, nil); response.StatusCode != http.StatusOK {
		t.Fatalf("before: %s", response.Status)
	}
	s.grants.end(mine, auth.ErrUnauthenticated)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if response, _ := s.do(method, signed, nil); response.StatusCode != http.StatusForbidden {
			t.Errorf("%s of a revoked URL: %s", method, response.Status)
		}
	}
	if response, _ := s.do(http.MethodGet, s.sign(blob.SignOptions{Grant: other}), nil); response.StatusCode != http.StatusOK {
		t.Errorf("another session's URL: %s", response.Status)
	}
	s.grants.end(other, store.ErrUnavailable)
	response, body := s.do(http.MethodGet, s.sign(blob.SignOptions{Grant: other}), nil)
	if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Errorf("while nobody can tell: %s %s", response.Status, body)
	}
	if n := s.service.Stats().Open; n != 0 {
		t.Errorf("%d downloads are counted after the last one", n)
	}
}

// TestRevocationCutsADownload revokes in the middle of an endless body.
func TestRevocationCutsADownload(t *testing.T) {
	t.Parallel()
	for _, r := range []store.Revocation{
		{Kind: store.RevokedUser, OwnerUserID: "user", TargetID: "user"},
		{Kind: store.RevokedDevice, OwnerUserID: "user", TargetID: "phone"},
		{Kind: store.RevokedLink, OwnerUserID: "user", TargetID: "link", CameraDeviceID: "camera", ClientDeviceID: "phone"},
	} {
		files := &endless{closed: make(chan struct{})}
		s := server{t: t}
		s.listen(files)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/objects/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := s.http.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, response.Body, 1<<20); err != nil {
			t.Fatal(err)
		}
		s.service.Revoked(store.Revocation{Kind: r.Kind, OwnerUserID: "x", TargetID: "x", CameraDeviceID: "x", ClientDeviceID: "phone"})
		if _, err := io.CopyN(io.Discard, response.Body, 16<<20); err != nil {
			t.Fatalf("another's %s was revoked: %v", r.Kind, err)
		}
		s.service.Revoked(r)
		// What is under way may still come; the rest of the 8 GiB may not.
		if n, err := io.Copy(io.Discard, response.Body); err == nil || n > 1<<30 {
			t.Errorf("the %s was revoked: %d more bytes, %v", r.Kind, n, err)
		}
		_ = response.Body.Close()
		<-files.closed
	}
}
