package media

import (
	"encoding/json"
	"errors"
	"net/http"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/securecam/securecam/control/fault"
)

func TestPostAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	for _, tt := range []struct {
		name        string
		credentials Credentials
		contentType string
		call        string
	}{
		{"whip", whip, "application/sdp", "publish " + whip.MediaSessionID + " v=0 offer"},
		{"whep", whep, "application/sdp", "play " + whip.MediaSessionID + " " + w.stream.ID + " v=0 offer"},
		{"whep in capitals", whep, `Application/SDP; a="b"`, "play " + whip.MediaSessionID + " " + w.stream.ID + " v=0 offer"},
	} {
		got := w.do(t, call{
			method: http.MethodPost, url: tt.credentials.URL, token: tt.credentials.Token,
			contentType: tt.contentType, body: "v=0 offer",
		})
		if got.status != http.StatusCreated || got.body != "v=0 answer" || got.header.Get("Content-Type") != "application/sdp" {
			t.Errorf("%s: %d %s %q, want 201 with the answer", tt.name, got.status, got.header.Get("Content-Type"), got.body)
		}
		if location := got.header.Get("Location"); !strings.HasPrefix(location, "/"+tt.credentials.Protocol+"/"+whip.MediaSessionID+"/") {
			t.Errorf("%s: Location %q, want a path below the endpoint", tt.name, location)
		}
		if got.header.Get("ETag") != testETag || got.header.Get("Accept-Patch") != patchOf(tt.credentials.Protocol) {
			t.Errorf("%s: ETag %q and Accept-Patch %q", tt.name, got.header.Get("ETag"), got.header.Get("Accept-Patch"))
		}
		turn := `; rel="ice-server"; username="1:\"` + w.user.ID + `\""; credential="a\\b"; credential-type="password"`
		links := []string{
			`<stun:127.0.0.1:3478>; rel="ice-server"`,
			`<turn:127.0.0.1:3478?transport=udp>` + turn,
			`<turn:127.0.0.1:3478?transport=tcp>` + turn,
		}
		if tt.credentials.Protocol == "whep" {
			location := got.header.Get("Location")
			links = append(links,
				"<"+location+`/events>; rel="`+relEvents+`"; events="active,inactive,layers,viewercount"`,
				"<"+location+`/layer>; rel="`+relLayer+`"`)
		}
		if lines := got.header.Values("Link"); !reflect.DeepEqual(lines, links) {
			t.Errorf("%s: Link lines\n%q, want\n%q", tt.name, lines, links)
		}
		if calls := w.sfu.take(); !reflect.DeepEqual(calls, []string{tt.call}) {
			t.Errorf("%s: the SFU heard %q, want %q", tt.name, calls, tt.call)
		}
	}
}

// problemOf checks that an answer is a problem document and returns its code.
func problemOf(t *testing.T, name string, got answer) string {
	t.Helper()
	var doc struct {
		Status int
		Code   string
	}
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || doc.Status != got.status {
		t.Errorf("%s: %q is no problem document of status %d (%v)", name, got.body, got.status, err)
	}
	if contentType := got.header.Get("Content-Type"); contentType != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", name, contentType)
	}
	return doc.Code
}

func TestPostRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	sdp := strings.Repeat("x", 64<<10)
	refused := func(kind fault.Kind, code string) error { return fault.New(kind, code, "") }
	const invalid, insufficient = `Bearer error="invalid_token"`, `Bearer error="insufficient_scope"`
	for _, tt := range []struct {
		name              string
		token             string // "": the right one, "-": none, "other": the other direction's
		contentType, body string
		sfu               error
		status            int
		code              string
		header            http.Header
	}{
		{"wrong type", "", "application/json", sdp, nil, 415, "unsupported_media_type", http.Header{"Accept-Post": {typeSDP}}},
		{"no type", "", "", sdp, nil, 415, "unsupported_media_type", http.Header{"Accept-Post": {typeSDP}}},
		{"malformed type", "", "application/sdp; =", sdp, nil, 415, "unsupported_media_type", nil},
		{"empty", "", typeSDP, "", nil, 400, "empty_body", nil},
		{"blank", "", typeSDP, " \r\n", nil, 400, "empty_body", nil},
		{"no token", "-", typeSDP, sdp, nil, 401, "unauthenticated", http.Header{"Www-Authenticate": {"Bearer"}}},
		{"garbage", "a.b", typeSDP, sdp, nil, 401, "unauthenticated", http.Header{"Www-Authenticate": {invalid}}},
		{"other direction", "other", typeSDP, sdp, nil, 403, "forbidden", http.Header{"Www-Authenticate": {insufficient}}},
		{"bad offer", "", typeSDP, sdp, refused(fault.Invalid, "invalid_offer"), 400, "invalid_offer", nil},
		{"unsupported", "", typeSDP, sdp, refused(fault.Unprocessable, "unsupported_offer"), 422, "unsupported_offer", nil},
		{"no publisher", "", typeSDP, sdp, refused(fault.Conflict, "no_publisher"), 409, "no_publisher", http.Header{"Retry-After": {"2"}}},
		{"busy", "", typeSDP, sdp, refused(fault.Unavailable, "busy"), 503, "busy", http.Header{"Retry-After": {"5"}}},
		{"broken", "", typeSDP, sdp, errors.New("secret"), 500, "internal", nil},
	} {
		for _, c := range []struct{ own, other Credentials }{{whip, whep}, {whep, whip}} {
			name := c.own.Protocol + " " + tt.name
			w.sfu.err = tt.sfu
			req := call{method: http.MethodPost, url: c.own.URL, token: tt.token, contentType: tt.contentType, body: tt.body}
			switch tt.token {
			case "":
				req.token = c.own.Token
			case "-":
				req.token = ""
			case "other":
				req.token = c.other.Token
			}
			got := w.do(t, req)
			if code := problemOf(t, name, got); got.status != tt.status || code != tt.code {
				t.Errorf("%s: %d %s, want %d %s", name, got.status, code, tt.status, tt.code)
			}
			for header, want := range tt.header {
				if values := got.header.Values(header); !reflect.DeepEqual(values, want) {
					t.Errorf("%s: %s %q, want %q", name, header, values, want)
				}
			}
			if got.header.Get("Location") != "" || strings.Contains(got.body, "secret") {
				t.Errorf("%s: a refusal tells too much: %v %s", name, got.header, got.body)
			}
			if calls := w.sfu.take(); (len(calls) != 0) != (tt.sfu != nil) {
				t.Errorf("%s: the SFU heard %d calls", name, len(calls))
			}
		}
	}
}

func TestOtherMethodsOfTheEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	for _, c := range []Credentials{whip, whep} {
		for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodTrace} {
			got := w.do(t, call{method: method, url: c.URL, token: c.Token})
			if code := problemOf(t, method, got); got.status != 405 || code != "method_not_allowed" || got.header.Get("Allow") != allowEndpoint {
				t.Errorf("%s %s: %d %s, Allow %q", method, c.Protocol, got.status, code, got.header.Get("Allow"))
			}
		}
		if got := w.do(t, call{method: http.MethodGet, url: c.URL}); got.status != 204 || got.body != "" {
			t.Errorf("GET %s: %d %q, want 204", c.Protocol, got.status, got.body)
		}
		got := w.do(t, call{method: http.MethodHead, url: c.URL})
		status, contentType := 204, ""
		if c.Protocol == "whep" {
			status, contentType = 200, typeSDP
		}
		if got.status != status || got.header.Get("Content-Type") != contentType {
			t.Errorf("HEAD %s: %d %q, want %d %q", c.Protocol, got.status, got.header.Get("Content-Type"), status, contentType)
		}

		got = w.do(t, call{method: http.MethodOptions, url: c.URL})
		if got.status != 200 || got.header.Get("Accept-Post") != typeSDP || got.header.Get("Allow") != allowEndpoint ||
			len(got.header.Values("Link")) != 0 {
			t.Errorf("OPTIONS %s: %d %v, want 200 with Accept-Post, without ICE servers", c.Protocol, got.status, got.header)
		}
		got = w.do(t, call{method: http.MethodOptions, url: c.URL, token: c.Token})
		if got.status != 200 || len(got.header.Values("Link")) != 3 {
			t.Errorf("OPTIONS %s with a token: %d %v, want the ICE servers", c.Protocol, got.status, got.header)
		}
		got = w.do(t, call{method: http.MethodOptions, url: c.URL, token: "a.b"})
		if code := problemOf(t, "OPTIONS", got); got.status != 401 || code != "unauthenticated" {
			t.Errorf("OPTIONS %s with a wrong token: %d %s", c.Protocol, got.status, code)
		}
		got = w.do(t, call{method: http.MethodOptions, url: c.URL, header: http.Header{
			"Origin": {"https://elsewhere.example"}, "Access-Control-Request-Method": {"POST"},
			"Access-Control-Request-Headers": {"authorization,content-type"},
		}})
		if got.status != 200 || len(got.header.Values("Link")) != 0 || got.header.Get("Accept-Post") != typeSDP {
			t.Errorf("preflight of %s: %d %v", c.Protocol, got.status, got.header)
		}
	}
	if calls := w.sfu.take(); len(calls) != 0 {
		t.Errorf("the SFU heard %q", calls)
	}
}

func TestSessionURL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whip, whep := w.issued(t)
	other := w.watch(t, w.newClient(t))
	foreign := w.subscribe(t, other)
	for _, c := range []struct{ own, other Credentials }{{whip, whep}, {whep, foreign}} {
		session := w.openSession(t, c.own)
		elsewhere := w.openSession(t, c.other)
		endpoint := path.Dir(session)
		stolen := endpoint + "/" + path.Base(elsewhere)
		patch := call{url: session, token: c.own.Token, contentType: typeSDPFrag, body: "a=candidate"}
		for _, tt := range []struct {
			name    string
			ifMatch []string
			status  int
			code    string
		}{
			{"no If-Match", nil, 428, "precondition_required"},
			{"stale", []string{`"ice-0"`}, 412, "precondition_failed"},
			{"weak", []string{"W/" + testETag}, 412, "precondition_failed"},
			{"unquoted", []string{"ice-1"}, 412, "precondition_failed"},
			{"restart", []string{"*"}, 200, ""},
			{"restart, quoted", []string{`"*"`}, 200, ""},
			{"trickle", []string{testETag}, 204, ""},
			{"one of a list", []string{`"ice-0", ` + testETag}, 204, ""},
			{"one of two lines", []string{`"ice-0"`, testETag}, 204, ""},
		} {
			patch.header = http.Header{"If-Match": tt.ifMatch}
			w.wantPatch(t, tt.name, patch, tt.status, tt.code)
		}
		patch.header = http.Header{"If-Match": {testETag}}
		for _, tt := range []struct {
			name   string
			change func(*call)
			status int
			code   string
		}{
			{"wrong type", func(c *call) { c.contentType = "text/plain" }, 415, "unsupported_media_type"},
			{"empty", func(c *call) { c.body = "" }, 400, "empty_body"},
			{"somebody else's", func(c *call) { c.url = stolen }, 404, "not_found"},
			{"invented", func(c *call) { c.url += "x" }, 404, "not_found"},
			{"a token as session", func(c *call) { c.url = endpoint + "/" + c.token }, 404, "not_found"},
			{"no token", func(c *call) { c.token = "" }, 401, "unauthenticated"},
			{"a session as token", func(c *call) { c.token = strings.TrimPrefix(session, endpoint+"/") }, 401, "unauthenticated"},
		} {
			changed := patch
			tt.change(&changed)
			w.wantPatch(t, tt.name, changed, tt.status, tt.code)
		}

		w.checkSessionMethods(t, session, c.own)
		if got := w.do(t, call{method: http.MethodDelete, url: stolen, token: c.own.Token}); got.status != 404 {
			t.Errorf("DELETE of somebody else's session: %d", got.status)
		}
		w.sfu.take()
		got := w.do(t, call{method: http.MethodDelete, url: session, token: c.own.Token, header: http.Header{"If-Match": {`"ice-0"`}}})
		if calls := w.sfu.take(); got.status != 200 || len(calls) != 1 || !strings.HasPrefix(calls[0], "close "+c.own.Protocol) {
			t.Errorf("DELETE %s: %d, the SFU heard %q", c.own.Protocol, got.status, calls)
		}
		got = w.do(t, call{method: http.MethodDelete, url: session, token: c.own.Token})
		if code := problemOf(t, "second DELETE", got); got.status != 404 || code != "not_found" {
			t.Errorf("second DELETE %s: %d %s", c.own.Protocol, got.status, code)
		}
	}
}

