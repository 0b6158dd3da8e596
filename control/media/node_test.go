package media

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/securecam/securecam/control/auth"
	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// directory is the nodes that are there, with their URLs.
type directory map[string]string

var errBus = errors.New("the bus is away")

func (d directory) Locate(_ context.Context, node string) (string, bool, error) {
	if d == nil {
		return "", false, errBus
	}
	u, found := d[node]
	return u, found, nil
}

// TestMediaOfAnotherNode comes to a node that does not hold the media session
// (the fake one is the node "").
func TestMediaOfAnotherNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	whip, whep := w.issued(t)
	w.cfg.NodeID, w.cfg.Nodes = "here", directory{"": "https://cam2.example/base/"}
	for _, c := range []Credentials{whip, whep} {
		u := must[*url.URL](t)(url.Parse(c.URL))
		for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodDelete, http.MethodGet} {
			path := u.Path
			if method != http.MethodPost {
				path += "/session?x=1"
			}
			got := w.do(t, call{method: method, url: path, token: c.Token, contentType: typeSDP, body: "v=0"})
			want := "https://cam2.example/base" + path
			if got.status != http.StatusTemporaryRedirect || got.header.Get("Location") != want {
				t.Errorf("%s %s: %d to %q, want 307 to %q", method, path, got.status, got.header.Get("Location"), want)
			}
		}
		// Whoever may not be there is not told where it is.
		got := w.do(t, call{method: http.MethodPost, url: u.Path, token: "wrong", contentType: typeSDP, body: "v=0"})
		if got.status != http.StatusUnauthorized || got.header.Get("Location") != "" {
			t.Errorf("without a token: %d to %q", got.status, got.header.Get("Location"))
		}
	}
	if calls := w.sfu.take(); len(calls) != 0 {
		t.Errorf("the SFU heard %q", calls)
	}
	whip, whep = w.issued(t)
	for _, c := range []Credentials{whip, whep} {
		if want := "https://cam2.example/base/" + c.Protocol + "/" + c.MediaSessionID; c.URL != want {
			t.Errorf("credentials for %s, want %s", c.URL, want)
		}
	}
	for name, tt := range map[string]struct {
		nodes directory
		code  string
	}{
		"gone":   {directory{}, "media_node_unavailable"},
		"no URL": {directory{"": ""}, "media_node_unknown"},
		"no bus": {nil, "media_node_unavailable"},
	} {
		w.cfg.Nodes = tt.nodes
		got := w.do(t, call{method: http.MethodPost, url: "/whep/" + whep.MediaSessionID, token: whep.Token, contentType: typeSDP, body: "v=0"})
		code, again := problemOf(t, name, got), got.header.Get("Retry-After")
		if got.status != http.StatusServiceUnavailable || code != tt.code || again == "" {
			t.Errorf("%s: %d %s", name, got.status, code)
		}
	}
	// At home the node's own URL counts, whatever the request came under.
	w.cfg.NodeID, w.cfg.NodeURL = "", must[*url.URL](t)(url.Parse("https://cam1.example"))
	if _, whep = w.issued(t); whep.URL != "https://cam1.example/whep/"+whep.MediaSessionID {
		t.Errorf("credentials for %s, want this node's", whep.URL)
	}
}

func TestPeerCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := storetest.Client(t, w.db, w.user.ID)
	at := storetest.Now()
	st := store.Stream{
		ID: storetest.ID(), OwnerUserID: w.user.ID, CameraDeviceID: w.camera.ID, RequesterDeviceID: client.ID,
		MediaProvider: protocolP2P, CreatedAt: at, UpdatedAt: at,
	}
	// The camera's media session is open: the stream is streaming at once.
	st = must[store.Stream](t)(w.db.RequestStream(t.Context(), st, store.Command{}, store.Actor{}))
	for _, d := range []store.Device{w.camera, client} {
		get := w.SubscribeCredentials
		if d.Role == store.RoleCamera {
			get = w.PublishCredentials
		}
		c := must[Credentials](t)(get(t.Context(), principalOf(d), st.ID, "https://cam.example"))
		if c.Protocol != "p2p" || c.URL != "" || c.Token != "" || c.ExpiresAt.Before(w.clock().Add(time.Minute)) ||
			c.Participants == nil || *c.Participants != (Participants{w.camera.ID, client.ID}) ||
			len(c.ICEServers) != 2 || c.ICEServers[0].URLs[0] != "stun:cam.example:3478" {
			t.Errorf("credentials %+v", c)
		}
	}
	seen := must[[]store.AuditEntry](t)(w.db.AuditEntries(t.Context(), w.user.ID,
		store.AuditFilter{Action: "media_session." + store.AuditWatch}, store.Page{}))
	if len(seen) != 1 || seen[0].ActorDeviceID != client.ID || seen[0].TargetID != st.MediaSessionID {
		t.Errorf("the audit log says %+v", seen)
	}
	if _, err := w.PublishCredentials(t.Context(), principalOf(client), st.ID, ""); !errors.Is(err, auth.ErrForbidden) {
		t.Errorf("a client publishes: %v", err)
	}
	if _, err := w.SubscribeCredentials(t.Context(), principalOf(w.client), st.ID, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a bystander watches: %v", err)
	}
}
