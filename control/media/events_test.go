package media

import (
	"bufio"
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// lines reads an event stream as an EventSource does, without a token.
func (w *world) lines(t *testing.T, path string) (next func() string, status int) {
	t.Helper()
	target := must[*url.URL](t)(url.Parse(w.url + path))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody))
	resp := must[*http.Response](t)(w.http.Do(req))
	t.Cleanup(func() { _ = resp.Body.Close() })
	scan := bufio.NewScanner(resp.Body)
	return func() string {
		for scan.Scan() {
			if line := scan.Text(); strings.HasPrefix(line, "event: ") || strings.HasPrefix(line, "data: ") {
				return line
			}
		}
		return "end"
	}, resp.StatusCode
}

// setState changes what the SFU says of every media session.
func (s *fakeSFU) setState(state Activity) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func TestEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	_, whep := w.issued(t)
	w.sfu.setState(Activity{Publishing: true, Viewers: 1, Layers: []Layer{{RID: "h", Active: true, Bitrate: 5, Width: 640, Height: 360}}})
	session := w.openSession(t, whep)
	post := call{method: http.MethodPost, url: session + "/events", token: whep.Token, contentType: typeJSON}
	for body, want := range map[string]int{`["no-such"]`: 400, `{`: 400, `["active"`: 400, `[1]`: 400} {
		post.body = body
		if got := w.do(t, post); got.status != want {
			t.Errorf("POST %s: %d, want %d", body, got.status, want)
		}
	}
	post.body = ""
	got := w.do(t, post)
	stream := got.header.Get("Location")
	if got.status != http.StatusCreated || !strings.HasPrefix(stream, session+"/events/") {
		t.Fatalf("POST: %d %v", got.status, got.header)
	}
	next, status := w.lines(t, stream)
	if status != http.StatusOK {
		t.Fatal(status)
	}
	hearsAll := func() {
		t.Helper()
		for _, want := range []string{
			"event: active", "data: {}", "event: viewercount", `data: {"viewercount":1}`,
			"event: layers", `data: {"0":[{"rid":"h","spatialLayerId":0,"temporalLayerId":0,"bitrate":5,"width":640,"height":360}]}`,
		} {
			if line := next(); line != want {
				t.Fatalf("%q, want %q", line, want)
			}
		}
	}
	hearsAll()
	// An EventSource that comes back takes the place of its connection before,
	// and so nobody has many.
	before := next
	next, _ = w.lines(t, stream)
	if line := before(); line != "end" {
		t.Errorf("%q to a reader that was replaced", line)
	}
	hearsAll() // again: it may have missed some
	w.sfu.setState(Activity{Viewers: 1, Layers: []Layer{{RID: "h", Width: 640, Height: 360}}})
	if line := next(); line != "event: inactive" {
		t.Errorf("%q, want inactive", line)
	}
	if got := w.do(t, call{method: http.MethodDelete, url: stream, token: whep.Token}); got.status != 200 {
		t.Errorf("DELETE: %d", got.status)
	}
	ended := false
	for !ended {
		ended = next() == "end"
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		if got := w.do(t, call{method: method, url: stream, token: whep.Token}); got.status != 404 {
			t.Errorf("%s after DELETE: %d", method, got.status)
		}
	}
	post.body = `["inactive"]`
	for i := range maxStreamsASession + 1 {
		if got := w.do(t, post); (got.status == 429) != (i == maxStreamsASession) {
			t.Errorf("stream %d: %d", i, got.status)
		}
	}
	stream = w.sessionEvents(t, session)
	if err := w.sfu.Close(w.sessionID(t, session), ""); err != nil {
		t.Fatal(err)
	}
	next, _ = w.lines(t, stream)
	if line := next(); line != "end" {
		t.Errorf("%q after the session's end", line)
	}
}

// sessionEvents is the path of one of the session's streams.
func (w *world) sessionEvents(t *testing.T, session string) string {
	t.Helper()
	for _, e := range w.events.all() {
		return session + "/events/" + e.id
	}
	t.Fatal("no stream")
	return ""
}

func (w *world) sessionID(t *testing.T, session string) string {
	t.Helper()
	var h handle
	if err := w.signer.Verify(session[strings.LastIndex(session, "/")+1:], &h); err != nil {
		t.Fatal(err)
	}
	return h.SessionID
}

