package media

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

func TestParseIfMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		header  string
		anyone  bool
		etags   []string
		missing bool
	}{
		{"", false, nil, true},
		{"  ", false, nil, true},
		{"*", true, nil, false},
		{`"*"`, true, nil, false},
		{`"a"`, false, []string{`"a"`}, false},
		{` "a" `, false, []string{`"a"`}, false},
		{`"b", "a"`, false, []string{`"b"`, `"a"`}, false},
		{`W/"b","a"`, false, []string{`"a"`}, false},
		{`,, "a"`, false, []string{`"a"`}, false},
		{`W/"a"`, false, nil, false},
		{`a`, false, nil, false},
		{`"a`, false, nil, false},
		{`"b" "a"`, false, nil, false},
		{`"a,b"`, false, []string{`"a,b"`}, false},
		{`,`, false, nil, false},
		{`*, "a"`, false, nil, false},
	} {
		got, given := parseIfMatch(tt.header)
		if given == tt.missing || got.anyone != tt.anyone || !slices.Equal(got.etags, tt.etags) {
			t.Errorf("If-Match %q: got %+v, %v", tt.header, got, given)
		}
	}
}

func FuzzIfMatch(f *testing.F) {
	for _, seed := range []string{"", "*", `"*"`, `"ice-1"`, `W/"ice-1"`, `"a", "ice-1"`, `"a" "b"`, `"`, "W/", ",,,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, given := parseIfMatch(header)
		if given == (strings.TrimSpace(header) == "") {
			t.Errorf("%q: given %v", header, given)
		}
		for _, tag := range got.etags {
			if len(tag) < 2 || tag[0] != '"' || tag[len(tag)-1] != '"' || !strings.Contains(header, tag) {
				t.Errorf("%q has no entity-tag %q", header, tag)
			}
		}
	})
}

func TestLinksLeaveOutWhatBreaksHeaders(t *testing.T) {
	t.Parallel()
	got := links([]ICEServer{
		{URLs: []string{"stun:a", "stun:b>; rel=evil", "stun:c\r\nX: y", ""}},
		{URLs: []string{"turn:d"}, Username: "u\nv", Credential: "p"},
	})
	if want := []string{`<stun:a>; rel="ice-server"`}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// fixed is a store with one device, one media session and one stream of it.
type fixed struct{}

func (fixed) NoteAccess(context.Context, store.Actor, string, string, string, string, map[string]any) error {
	return nil
}

func (fixed) DeviceByID(_ context.Context, id string) (store.Device, error) {
	if id != "d" {
		return store.Device{}, store.ErrNotFound
	}
	return store.Device{ID: "d", UserID: "u", TokenKeyID: "k"}, nil
}

func (fixed) PublishGrant(_ context.Context, device, _ string) (store.Grant, error) {
	if device != "d" {
		return store.Grant{}, store.ErrNotFound
	}
	return store.Grant{TokenKeyID: "k", Open: true}, nil
}

func (f fixed) WatchGrant(ctx context.Context, device, _, _ string) (store.Grant, error) {
	return f.PublishGrant(ctx, device, "")
}

func (fixed) MediaSession(context.Context, string) (store.MediaSession, error) {
	return store.MediaSession{ID: "m", OwnerUserID: "u", CameraDeviceID: "d"}, nil
}

func (f fixed) UserMediaSession(ctx context.Context, _, id string) (store.MediaSession, error) {
	return f.MediaSession(ctx, id)
}

func (fixed) MediaSessions(context.Context, string, store.MediaSessionFilter, store.Page) ([]store.MediaSession, error) {
	return nil, nil
}

func (fixed) ActiveLink(context.Context, string, string) (store.Link, error) {
	return store.Link{}, store.ErrNotFound
}

func (fixed) Stream(context.Context, string, string) (store.Stream, error) {
	return store.Stream{ID: "s", Status: store.StreamStreaming, MediaSessionID: "m", CameraDeviceID: "d"}, nil
}

// FuzzToken sends any Authorization header, path and session: only the two
// tokens that were issued reach the SFU.
func FuzzToken(f *testing.F) {
	signer, err := auth.NewSigner([]byte("a secret of the tests"), "media")
	if err != nil {
		f.Fatal(err)
	}
	sfu := &fakeSFU{open: map[string]bool{}}
	s := New(Config{Store: fixed{}, SFU: sfu, Signer: signer, ICE: fakeICE{}, Logger: slog.New(slog.DiscardHandler)})
	app := fiber.New(fiber.Config{ErrorHandler: rest.ErrorHandler, Immutable: true})
	s.Mount(app, rest.New(app, rest.Config{}))
	handle := app.Handler()

	issue := func(d direction) string {
		token, _, err := s.issue(claims{Direction: d, MediaSessionID: "m", StreamID: "s", DeviceID: "d", UserID: "u", KeyID: "k"})
		if err != nil {
			f.Fatal(err)
		}
		return token
	}
	whip, whep := issue(publish), issue(subscribe)
	session, err := s.seal(claims{Direction: publish, MediaSessionID: "m", StreamID: "s"}, Answer{SessionID: "x", ETag: testETag})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Bearer "+whip, true, "m", session)
	for _, token := range []string{whip, whep, "", "a.b", whip + ".", whip[1:], strings.ToLower(whip)} {
		f.Add("Bearer "+token, true, "m", "")
		f.Add("bearer  "+token, false, "m", whep)
	}
	f.Fuzz(func(t *testing.T, authorization string, whipPath bool, mediaSession, session string) {
		var c fasthttp.RequestCtx
		path, want := "/whep/", whep
		if whipPath {
			path, want = "/whip/", whip
		}
		c.Request.Header.SetMethod(fiber.MethodPost)
		c.Request.Header.SetContentType(typeSDP)
		if session != "" {
			c.Request.Header.SetMethod(fiber.MethodDelete)
			session = "/" + session
		}
		c.Request.Header.Set(fiber.HeaderAuthorization, authorization)
		c.Request.URI().SetPath(path + mediaSession + session)
		c.Request.SetBodyString("v=0")
		handle(&c)
		status := c.Response.StatusCode()
		if status >= 500 {
			t.Errorf("status %d", status)
		}
		token, _ := auth.BearerToken(authorization)
		if calls := sfu.take(); len(calls) != 0 && (token != want || !strings.HasPrefix(mediaSession, "m")) {
			t.Errorf("%q reached the SFU as %q", authorization, calls)
		}
	})
}
