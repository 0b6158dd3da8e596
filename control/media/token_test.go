package media

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

func (w *world) newClient(t *testing.T) store.Device {
	t.Helper()
	return storetest.Client(t, w.db, w.user.ID)
}

// subscribe issues credentials for a stream to its requester.
func (w *world) subscribe(t *testing.T, s store.Stream) Credentials {
	t.Helper()
	d := must[store.Device](t)(w.db.DeviceByID(t.Context(), s.RequesterDeviceID))
	return must[Credentials](t)(w.SubscribeCredentials(t.Context(), principalOf(d), s.ID, w.url))
}

func TestRevokedTokensTouchNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		do         func(ctx context.Context, w *world) error
		whip, whep int // the status, 0 for a token that still is good
	}{
		{"expired", func(_ context.Context, w *world) error { w.pass(time.Hour); return nil }, 401, 401},
		{"stream ended", func(ctx context.Context, w *world) error { return w.end(ctx) }, 0, 401},
		{"media session ended", func(ctx context.Context, w *world) error {
			_, err := w.db.EndMediaSession(ctx, w.stream.MediaSessionID, "", storetest.Now(), store.Actor{})
			return err
		}, 401, 401},
		{"camera's key rotated", func(ctx context.Context, w *world) error { return w.rotate(ctx, w.camera) }, 401, 401},
		{"client's key rotated", func(ctx context.Context, w *world) error { return w.rotate(ctx, w.client) }, 0, 401},
		{"client deleted", func(ctx context.Context, w *world) error {
			return w.db.DeleteDevice(ctx, w.user.ID, w.client.ID, store.Actor{})
		}, 0, 401},
		{"link revoked", func(ctx context.Context, w *world) error {
			link, err := w.db.ActiveLink(ctx, w.camera.ID, w.client.ID)
			return errors.Join(err, w.db.RevokeLink(ctx, w.user.ID, link.ID, store.Actor{}))
		}, 0, 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			whip, whep := w.issued(t)
			sessions := []string{w.openSession(t, whip), w.openSession(t, whep)}
			w.watch(t, w.newClient(t)) // so that the media session outlives the stream
			if err := tt.do(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			for i, c := range []Credentials{whip, whep} {
				want := []int{tt.whip, tt.whep}[i]
				if want == 0 {
					w.openSession(t, c)
					continue
				}
				for _, req := range []call{
					{method: http.MethodPost, url: c.URL, contentType: typeSDP},
					{method: http.MethodPatch, url: sessions[i], contentType: typeSDPFrag, header: http.Header{"If-Match": {testETag}}},
					{method: http.MethodDelete, url: sessions[i]},
					{method: http.MethodGet, url: sessions[i]},
				} {
					req.token, req.body = c.Token, "v=0"
					if got := w.do(t, req); got.status != want {
						t.Errorf("%s %s: %d, want %d", req.method, c.Protocol, got.status, want)
					}
				}
			}
			if calls := w.sfu.take(); len(calls) != 0 {
				t.Errorf("the SFU heard %q", calls)
			}
		})
	}
}

func (w *world) rotate(ctx context.Context, d store.Device) error {
	return w.db.SetDeviceKey(ctx, w.user.ID, d.ID, storetest.ID(), store.Actor{})
}

func (w *world) end(ctx context.Context) error {
	_, _, err := w.db.EndStream(ctx, w.user.ID, w.stream.ID, store.StreamCompleted, "", storetest.Now(), store.Actor{})
	return err
}

// TestEndWhileConnecting ends a stream after its token was looked at.
func TestEndWhileConnecting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, whep := w.issued(t)
	w.sfu.during = func() {
		if err := w.end(t.Context()); err != nil {
			t.Error(err)
		}
	}
	got := w.do(t, call{method: http.MethodPost, url: whep.URL, token: whep.Token, contentType: typeSDP, body: "v=0"})
	if got.status != 401 || got.header.Get("Location") != "" {
		t.Errorf("got %d %v, want 401", got.status, got.header)
	}
	if len(w.sfu.open) != 0 {
		t.Errorf("the SFU still has %v", w.sfu.open)
	}
}