func (w *world) wantPatch(t *testing.T, name string, c call, status int, code string) {
	t.Helper()
	c.method = http.MethodPatch
	w.sfu.take()
	got := w.do(t, c)
	calls := w.sfu.take()
	switch status {
	case http.StatusNoContent:
		if got.status != status || got.body != "" || got.header.Get("ETag") != "" || len(calls) != 1 || !strings.HasPrefix(calls[0], "update ") {
			t.Errorf("PATCH %s: %d %q %v, the SFU heard %q; want 204 without ETag", name, got.status, got.body, got.header, calls)
		}
		return
	case http.StatusOK:
		if got.status != status || got.body != "a=ice-ufrag:new\r\n" || got.header.Get("ETag") != restartedETag ||
			got.header.Get("Content-Type") != typeSDPFrag {
			t.Errorf("PATCH %s: %d %q %v; want 200 with a fragment and its ETag", name, got.status, got.body, got.header)
		}
		return
	case http.StatusPreconditionFailed: // the SFU knows
		calls = nil
	}
	if gotCode := problemOf(t, "PATCH "+name, got); got.status != status || gotCode != code || len(calls) != 0 {
		t.Errorf("PATCH %s: %d %s, the SFU heard %q; want %d %s", name, got.status, gotCode, calls, status, code)
	}
	protocol := "whip"
	if strings.Contains(c.url, "/whep/") {
		protocol = "whep"
	}
	if status == http.StatusUnsupportedMediaType && got.header.Get("Accept-Patch") != patchOf(protocol) {
		t.Errorf("PATCH %s: Accept-Patch %q", name, got.header.Get("Accept-Patch"))
	}
}

// patchOf is what PATCH of a session takes: a viewer's wish, too.
func patchOf(protocol string) string {
	if protocol == "whep" {
		return "application/trickle-ice-sdpfrag, application/json"
	}
	return "application/trickle-ice-sdpfrag"
}

func (w *world) checkSessionMethods(t *testing.T, session string, c Credentials) {
	t.Helper()
	for _, method := range []string{http.MethodPost, http.MethodPut} {
		got := w.do(t, call{method: method, url: session, token: c.Token, contentType: typeSDP, body: "v=0"})
		if code := problemOf(t, method, got); got.status != 405 || code != "method_not_allowed" || got.header.Get("Allow") != allowSession {
			t.Errorf("%s session: %d %s, Allow %q", method, got.status, code, got.header.Get("Allow"))
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if got := w.do(t, call{method: method, url: session, token: c.Token}); got.status != 204 || got.body != "" {
			t.Errorf("%s session: %d %q, want 204", method, got.status, got.body)
		}
		if got := w.do(t, call{method: method, url: session}); got.status != 401 {
			t.Errorf("%s session without token: %d, want 401", method, got.status)
		}
	}
	got := w.do(t, call{method: http.MethodOptions, url: session})
	if got.status != 200 || got.header.Get("Accept-Patch") != patchOf(c.Protocol) || got.header.Get("Allow") != allowSession {
		t.Errorf("OPTIONS session: %d %v", got.status, got.header)
	}
}