// TestEventsWait holds that what nobody reads does not pile up: the latest of each name waits.
func TestEventsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &eventStream{names: eventNames(), waiting: map[string][]byte{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
		for i := range 100 {
			e.tell(Activity{Publishing: i%2 == 0, Viewers: i})
		}
		if got := string(e.take()); got != "event: inactive\ndata: {}\n\nevent: viewercount\ndata: {\"viewercount\":99}\n\n" {
			t.Errorf("%q", got)
		}
		e.tell(Activity{Viewers: 99})
		if got := e.take(); len(got) != 0 {
			t.Errorf("nothing changed: %q", got)
		}
	})
}

// TestEventsForOneThatComesBack holds that a reader that has lost its
// connection gets all that there is to know first, whatever it was told.
func TestEventsForOneThatComesBack(t *testing.T) {
	t.Parallel()
	e := &eventStream{names: eventNames(), waiting: map[string][]byte{}, wake: make(chan struct{}, 1), done: make(chan struct{})}
	first := e.read()
	e.tell(Activity{Publishing: true, Viewers: 1, Layers: []Layer{{RID: "h", Active: true}}})
	all := string(e.take()) // and it gets lost
	e.tell(Activity{Publishing: true, Viewers: 1, Layers: []Layer{{RID: "h", Active: true}}})
	e.read()
	<-first
	if got := string(e.take()); got != all || !strings.Contains(got, "event: active") || !strings.Contains(got, "event: layers") {
		t.Errorf("got %q, want %q", got, all)
	}
	e.tell(Activity{Viewers: 1})
	e.take()
	e.read()
	if got := string(e.take()); !strings.Contains(got, "event: inactive") || !strings.Contains(got, `"viewercount":1`) {
		t.Errorf("of a camera that is gone: %q", got)
	}
}

func TestLayerSelection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, whep := w.issued(t)
	w.sfu.setState(Activity{Layers: []Layer{{Width: 320, Height: 180}, {Width: 640, Height: 360}, {Width: 1280, Height: 720}}})
	session := w.openSession(t, whep)
	w.sfu.take()
	id := w.sessionID(t, session)
	for _, tt := range []struct {
		contentType, body string
		status            int
		heard             []string
	}{
		{typeJSON, `{}`, 200, []string{"quality " + id + " 0  false"}},
		{typeJSON, `{"mediaId":"0","rid":"h","later":1}`, 200, []string{"quality " + id + " 0 h false"}},
		{typeJSON, `{"maxWidth":700}`, 200, []string{"quality " + id + " 360  false"}},
		{typeJSON, `{"maxWidth":1}`, 200, []string{"quality " + id + " 180  false"}},
		{typeJSON, `{"maxWidth":700,"maxHeight":200}`, 200, []string{"quality " + id + " 200  false"}},
		{typeJSON, `{"mediaId":"5"}`, 400, nil},
		{typeJSON, `{"spatialLayerId":-1}`, 400, nil},
		{typeJSON, `{"maxHeight":-1}`, 400, nil},
		{typeJSON, `{"rid":1}`, 400, nil},
		{typeJSON, ``, 400, nil},
		{typeSDP, `{}`, 415, nil},
	} {
		got := w.do(t, call{method: http.MethodPost, url: session + "/layer", token: whep.Token, contentType: tt.contentType, body: tt.body})
		if calls := w.sfu.take(); got.status != tt.status || !reflect.DeepEqual(calls, tt.heard) {
			t.Errorf("%s: %d, the SFU heard %q; want %d %q", tt.body, got.status, calls, tt.status, tt.heard)
		}
	}
	for _, path := range []string{"/layer", "/events"} {
		got := w.do(t, call{method: http.MethodPut, url: session + path, token: whep.Token})
		if got.status != 405 || got.header.Get("Allow") != "OPTIONS, POST" {
			t.Errorf("PUT %s: %d %v", path, got.status, got.header)
		}
		if got := w.do(t, call{method: http.MethodPost, url: session + path, contentType: typeJSON, body: "{}"}); got.status != 401 {
			t.Errorf("POST %s without a token: %d", path, got.status)
		}
	}
}

func TestVideoSection(t *testing.T) {
	t.Parallel()
	for sdp, want := range map[string]int{
		"": 0, "v=0\r\nm=audio 9\r\nm=video 9\r\n": 1, "m=video 9\r\nm=audio 9\r\n": 0, "m=audio 9\r\n": 0,
	} {
		if got := videoSection([]byte(sdp)); got != want {
			t.Errorf("%q: %d, want %d", sdp, got, want)
		}
	}
}