func TestForeignTokensTouchNothing(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), newWorld(t)
	whip, whep := w.issued(t)
	otherWhip, otherWhep := stranger.issued(t)
	session := w.openSession(t, whep)
	foreign := path.Base(stranger.openSession(t, otherWhip))
	for _, tt := range []struct {
		name, url, token string
		status           int
	}{
		{"publish into another media session", whip.URL, otherWhip.Token, 401},
		{"watch another media session", whep.URL, otherWhep.Token, 401},
		{"publish with a subscriber's token", whip.URL, whep.Token, 403},
		{"watch with a publisher's token", whep.URL, whip.Token, 403},
		{"a changed signature", whip.URL, whip.Token[:len(whip.Token)-2] + "AA", 401},
		{"no media session of that id", whip.URL + "0", whip.Token, 401},
	} {
		got := w.do(t, call{method: http.MethodPost, url: tt.url, token: tt.token, contentType: typeSDP, body: "v=0"})
		if got.status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, got.status, tt.status)
		}
	}
	got := w.do(t, call{method: http.MethodDelete, url: strings.Replace(session, "/whep/", "/whip/", 1), token: whip.Token})
	if got.status != 404 {
		t.Errorf("a publisher's DELETE of a viewer's session: %d, want 404", got.status)
	}
	got = w.do(t, call{method: http.MethodDelete, url: whip.URL + "/" + foreign, token: whip.Token})
	if got.status != 404 {
		t.Errorf("a publisher's DELETE of another media session's publisher: %d, want 404", got.status)
	}
	if calls := append(w.sfu.take(), stranger.sfu.take()...); len(calls) != 0 {
		t.Errorf("the SFU heard %q", calls)
	}
}

func TestTwoViewersShareOneMediaSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, first := w.issued(t)
	second := w.subscribe(t, w.watch(t, w.newClient(t)))
	if first.URL != second.URL || first.Token == second.Token {
		t.Errorf("got %s and %s, want one endpoint and two tokens", first.URL, second.URL)
	}
	for _, c := range []Credentials{first, second, first} { // one of them twice
		w.openSession(t, c)
	}
}

func (w *world) tokenOf(t *testing.T, d store.Device) string {
	t.Helper()
	token, _, err := w.auth.IssueDeviceToken(d)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestCredentialsOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera, client, bystander := w.tokenOf(t, w.camera), w.tokenOf(t, w.client), w.tokenOf(t, w.newClient(t))
	path := "/streams/" + w.stream.ID
	for _, tt := range []struct {
		name, url, token string
		status           int
	}{
		{"camera publishes", path + "/publish-credentials", camera, 200},
		{"client publishes", path + "/publish-credentials", client, 403},
		{"client watches", path + "/subscribe-credentials", client, 200},
		{"camera watches itself", path + "/subscribe-credentials", camera, 200},
		{"bystander watches", path + "/subscribe-credentials", bystander, 404},
		{"bystander publishes", path + "/publish-credentials", bystander, 404},
		{"nobody", path + "/subscribe-credentials", "", 401},
		{"no such stream", "/streams/" + storetest.ID() + "/subscribe-credentials", client, 404},
	} {
		got := w.do(t, call{method: http.MethodGet, url: tt.url, token: tt.token})
		if got.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, got.status, got.body, tt.status)
		}
		if tt.status == 200 && (got.header.Get("Cache-Control") != "no-store" ||
			!strings.Contains(got.body, `"url":"`+w.url+"/wh") || !strings.Contains(got.body, `"iceServers":[{"urls":["stun:127.0.0.1:3478"]}`)) {
			t.Errorf("%s: %v %s", tt.name, got.header, got.body)
		}
	}
	if err := w.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := w.do(t, call{method: http.MethodGet, url: path + "/subscribe-credentials", token: client})
	if code := problemOf(t, "ended", got); got.status != 409 || code != "stream_not_streaming" {
		t.Errorf("an ended stream: %d %s", got.status, code)
	}

	got = w.do(t, call{method: http.MethodPost, url: "/media-sessions", token: camera})
	if got.status != 201 || !strings.Contains(got.body, `"continuous":true`) || !strings.Contains(got.body, `"protocol":"whip"`) {
		t.Errorf("going live: %d %s", got.status, got.body)
	}
	m := must[[]store.MediaSession](t)(w.db.OpenMediaSessions(t.Context()))
	if got := w.do(t, call{method: http.MethodDelete, url: "/media-sessions/" + m[0].ID, token: camera}); got.status != 204 {
		t.Errorf("stopping: %d %s", got.status, got.body)
	}
}

func TestMediaSessionsOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	camera, client := w.tokenOf(t, w.camera), w.tokenOf(t, w.client)
	second := storetest.Client(t, w.db, w.user.ID)
	link := must[store.Link](t)(w.db.ActiveLink(t.Context(), w.camera.ID, second.ID))
	if err := w.db.RevokeLink(t.Context(), w.user.ID, link.ID, store.Actor{}); err != nil {
		t.Fatal(err)
	}
	stranger := storetest.User(t, w.db)
	open := must[[]store.MediaSession](t)(w.db.OpenMediaSessions(t.Context()))[0].ID
	get := func(token, path string) answer {
		t.Helper()
		return w.do(t, call{method: http.MethodGet, url: path, token: token})
	}
	want := func(name string, got answer, status int, text string) {
		t.Helper()
		if got.status != status || !strings.Contains(got.body, text) {
			t.Errorf("%s: %d %s, want %d with %s", name, got.status, got.body, status, text)
		}
	}
	for name, who := range map[string]string{"camera": camera, "client": client} {
		want(name, get(who, "/media-sessions/"+open), 200, `"status":"open"`)
		want(name, get(who, "/media-sessions"), 200, open)
	}
	for name, d := range map[string]store.Device{
		"no longer linked": second, "another camera": storetest.Camera(t, w.db, w.user.ID),
		"a stranger": storetest.Client(t, w.db, stranger.ID),
	} {
		want(name, get(w.tokenOf(t, d), "/media-sessions/"+open), 404, "not_found")
		want(name, get(w.tokenOf(t, d), "/media-sessions"), 200, `"items":[]`)
	}
	if err := w.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	for query, found := range map[string]bool{
		"status=ended": true, "status=open": false, "cameraDeviceId=" + w.camera.ID: true, "cameraDeviceId=x": false,
		"since=2100-01-01T00:00:00Z": false, "until=2100-01-01T00:00:00Z": true,
	} {
		if got := get(camera, "/media-sessions?"+query); got.status != 200 || strings.Contains(got.body, open) != found {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	want("an unknown status", get(camera, "/media-sessions?status=half"), 422, "validation_failed")
	want("ended", get(camera, "/media-sessions/"+open), 200, `"endedAt":"`)
}

func TestWhereTheOutsideReachesUs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	token, _, err := w.auth.IssueDeviceToken(w.camera)
	if err != nil {
		t.Fatal(err)
	}
	id := w.stream.MediaSessionID
	get := call{method: http.MethodGet, url: "/streams/" + w.stream.ID + "/publish-credentials", token: token}
	for _, tt := range []struct {
		name   string
		base   string
		header http.Header
		want   string
	}{
		{"the request's host", "", http.Header{"Host": {"cam.example:81"}}, "http://cam.example:81/whip/" + id},
		{"a trusted proxy", "", http.Header{
			"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"cam.example"},
		}, "https://cam.example/whip/" + id},
		{"a trusted proxy that cuts a prefix off", "", http.Header{
			"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"cam.example"}, "X-Forwarded-Prefix": {"/home/cam/"},
		}, "https://cam.example/home/cam/whip/" + id},
		{"a prefix that is none", "", http.Header{
			"Host": {"cam.example"}, "X-Forwarded-Prefix": {"//evil.example"},
		}, "http://cam.example/whip/" + id},
		{"configured", "https://cam.example/home/", nil, "https://cam.example/home/whip/" + id},
	} {
		w.cfg.BaseURL = nil
		if tt.base != "" {
			w.cfg.BaseURL = must[*url.URL](t)(url.Parse(tt.base))
		}
		get.header = tt.header
		got := w.do(t, get)
		if !strings.Contains(got.body, `"url":"`+tt.want+`"`) {
			t.Errorf("%s: %s, want %s", tt.name, got.body, tt.want)
		}
	}

	w.cfg.BaseURL = nil
	proxied := must[Credentials](t)(w.PublishCredentials(t.Context(), principalOf(w.camera), w.stream.ID, w.url))
	post := call{method: http.MethodPost, url: "/whip/" + id, token: proxied.Token, contentType: typeSDP, body: "v=0"}
	post.header = http.Header{"X-Forwarded-Prefix": {"/cam"}}
	if location := w.do(t, post).header.Get("Location"); !strings.HasPrefix(location, "/cam/whip/"+id+"/") {
		t.Errorf("Location %q, want it below /cam", location)
	}

	w.cfg.BaseURL = must[*url.URL](t)(url.Parse("https://cam.example/home"))
	whip := must[Credentials](t)(w.PublishCredentials(t.Context(), principalOf(w.camera), w.stream.ID, ""))
	got := w.do(t, call{method: http.MethodPost, url: "/whip/" + id, token: whip.Token, contentType: typeSDP, body: "v=0"})
	if location := got.header.Get("Location"); !strings.HasPrefix(location, "/home/whip/"+id+"/") {
		t.Errorf("Location %q, want it below /home", location)
	}
}

func TestOpenAPINamesWHIPAndWHEP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.do(t, call{method: http.MethodGet, url: "/openapi.json"})
	for _, want := range []string{"/whip/{mediaSessionId}", "/whep/{mediaSessionId}/{sessionId}", "/media-sessions/{id}"} {
		if !strings.Contains(got.body, `"`+want+`"`) {
			t.Errorf("%s is not in the OpenAPI document", want)
		}
	}
}
